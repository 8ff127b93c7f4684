"""`python -m spacy llm2ner init-config`: configs that spaCy takes as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import spacy
from datasets import Dataset
from spacy.cli._util import app
from spacy.tokens import DocBin
from thinc.api import Config
from typer.testing import CliRunner

from spacy_llm2ner.cli.init_config import (
    Preset,
    count_corpus,
    layers_for,
    make_config,
    read_preset,
    set_values,
)
from tests.pipeline.sample import DATA, examples, found
from tests.tiny import save_tiny_llama

PRESETS = [preset.value for preset in Preset]
CONLL = "".join(f"{word} O\n" for word in ["so", "it", "was", "said"]) + "\nAda B-PER\n\n"


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def ok(*args) -> str:
    result = run(*args)
    assert result.exit_code == 0, result.output
    return result.output


def parsed(text: str) -> Config:
    return Config().from_str(text, interpolate=False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "data.spacy"
    docs = [example.reference for example in examples(spacy.blank("en"))]
    DocBin(docs=docs * 4).to_disk(path)
    return path


@pytest.mark.parametrize("preset", PRESETS)
def test_config_is_full_and_valid(preset: str, corpus: Path, tmp_path: Path):
    path = tmp_path / "config.cfg"
    ok("llm2ner", "init-config", path, "--preset", preset, "--train", corpus, "--dev", corpus)
    ok("debug", "config", path)
    # Filled once more, nothing changes: nothing is left to defaults.
    ok("init", "fill-config", path, tmp_path / "filled.cfg")
    mine, filled = (Config().from_disk(p) for p in (path, tmp_path / "filled.cfg"))
    for section in ("components", "training", "corpora", "nlp"):
        assert mine[section] == filled[section]


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_say_what_they_set(preset: str):
    config = parsed(make_config(preset))
    for section, values in read_preset(preset).items():
        block = config
        for part in section.split("."):
            block = block[part]
        assert {key: block[key] for key in values} == values


def test_presets_differ_as_they_promise():
    configs = {preset: parsed(make_config(preset)) for preset in PRESETS}
    models = {p: c["components"]["llm2ner"]["model"] for p, c in configs.items()}
    assert [models[p]["llm"]["reading"] for p in PRESETS] == ["once", "twice", "twice"]
    sizes = [
        (m["head"]["hidden_width"], m["head"]["depth"], len(m["llm"]["layers"]))
        for m in (models[p] for p in PRESETS)
    ]
    assert sizes == sorted(sizes)
    assert [models[p]["head"]["layers_as"] for p in PRESETS] == ["features", "mean", "features"]


def test_comments_stay():
    text = make_config("balanced", gpu=True, calibrate=True)
    assert "# The frozen LLM. It is never trained" in text
    assert sum(line.startswith("#") for line in text.splitlines()) > 20


def test_train_with_it(tiny_llm: Path, corpus: Path, tmp_path: Path):
    """A tiny LLM of 4 blocks: the layers follow its depth, and the schedule the data."""
    path = tmp_path / "config.cfg"
    data = ("--train", corpus, "--dev", corpus, "--llm", tiny_llm, "--calibrate")
    ok("llm2ner", "init-config", path, "--preset", "fast", *data)
    ok(
        *("train", path, "--output", tmp_path / "out", "--training.max_steps", 40),
        *("--paths.store", tmp_path / "states", "--training.optimizer.learn_rate", 0.01),
        *("--training.dropout", 0.0),
    )
    nlp = spacy.load(tmp_path / "out" / "model-last")
    assert nlp.get_pipe("llm2ner").temperature != 1.0
    assert [found(nlp(text)) for text, _ in DATA] == [phrases for _, phrases in DATA]


def test_schedule_fits_the_data(corpus: Path):
    config = parsed(make_config("fast", train=corpus))["training"]
    size = count_corpus(corpus)
    assert (size.docs, size.tokens) == (40, 4 * sum(len(spacy.blank("en")(t)) for t, _ in DATA))
    assert config["batcher"]["size"] == 32
    # Two steps an epoch: as many epochs as it takes until the head has seen enough.
    assert (config["max_epochs"], config["max_steps"], config["eval_frequency"]) == (0, 400, 40)
    rate = config["optimizer"]["learn_rate"]
    assert (rate["total_steps"], rate["warmup_steps"]) == (400, 40)


@pytest.mark.parametrize("n_docs", [1, 33, 1000, 12345])
@pytest.mark.parametrize("preset", ["fast", "accurate"])
def test_the_end_of_the_training_is_evaluated(n_docs: int, preset: str, tmp_path: Path):
    doc = spacy.blank("en")("word " * 20)
    DocBin(docs=[doc] * n_docs).to_disk(tmp_path / "train.spacy")
    config = parsed(make_config(preset, train=tmp_path))["training"]
    steps, size = config["max_steps"], config["batcher"]["size"]
    # spaCy evaluates at steps that divide by the frequency, and stops at step max_steps.
    assert steps % config["eval_frequency"] == 0 and config["max_epochs"] == 0
    assert config["optimizer"]["learn_rate"]["total_steps"] == steps
    epochs = {"fast": 5, "accurate": 8}[preset]
    assert steps >= max(400, epochs * n_docs // size)
    assert steps <= max(400, epochs * -(-n_docs // size)) + 10 + -(-n_docs // size)


def test_long_docs_make_small_batches(tmp_path: Path):
    doc = spacy.blank("en")("word " * 500)
    DocBin(docs=[doc] * 3).to_disk(tmp_path / "train.spacy")
    config = parsed(make_config("fast", train=tmp_path))["training"]
    assert config["batcher"]["size"] == 2


def test_conll_data(tmp_path: Path):
    (tmp_path / "train.conll").write_text(CONLL * 40)
    path = tmp_path / "config.cfg"
    data = ("--train", tmp_path / "train.conll", "--dev", tmp_path / "train.conll")
    ok("llm2ner", "init-config", path, *data)
    ok("debug", "config", path)
    config = Config().from_disk(path)
    for name in ("train", "dev"):
        reader = config["corpora"][name]
        assert reader["@readers"] == "spacy_llm2ner.ConllCorpus.v1"
        assert reader["path"] == str(tmp_path / "train.conll")
    assert config["training"]["eval_frequency"] == 41  # 80 sentences, 3 steps an epoch


def test_jsonl_data(tmp_path: Path):
    line = '{"tokens": ["in", "Rome"], "spans": [[1, 2, "LOC"]]}\n'
    (tmp_path / "train.jsonl").write_text(line * 70)
    path = tmp_path / "config.cfg"
    data = ("--train", tmp_path / "train.jsonl", "--dev", tmp_path / "train.jsonl")
    ok("llm2ner", "init-config", path, *data)
    ok("debug", "config", path)
    ok("init", "fill-config", path, tmp_path / "filled.cfg")
    config, filled = (Config().from_disk(p) for p in (path, tmp_path / "filled.cfg"))
    assert config["corpora"]["dev"]["@readers"] == "spacy_llm2ner.JsonlCorpus.v1"
    assert config["corpora"] == filled["corpora"]
    assert config["training"]["eval_frequency"] == 41


def test_a_dataset_as_data(tmp_path: Path):
    rows = {"tokens": [["in", "Rome"]] * 70, "tags": [["O", "B-LOC"]] * 70}
    Dataset.from_dict(rows).save_to_disk(tmp_path / "train")
    path = tmp_path / "config.cfg"
    ok("llm2ner", "init-config", path, "--train", tmp_path / "train", "--dev", tmp_path / "train")
    ok("init", "fill-config", path, tmp_path / "filled.cfg")
    config, filled = (Config().from_disk(p) for p in (path, tmp_path / "filled.cfg"))
    assert config["corpora"]["dev"]["@readers"] == "spacy_llm2ner.HFDatasetCorpus.v1"
    assert config["corpora"] == filled["corpora"]
    assert config["training"]["eval_frequency"] == 41


def test_data_that_it_cannot_read_is_not_taken_for_conll(tmp_path: Path):
    with pytest.raises(ValueError, match=r"HFDatasetCorpus\.v1"):
        make_config("fast", train=Path("org/a-dataset"))
    (tmp_path / "data.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no \.spacy files in this folder.*llm2ner convert"):
        make_config("fast", train=tmp_path)


def test_settings_of_the_command():
    config = parsed(make_config("balanced", lang="de", gpu=True, calibrate=True))
    llm = config["components"]["llm2ner"]["model"]["llm"]
    assert config["nlp"]["lang"] == "de"
    assert (llm["dtype"], config["system"]["gpu_allocator"]) == ("bfloat16", "pytorch")
    assert config["training"]["before_to_disk"] == {"@callbacks": "spacy_llm2ner.calibrate.v1"}


def test_layers_follow_the_depth(tmp_path: Path):
    folder = save_tiny_llama(tmp_path / "llm", n_blocks=15)
    assert layers_for(str(folder), [8, 12, 16, 20]) == [4, 6, 8, 10]
    assert layers_for("HuggingFaceTB/SmolLM2-135M-Instruct", [8, 12]) == [8, 12]
    # What cannot be known is left to the default: null.
    assert layers_for("some/other-model", [8, 12]) is None
    assert layers_for("model.gguf", [8, 12]) is None
    (folder / "config.json").write_text(json.dumps({"model_type": "other"}))
    assert layers_for(str(folder), [8, 12]) is None


def test_standard_output():
    output = ok("llm2ner", "init-config", "-", "--lang", "fr")
    assert parsed(output)["nlp"]["lang"] == "fr"


def test_nothing_is_overwritten_unasked(tmp_path: Path):
    path = tmp_path / "config.cfg"
    path.write_text("mine")
    result = run("llm2ner", "init-config", path)
    assert result.exit_code == 1
    assert "--force" in result.output
    assert path.read_text() == "mine"
    assert "total_steps" in ok("llm2ner", "init-config", path, "--force")
    assert "llm2ner" in path.read_text()


def test_what_is_wrong_is_said(tmp_path: Path):
    with pytest.raises(ValueError, match="accepted are 'fast', 'balanced', 'accurate'"):
        make_config("best")
    (tmp_path / "bad.spacy").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"bad.spacy: cannot be read as .spacy data"):
        make_config("fast", train=tmp_path / "bad.spacy")
    with pytest.raises(ValueError, match=r"there are no .spacy files"):
        (tmp_path / "empty").mkdir()
        make_config("fast", train=tmp_path / "empty")
    with pytest.raises(ValueError, match=r"no setting \[nlp\] tongue"):
        set_values("[nlp]\nlang = 1\n", {"nlp": {"tongue": "en"}})
