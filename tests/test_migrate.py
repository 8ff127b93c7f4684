"""docs/migrate.md: its snippets run, and after is what before was.

Where SpanMarker and GLiNER are installed, what they themselves make of the data is compared too.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import spacy
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from datasets import Sequence as Column
from seqeval.metrics.sequence_labeling import get_entities
from spacy.tokens import DocBin, Span
from typer.testing import CliRunner

from spacy_llm2ner.cli import app  # spaCy's, with our commands
from tests.hf import tner_stand_in
from tests.hf.checkpoints import TEXTS, save, teach

PAGE = Path(__file__).parents[1] / "docs" / "migrate.md"
SNIPPETS = {
    name: (language, code)
    for name, language, code in re.findall(
        r"<!-- run: ([\w-]+) -->\n```(\w+)\n(.*?)```", PAGE.read_text("utf8"), flags=re.S
    )
}
TNER_TAGS = ["O", "B-person", "I-person", "B-location", "I-location"]
TNER_TEXT = "Jacob Collier is a Grammy awarded artist from England."


@pytest.fixture
def tner(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """T-NER, or what stands for it."""
    if find_spec("tner") is None:
        monkeypatch.setitem(sys.modules, "tner", tner_stand_in)
        return tner_stand_in
    return real_tner(monkeypatch)


def real_tner(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """T-NER itself, of whose allennlp only the CRF is needed, which is not tested here."""
    inner = "allennlp.modules.conditional_random_field.conditional_random_field"
    parts: dict[str, dict[str, Any]] = {
        "allennlp": {"__version__": "2.10.1"},
        "allennlp.modules": {"ConditionalRandomField": None},
        "allennlp.modules.conditional_random_field": {},
        inner: {"allowed_transitions": None},
    }
    for name, content in parts.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return pytest.importorskip("tner")


@pytest.fixture
def names(tmp_path: Path, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What stands on the hub, and what stands for it here."""
    monkeypatch.chdir(tmp_path)
    tner = save(tmp_path / "tner-model", "byte-level", tags=TNER_TAGS)
    teach(tner, TNER_TEXT, ["B-person", "I-person", "O", "O", "O", "O", "O", "O", "B-location"])
    return {
        "dslim/bert-base-NER": str(save(tmp_path / "dslim", "wordpiece")),
        "tner/roberta-large-wnut2017": str(tner),
        "bert-base-cased": str(tmp_path / "dslim"),
        "HuggingFaceTB/SmolLM2-135M-Instruct": str(tiny_llm),
    }


def run(name: str, names: dict[str, str], variables: dict[str, Any] | None = None) -> Any:
    language, code = SNIPPETS[name]
    for there, here in names.items():
        code = code.replace(f'"{there}"', repr(here)).replace(f" {there} ", f" {here} ")
    if language == "ini":
        return code
    if language == "bash":
        for line in code.splitlines():
            words = shlex.split(line)
            assert words[:3] == ["python", "-m", "spacy"]
            more = [f"--{key}={value}" for key, value in (variables or {}).items()]
            result = CliRunner().invoke(app, words[3:] + (more if words[3] == "train" else []))
            assert result.exit_code == 0, result.output
        return None
    scope: dict[str, Any] = dict(variables or {})
    exec(compile(code, name, "exec"), scope)
    return scope


def test_transformers_pipeline(names: dict[str, str]):
    before = run("hf-before", names)["before"]
    run("hf-import", names)
    after = run("hf-after", names)["after"]
    assert [entity[0] for entity in after] == [entity[0] for entity in before]
    assert [entity[2] for entity in after] == pytest.approx([e[2] for e in before], abs=2e-4)
    assert len(before) > 2


def test_training_further(names: dict[str, str]):
    run("hf-import-tokens", names)
    assert run("hf-train", names)["losses"]["llm2ner_tagger"] > 0
    assert spacy.load("my_better_ner").get_pipe("llm2ner_tagger").labels


def test_training_further_by_a_config(names: dict[str, str]):
    """`spacy train` starts from the imported weights, and changes them."""
    run("hf-import-tokens", names)
    Path("base.cfg").write_text(run("hf-train-config", names), encoding="utf8")
    doc = spacy.blank("en")("Ada Lovelace met Charles Babbage.")
    doc.ents = [Span(doc, 0, 2, "PER"), Span(doc, 3, 5, "PER")]
    Path("corpus").mkdir()
    for part in ("train", "dev"):
        DocBin(docs=[doc]).to_disk(f"corpus/{part}.spacy")
    steps = {"training.max_steps": 2, "training.eval_frequency": 1}
    run("hf-train-commands", names, steps)
    before, after = (spacy.load(path) for path in ("my_ner_tokens", "training/model-last"))
    assert after.get_pipe("llm2ner_tagger").labels == before.get_pipe("llm2ner_tagger").labels
    first, then = (
        nlp.get_pipe("llm2ner_tagger").model.predict([doc]).logits[0] for nlp in (before, after)
    )
    assert 0 < abs(first - then).max() < 0.1


def test_tner(names: dict[str, str], tner: ModuleType):
    before = run("tner-before", names)["before"]
    run("tner-import", names)
    after = run("tner-after", names)["after"]
    assert [(e["type"], e["entity"]) for e in after] == [
        ("person", ["Jacob", "Collier"]),
        ("location", ["England."]),
    ]
    assert [(e["type"], e["entity"]) for e in before] == [(e["type"], e["entity"]) for e in after]
    assert [e["probability"] for e in after] == pytest.approx(
        [mean(e["probability"]) for e in before], abs=1e-4
    )


@pytest.mark.filterwarnings("ignore")
def test_the_stand_in_is_as_tner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if find_spec("tner") is None:
        pytest.skip("T-NER is not installed (pip install --no-deps tner==0.2.4)")
    tner = real_tner(monkeypatch)
    n_entities = 0
    for seed in range(5):
        model = str(save(tmp_path / str(seed), "byte-level", tags=TNER_TAGS, seed=seed))
        theirs, ours = (m.TransformersNER(model).predict(TEXTS[:4]) for m in (tner, tner_stand_in))
        assert ours["prediction"] == theirs["prediction"]
        pairs = zip(ours["entity_prediction"], theirs["entity_prediction"], strict=True)
        for mine, other in pairs:
            probabilities = [[p for e in x for p in e.pop("probability")] for x in (mine, other)]
            assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-5)
            assert mine == other
            n_entities += len(mine)
    assert n_entities > 30


def ents(example) -> list[tuple[str, str]]:
    return [(e.text, e.label_) for e in example.reference.ents]


def spans(example) -> list[tuple[str, str]]:
    return sorted((span.text, span.label_) for span in example.reference.spans["sc"])


def entities_of(words: list[str], tags: list[str]) -> list[tuple[str, str]]:
    """As seqeval reads them."""
    found = get_entities(tags)
    return [(" ".join(words[start : end + 1]), label) for label, start, end in found]


def test_tner_data(names: dict[str, str], tner: ModuleType):
    Path("train.txt").write_text("Ada B-PER\nLovelace I-PER\nleft O\n\nin O\nRome B-LOC\n")
    before = run("tner-data-before", names)
    tags = {number: tag for tag, number in before["label2id"].items()}
    rows = zip(*before["data"]["train"].values(), strict=True)
    examples = run("tner-data-after", names)["examples"]
    expected = [entities_of(words, [tags[t] for t in row]) for words, row in rows]
    assert [ents(example) for example in examples] == expected
    assert expected == [[("Ada Lovelace", "PER")], [("Rome", "LOC")]]


def test_tner_data_in_json(names: dict[str, str]):
    Path("train.json").write_text('{"tokens": ["Ada", "Lovelace", "left"], "tags": [1, 2, 0]}\n')
    Path("label.json").write_text('{"O": 0, "B-PER": 1, "I-PER": 2}')
    before = run("tner-json-before", names)
    tags = {number: tag for tag, number in before["label2id"].items()}
    (example,) = run("tner-json-after", names)["examples"]
    (row,) = before["rows"]
    assert ents(example) == entities_of(row["tokens"], [tags[t] for t in row["tags"]])
    assert ents(example) == [("Ada Lovelace", "PER")]


SPANMARKER_ROWS = {
    "tokens": [["Ada", "Lovelace", "left", "London"], ["It", "rained"]],
    "ner_tags": [[1, 2, 0, 3], [0, 0]],
    "document_id": [7, 7],
}


@pytest.fixture
def spanmarker_data(names: dict[str, str]) -> None:
    """The folder of the page."""
    numbers = Column(ClassLabel(names=["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]))
    features = {
        "tokens": Column(Value("string")),
        "ner_tags": numbers,
        "document_id": Value("int64"),
    }
    dataset = Dataset.from_dict(SPANMARKER_ROWS, features=Features(features))
    DatasetDict(train=dataset).save_to_disk("my_dataset")


@pytest.mark.usefixtures("spanmarker_data")
def test_spanmarker_data(names: dict[str, str]):
    before = run("spanmarker-before", names)
    examples = run("spanmarker-after", names)["examples"]
    rows, labels = before["train_dataset"], before["labels"]
    assert [ents(example) for example in examples] == [
        entities_of(row["tokens"], [labels[i] for i in row["ner_tags"]]) for row in rows
    ]
    assert ents(examples[0]) == [("Ada Lovelace", "PER"), ("London", "LOC")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("spanmarker_data")
def test_spanmarker_reads_its_data_so_too(names: dict[str, str]):
    pytest.importorskip("span_marker")
    from span_marker.configuration import SpanMarkerConfig
    from span_marker.label_normalizer import AutoLabelNormalizer

    before = run("spanmarker-before", names)
    dataset, labels = before["train_dataset"], before["labels"]
    config = SpanMarkerConfig(
        {"id2label": dict(enumerate(labels)), "label2id": {t: i for i, t in enumerate(labels)}}
    )
    read = AutoLabelNormalizer.from_config(config)(dataset["tokens"], dataset["ner_tags"])
    theirs = [
        [(" ".join(words[start:end]), config.id2label[label]) for label, start, end in row]
        for words, row in zip(dataset["tokens"], read["ner_tags"], strict=True)
    ]
    assert [ents(example) for example in run("spanmarker-after", names)["examples"]] == theirs


GLINER_ROW = {
    "tokenized_text": ["The", "Bank", "of", "New", "Zealand", "grew"],
    "ner": [[1, 4, "organization"], [3, 4, "country"]],
}


def test_gliner_data(names: dict[str, str]):
    Path("gliner.json").write_text(json.dumps([GLINER_ROW]))
    (row,) = run("gliner-before", names)["train_dataset"]
    (example,) = run("gliner-after", names)["examples"]
    words = row["tokenized_text"]
    inclusive = [(" ".join(words[start : end + 1]), label) for start, end, label in row["ner"]]
    assert spans(example) == sorted(inclusive)
    assert spans(example) == [("Bank of New Zealand", "organization"), ("New Zealand", "country")]
    assert ents(example) == [("Bank of New Zealand", "organization")]


@pytest.mark.filterwarnings("ignore")
def test_gliner_reads_its_data_so_too(names: dict[str, str]):
    pytest.importorskip("gliner")
    from gliner.data_processing.processor import UniEncoderSpanProcessor

    Path("gliner.json").write_text(json.dumps([GLINER_ROW]))
    (row,) = run("gliner-before", names)["train_dataset"]
    words, labels = row["tokenized_text"], ["country", "organization"]
    config = SimpleNamespace(max_width=6, max_len=100)
    read = UniEncoderSpanProcessor.preprocess_example(
        SimpleNamespace(
            config=config,
            prepare_span_labels=lambda *args: UniEncoderSpanProcessor.prepare_span_labels(
                SimpleNamespace(get_dict=UniEncoderSpanProcessor.get_dict), *args
            ),
        ),
        words,
        row["ner"],
        {label: number for number, label in enumerate(labels, 1)},
    )
    theirs = sorted(
        (" ".join(words[start : end + 1]), labels[number - 1])
        for (start, end), number in zip(
            read["span_idx"].tolist(), read["span_label"].tolist(), strict=True
        )
        if number > 0
    )
    (example,) = run("gliner-after", names)["examples"]
    assert spans(example) == theirs


def test_spacys_ner(names: dict[str, str]):
    assert run("spacy-before", names)["losses"]["ner"] > 0
    after = run("spacy-after", names)["after"]
    assert [entity[:2] for entity in after] == [("Ada", "PER"), ("Babbage", "PER")]


def test_a_pipeline_with_a_transformer(names: dict[str, str]):
    pytest.importorskip("spacy_transformers")
    before = run("spacy-transformer-before", names)["nlp"]
    assert before.get_pipe("transformer").listening_components == ["ner"]
    nlp = run("spacy-transformer-after", names)["nlp"]
    nlp.get_pipe("llm2ner_tagger").add_label("PER")
    nlp.initialize()
    assert nlp.get_pipe("transformer").listening_components == ["llm2ner_tagger"]
    assert not nlp("Ada met Babbage.").ents


def test_every_snippet_is_run():
    source = Path(__file__).read_text("utf8")
    assert len(SNIPPETS) > 10
    assert [name for name in SNIPPETS if f'run("{name}"' not in source] == []
    plain = re.findall(r"```(?:python|bash|ini)\n", PAGE.read_text("utf8"))
    assert len(plain) == len(SNIPPETS)
