"""`python -m spacy llm2ner init-config`: configs that spaCy takes as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import spacy
from datasets import Dataset
from spacy.cli._util import app
from spacy.tokens import Doc, DocBin, Span
from spacy.vocab import Vocab
from thinc.api import Config
from typer.testing import CliRunner

from spacy_llm2ner.cli.config_choices import CorpusFacts, LLMFacts, Schedule, count_corpus
from spacy_llm2ner.cli.init_config import (
    Preset,
    make_config,
    plan_config,
    read_preset,
    set_values,
)
from tests.llm.families import FAMILIES
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


def annotated(n_words: int, labels: tuple[str, ...] = ("LOC",)) -> Doc:
    """A doc whose first words are entities with these labels."""
    doc = Doc(Vocab(), words=["word"] * n_words)
    doc.set_ents([Span(doc, i, i + 1, label=label) for i, label in enumerate(labels)])
    return doc


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
    nlp = spacy.blank("en")
    assert (size.docs, size.tokens) == (40, 4 * sum(len(nlp(text)) for text, _ in DATA))
    assert config["batcher"]["size"] == 32
    # Two steps an epoch: as many epochs as it takes until the head has seen enough.
    assert (config["max_epochs"], config["max_steps"], config["eval_frequency"]) == (0, 400, 40)
    rate = config["optimizer"]["learn_rate"]
    assert (rate["total_steps"], rate["warmup_steps"]) == (400, 40)


@pytest.mark.parametrize("n_docs", [1, 33, 1000, 12345])
@pytest.mark.parametrize("epochs", [5, 8])
def test_the_end_of_the_training_is_evaluated(n_docs: int, epochs: int):
    values = Schedule.of(CorpusFacts(n_docs, 20 * n_docs), epochs).values
    training, size = values["training"], values["training.batcher"]["size"]
    steps = training["max_steps"]
    # spaCy evaluates at steps that divide by the frequency, and stops at step max_steps.
    assert steps % training["eval_frequency"] == 0 and training["max_epochs"] == 0
    assert values["training.optimizer.learn_rate"]["total_steps"] == steps
    assert steps >= max(400, epochs * n_docs // size)
    assert steps <= max(400, epochs * -(-n_docs // size)) + 10 + -(-n_docs // size)


@pytest.mark.parametrize(
    ("preset", "enough"), [("fast", 2560), ("balanced", 1600), ("accurate", 1600)]
)
def test_epochs_are_those_of_the_table(preset: str, enough: int):
    """docs/training.md: from so many sentences on, the presets' epochs; below, at least 400 steps.

    The table's epochs are those of the preset files.
    """
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{preset}`"))
    epochs, sentences = (cell.strip() for cell in row.strip("|").split("|")[-2:])
    assert sentences == f"{enough:,}"
    assert read_preset(preset)["training"]["max_epochs"] == int(epochs)
    for n_docs, steps_at_least in ((enough, 400), (enough - 32, 400), (275, 400)):
        schedule = Schedule.of(CorpusFacts(n_docs, 15 * n_docs), int(epochs))
        as_said = schedule.steps // schedule.steps_per_epoch == int(epochs)
        assert as_said == (n_docs >= enough)
        assert schedule.steps >= steps_at_least
    assert "275 sentences" in page and schedule.steps == 410
    assert f"{schedule.steps} steps" in page and schedule.steps // schedule.steps_per_epoch == 45


def test_long_docs_make_small_batches(tmp_path: Path):
    DocBin(docs=[annotated(500)] * 3).to_disk(tmp_path / "train.spacy")
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
    with pytest.raises(ValueError, match="cannot be opened"):
        make_config("fast", train=tmp_path)


def test_a_folder_of_rows_is_a_dataset(tmp_path: Path):
    rows = Dataset.from_dict({"tokens": [["in", "Oslo"]], "ner_tags": [["O", "B-LOC"]]})
    rows.to_parquet(tmp_path / "train-00000-of-00001.parquet")
    reader = parsed(make_config("fast", train=tmp_path))["corpora"]["train"]
    assert reader["@readers"] == "spacy_llm2ner.HFDatasetCorpus.v1" and reader["split"] is None
    # There is no option for a split: the error names the setting of the reader.
    rows.to_parquet(tmp_path / "test-00000-of-00001.parquet")
    with pytest.raises(
        ValueError, match=r"'split' is 'None', but .+ has train, test: expected one"
    ):
        make_config("fast", train=tmp_path)


def test_settings_of_the_command():
    config = parsed(make_config("balanced", lang="de", gpu=True, calibrate=True))
    llm = config["components"]["llm2ner"]["model"]["llm"]
    assert config["nlp"]["lang"] == "de"
    assert (llm["dtype"], config["system"]["gpu_allocator"]) == ("bfloat16", "pytorch")
    assert config["training"]["before_to_disk"] == {"@callbacks": "spacy_llm2ner.calibrate.v1"}


def test_layers_follow_the_depth(tmp_path: Path):
    folder = save_tiny_llama(tmp_path / "llm", n_blocks=15)
    assert LLMFacts.of(str(folder)).layers([8, 12, 16, 20]) == [4, 6, 8, 10]
    assert LLMFacts.of("HuggingFaceTB/SmolLM2-135M-Instruct").layers([8, 12]) == [8, 12]


def test_layers_of_measured_llms():
    gemma = LLMFacts("gemma", 18, True, "gemma3_text", 640)
    assert gemma.layers([8, 12, 16, 20], "twice") == [5, 8, 11, 14]
    assert gemma.layers([8, 12], "once") == [5, 7]
    _, choices = gemma.choices([5, 8, 11, 14], "twice")
    assert any("measured" in choice.reason for choice in choices)
    larger = LLMFacts("gemma", 26, True, "gemma3_text", 1152)
    assert larger.layers([8, 12, 16, 20], "twice") == [7, 10, 14, 17]


def test_what_cannot_be_known_is_left_to_the_default(tmp_path: Path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.json").write_text(json.dumps({"model_type": "other"}))
    for llm, sentence in [
        ("some/other-model", "taken for a hub id"),
        (str(tmp_path / "model.gguf"), "the GGUF file before its conversion"),
        (str(tmp_path / "new"), "L2N-E101"),
    ]:
        plan = plan_config("fast", llm=llm)
        assert parsed(plan.text)["components"]["llm2ner"]["model"]["llm"]["layers"] is None
        assert any(sentence in warning for warning in plan.warnings)


def test_a_model_in_the_cache_of_the_hub_is_known(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--org--encoder"
    save_config("roberta", folder / "snapshots" / "abc")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    facts = LLMFacts.of("org/encoder")
    assert (facts.depth, facts.is_causal, facts.warnings) == (4, False, ())


def save_config(family: str, folder: Path) -> Path:
    """Write the config.json of a model, without weights."""
    config = FAMILIES[family].make_config()
    config.architectures = [FAMILIES[family].model]
    config.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_encoders_are_read_once(family: str, tmp_path: Path):
    """Found out without weights; the table of families says independently which are causal."""
    plan = plan_config("balanced", llm=str(save_config(family, tmp_path / family)))
    llm = parsed(plan.text)["components"]["llm2ner"]["model"]["llm"]
    assert llm["reading"] == ("twice" if FAMILIES[family].causal else "once")
    assert llm["layers"] == [1, 2, 3]  # a quarter to two thirds of 4 blocks
    assert not any("encoder" in warning for warning in plan.warnings)


def test_it_prints_what_it_chose_and_why(corpus: Path, tmp_path: Path):
    llm = save_config("bert", tmp_path / "bert")
    output = ok("llm2ner", "init-config", tmp_path / "c.cfg", "--llm", llm, "--train", corpus)
    longest = max(len(e) for eg in examples(spacy.blank("en")) for e in eg.reference.ents)
    for setting, value, why in [
        ("reading", "once", r"\(bert\) sees the words on both sides"),
        ("layers", r"\[1, 2, 3\]", "of 4 blocks"),
        ("max_span_tokens", f"null: {longest}", "longest of the training data"),
        ("batch size", "32 docs", "1,000 tokens"),
        ("epochs", "200 of 2 steps", "the preset's 8 are fewer than 400 steps"),
        ("max_steps", "400", "evaluated every 40 steps"),
    ]:
        assert re.search(f"^{setting} +{value} +.*{why}", output, flags=re.M), setting


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--train", "no/such.conll"), "E922"),
        (("--dev", "no/such.spacy"), "E922"),
        (("--llm", "./no/such/llm"), "E106"),
        (("--llm", "{tmp}"), "there is no config.json in it"),
        (("--train", "{tmp}/plain.spacy"), "there are no entities in its 3 texts"),
    ],
)
def test_what_is_missing_is_an_error_at_once(options: tuple, sentence: str, tmp_path: Path):
    DocBin(docs=[annotated(4, labels=())] * 3).to_disk(tmp_path / "plain.spacy")
    config = tmp_path / "c.cfg"
    result = run("llm2ner", "init-config", config, *(o.format(tmp=tmp_path) for o in options))
    assert result.exit_code == 1 and not config.exists()
    assert sentence in " ".join(result.output.split())


def test_dev_data_that_cannot_score_is_a_warning(tmp_path: Path):
    for name, labels in [("train", ("LOC",)), ("empty", ()), ("other", ("place",))]:
        DocBin(docs=[annotated(4, labels)] * 3).to_disk(tmp_path / f"{name}.spacy")
    train = tmp_path / "train.spacy"
    assert not plan_config("fast", train=train, dev=train).warnings
    for name, sentence in [("empty", "no entities"), ("other", r"no label in common \(LOC; place")]:
        (warning,) = plan_config("fast", train=train, dev=tmp_path / f"{name}.spacy").warnings
        assert re.search(sentence, warning)


def test_standard_output():
    result = run("llm2ner", "init-config", "-", "--lang", "fr")
    assert parsed(result.stdout)["nlp"]["lang"] == "fr"
    assert "not fitted to training data" in result.stderr


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
    with pytest.raises(ValueError, match=r"the folder has no .spacy file and no file of a dataset"):
        (tmp_path / "empty").mkdir()
        make_config("fast", train=tmp_path / "empty")
    with pytest.raises(ValueError, match=r"no setting \[nlp\] tongue"):
        set_values("[nlp]\nlang = 1\n", {"nlp": {"tongue": "en"}})
