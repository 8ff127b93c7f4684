"""What a trained pipeline says of its data and scores: meta.json, `spacy info` and the card."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.cli.info import info
from spacy.cli.train import train
from spacy.language import DEFAULT_CONFIG_PATH
from spacy.util import load_config
from typer.testing import CliRunner

from spacy_llm2ner.cli import llm2ner_app
from spacy_llm2ner.corpora import ConllCorpus
from spacy_llm2ner.pipeline.meta_facts import DataFacts
from tests.pipeline.sample import examples
from tests.tiny import pipe_config

RESAMPLES = ("--resamples", 50)


def conll(path: Path, docs: list) -> Path:
    lines = []
    for doc in docs:
        for token in doc:
            tag = f"{token.ent_iob_}-{token.ent_type_}" if token.ent_type_ else "O"
            lines.append(f"{token.text} {tag}")
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf8")
    return path


@pytest.fixture(scope="module")
def trained_by_config(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.conll, dev.conll, and a pipeline that `spacy train` has trained."""
    folder = tmp_path_factory.mktemp("meta")
    docs = [example.reference for example in examples(spacy.blank("en"))]
    conll(folder / "train.conll", docs)
    conll(folder / "dev.conll", docs[:5])
    config = load_config(DEFAULT_CONFIG_PATH)
    config["nlp"].update(lang="en", pipeline=["llm2ner"])
    config["components"] = {"llm2ner": {"factory": "llm2ner", **pipe_config(tiny_llm)}}
    for name in ("train", "dev"):
        config["corpora"][name] = {
            "@readers": "spacy_llm2ner.ConllCorpus.v1", "path": str(folder / f"{name}.conll")
        }  # fmt: skip
    config["training"].update(max_epochs=0, max_steps=40, eval_frequency=20)
    config.to_disk(folder / "config.cfg")
    train(folder / "config.cfg", folder / "out")
    return folder


@pytest.fixture
def place(trained_by_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the pipeline, with the data beside it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained_by_config / "out" / "model-last", tmp_path / "model")
    for name in ("train.conll", "dev.conll"):
        shutil.copy(trained_by_config / name, tmp_path)
    return tmp_path


def run(*args: Any) -> tuple[int, str]:
    result = CliRunner().invoke(llm2ner_app, [*map(str, args)])
    return result.exit_code, " ".join(result.output.split())


def meta(folder: str = "model") -> dict[str, Any]:
    return json.loads((Path(folder) / "meta.json").read_text(encoding="utf8"))


def test_training_is_noted_with_names_sizes_and_labels(place: Path) -> None:
    found = meta()["training_data"]["llm2ner"]
    lines = (place / "train.conll").read_text().split("\n")
    begun = Counter(line.partition(" B-")[2] for line in lines if " B-" in line)
    assert found["data"] == "train.conll" and found["dev_data"] == "dev.conll"
    assert found["spans"] == dict(begun.most_common())
    assert found["texts"] == sum(not line for line in lines) == 10
    assert found["tokens"] == sum(map(bool, lines))


def test_the_digest_is_one_of_texts_and_spans(place: Path) -> None:
    """Not of the file or its tags, but of what is learnt."""

    def digest(text: str) -> str:
        Path("x.conll").write_text(text)
        facts = DataFacts("sc")
        list(facts.count(ConllCorpus("x.conll")(spacy.blank("en"))))
        return facts.as_json()["sha256"]

    text = (place / "train.conll").read_text()
    assert digest(text) == meta()["training_data"]["llm2ner"]["sha256"]
    assert digest(text.replace(" ", "\t") + "\n\n") == digest(text)
    assert digest(text.replace(" B-LOC", " B-ORG", 1)) != digest(text)
    assert digest(text.replace(" O\n", "x O\n", 1)) != digest(text)


def test_evaluate_stores_scores_that_spacy_would_measure(place: Path) -> None:
    before = meta()
    code, output = run("evaluate", "model", "dev.conll", "--meta", *RESAMPLES)
    assert code == 0 and "Wrote model/meta.json" in output, output
    after = meta()
    nlp = spacy.load("model")
    expected = nlp.evaluate(list(ConllCorpus("dev.conll")(nlp)))
    performance = after["performance"]
    for key in ("ents_p", "ents_r", "ents_f"):
        assert performance[key] == pytest.approx(expected[key])
        assert after["evaluation"][key] == performance[key]
    for label, scores in expected["ents_per_type"].items():
        own = performance["ents_per_type"][label]
        assert {key: own[key] for key in "prf"} == pytest.approx(scores)
        assert own["f_ci"]["95"][0] <= own["f"] <= own["f_ci"]["95"][1]
    assert performance["ents_f_ci"].keys() == {"90", "95"}
    assert (after["evaluation"]["data"], after["evaluation"]["texts"]) == ("dev.conll", 5)
    # Nothing else changes.
    for found in (before, after):
        found.pop("performance"), found.pop("evaluation", None)
    assert before == after


def test_spacy_info_and_the_card_say_both(place: Path, capsys: pytest.CaptureFixture) -> None:
    assert run("evaluate", "model", "dev.conll", "--meta", *RESAMPLES)[0] == 0
    info("model", silent=False)
    shown = " ".join(capsys.readouterr().out.split())
    for said in ("training_data", "train.conll", "evaluation", "dev.conll"):
        assert said in shown.lower(), said
    found = info("model")
    assert isinstance(found, dict)
    assert found["training_data"]["llm2ner"]["texts"] == 10
    assert found["evaluation"]["ents_f"] == meta()["performance"]["ents_f"]
    code, output = run("card", "model")
    assert code == 0, output
    card = (place / "model" / "README.md").read_text(encoding="utf8")
    low, high = (100 * end for end in meta()["performance"]["ents_f_ci"]["95"])
    p, r, f = (100 * meta()["performance"][f"ents_{key}"] for key in "prf")
    assert "exact boundaries and label, on dev.conll:" in card
    assert f"| all | {p:.2f} | {r:.2f} | {f:.2f} | {low:.2f} to {high:.2f} |" in card
    assert "| Training data | `train.conll` |\n| Development data | `dev.conll` |" in card
    facts = meta()["training_data"]["llm2ner"]
    for label, number in facts["spans"].items():
        assert f"| {label} | {number} |" in card
    assert facts["sha256"] in card


def test_a_pipeline_that_was_changed_has_no_scores_of_before(place: Path) -> None:
    assert run("evaluate", "model", "dev.conll", "--meta", *RESAMPLES)[0] == 0
    code, output = run("calibrate", "model", "dev.conll", "-o", "other", "--folds", 0)
    assert code == 0, output
    assert "evaluation" in meta() and "evaluation" not in meta("other")
    assert "performance" not in meta("other") or not meta("other")["performance"]
    assert run("calibrate", "model", "dev.conll", "--folds", 0)[0] == 0
    assert "evaluation" not in meta()
    assert meta()["training_data"] == meta("other")["training_data"]


def test_what_cannot_be_stored_is_said(place: Path) -> None:
    code, output = run("evaluate", "no_such_package", "dev.conll", "--meta")
    assert code == 1 and "is not the folder of a pipeline" in output
    Path("empty.jsonl").write_text('{"tokens": ["Ada", "ran"], "spans": []}\n')
    before = meta()
    code, output = run("evaluate", "model", "empty.jsonl", "--meta")
    assert code == 1 and "no gold span" in output and meta() == before


def test_data_that_is_not_all_seen_is_not_counted(fresh: Any) -> None:
    data = examples(fresh)
    fresh.config["training"]["max_epochs"] = -1
    fresh.initialize(lambda: data)
    assert fresh.meta["training_data"]["llm2ner"] == {"texts": "streamed"}


def test_without_data_nothing_is_noted(fresh: Any) -> None:
    fresh.get_pipe("llm2ner").add_label("PER")
    fresh.initialize()
    assert "training_data" not in fresh.meta
