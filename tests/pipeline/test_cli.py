"""E. spaCy's command line on the component, in process; entry points are all that it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import spacy
import srsly
from click.testing import Result
from spacy.cli._util import app
from spacy.cli.benchmark_speed import benchmark, warmup
from spacy.language import Language
from spacy.tokens import DocBin
from thinc.api import Config
from typer.testing import CliRunner

from tests.pipeline.sample import DATA, examples, found
from tests.tiny import make_nlp


def cli(*args: object) -> Result:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def ok(*args: object) -> str:
    result = cli(*args)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "data.spacy"
    docs = [example.reference for example in examples(spacy.blank("en"))]
    DocBin(docs=docs).to_disk(path)
    return path


@pytest.fixture
def config(tiny_llm: Path, corpus: Path, tmp_path: Path) -> Path:
    config = make_nlp(tiny_llm).config.copy()
    config["paths"].update(train=str(corpus), dev=str(corpus))
    config["training"].update(max_steps=20, eval_frequency=10, dropout=0.0)
    config["training"]["optimizer"]["learn_rate"] = 0.01
    config["training"]["logger"] = {"@loggers": "spacy.ConsoleLogger.v3"}
    config["initialize"]["components"]["llm2ner"] = {
        "labels": {
            "@readers": "spacy.read_labels.v1",
            "path": str(tmp_path / "labels" / "llm2ner.json"),
            "require": False,
        }
    }
    config.to_disk(tmp_path / "config.cfg")
    return tmp_path / "config.cfg"


def test_init_config(tmp_path: Path):
    ok("init", "config", tmp_path / "config.cfg", "-p", "llm2ner", "-F")
    config = Config().from_disk(tmp_path / "config.cfg")
    assert config["nlp"]["pipeline"] == ["llm2ner"]
    assert config["components"]["llm2ner"]["factory"] == "llm2ner"
    assert config["training"]["score_weights"]["ents_f"] == 1.0


def test_fill_config(tmp_path: Path):
    base = '[nlp]\nlang = "en"\npipeline = ["llm2ner"]\n\n'
    base += '[components]\n\n[components.llm2ner]\nfactory = "llm2ner"\n'
    (tmp_path / "base.cfg").write_text(base)
    ok("init", "fill-config", tmp_path / "base.cfg", tmp_path / "config.cfg")
    config = Config().from_disk(tmp_path / "config.cfg")
    component = config["components"]["llm2ner"]
    assert component["model"]["head"]["@architectures"] == "spacy_llm2ner.SpanScorer.v1"
    assert component["model"]["llm"]["reading"] == "twice"
    assert component["threshold"] == 0.5
    # Filled once more, nothing changes.
    ok("init", "fill-config", tmp_path / "config.cfg", tmp_path / "again.cfg")
    assert (tmp_path / "again.cfg").read_text() == (tmp_path / "config.cfg").read_text()


def test_labels_then_train_then_evaluate(config: Path, corpus: Path, tmp_path: Path):
    ok("init", "labels", config, tmp_path / "labels")
    assert srsly.read_json(tmp_path / "labels" / "llm2ner.json") == ["LOC", "ORG", "PER"]
    out = tmp_path / "out"
    ok("train", config, "--output", out, "--training.max_steps", 30)
    best = out / "model-best"
    assert found(spacy.load(best)(DATA[0][0])) == DATA[0][1]

    ok("evaluate", best, corpus, "--output", tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["ents_f"] == scores["spans_sc_f"] == 1.0
    assert set(scores["ents_per_type"]) == {"LOC", "ORG", "PER"}
    ok("evaluate", best, corpus, "--output", tmp_path / "each.json", "--per-component")
    assert json.loads((tmp_path / "each.json").read_text())["llm2ner"]["ents_f"] == 1.0


def test_evaluate_cannot_draw(trained_folder: Path, corpus: Path, tmp_path: Path):
    """A limit of the stock command: it draws for the factories "ner" and "spancat" only."""
    (tmp_path / "html").mkdir()
    output = ok("evaluate", trained_folder, corpus, "--displacy-path", tmp_path / "html")
    assert "Generated" in output
    assert list((tmp_path / "html").iterdir()) == []


def test_debug_config(config: Path):
    output = ok("debug", "config", config, "-F")
    assert "spacy_llm2ner.FrozenLLM.v1" in output


def test_debug_model(config: Path):
    output = ok("debug", "model", config, "llm2ner", "-P0", "-P1", "-P2", "-P3", "-DIM", "-PAR")
    assert "STEP 3 - prediction" in output
    assert "span_recognizer" in output


def test_debug_data(config: Path):
    """Runs, but knows no label statistics of foreign factories: `llm2ner debug-data` has them."""
    output = cli("debug", "data", config).output
    assert "10 training docs" in output
    assert "Named Entity Recognition" not in output


def test_find_threshold(trained_folder: Path, corpus: Path):
    output = ok("find-threshold", trained_folder, corpus, "llm2ner", "threshold", "ents_f", "-n", 3)
    # Thresholds 0, 0.5 and 1: only the middle one is right everywhere.
    assert "Best threshold: 0.5 with ents_f value of 1.0" in output


def test_apply(trained_folder: Path, tmp_path: Path):
    srsly.write_jsonl(tmp_path / "texts.jsonl", [{"text": text} for text, _ in DATA])
    ok("apply", trained_folder, tmp_path / "texts.jsonl", tmp_path / "out.spacy")
    nlp = spacy.load(trained_folder)
    docs = list(DocBin().from_disk(tmp_path / "out.spacy").get_docs(nlp.vocab))
    assert sum(len(doc.ents) for doc in docs) == sum(len(phrases) for _, phrases in DATA)
    assert all(len(doc.spans["sc"].attrs["scores"]) == len(doc.spans["sc"]) for doc in docs)


def test_assemble(config: Path, tmp_path: Path):
    """Without data: the labels must come from [initialize]."""
    with pytest.raises(ValueError, match="E143"):
        cli("assemble", config, tmp_path / "none")
    srsly.write_json(tmp_path / "labels.json", ["PER", "LOC"])
    labels = ("--initialize.components.llm2ner.labels.path", tmp_path / "labels.json")
    ok("assemble", config, tmp_path / "model", *labels)
    assert spacy.load(tmp_path / "model").get_pipe("llm2ner").labels == ("PER", "LOC")


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # spaCy leaves files open here
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_package(trained_folder: Path, tmp_path: Path):
    ok("package", trained_folder, tmp_path, "--build", "none", "--name", "tiny")
    (root,) = tmp_path.iterdir()
    meta = srsly.read_json(root / "meta.json")
    assert any(requirement.startswith("spacy-llm2ner>=") for requirement in meta["requirements"])
    (data,) = (root / "en_tiny").glob("en_tiny-*")
    assert found(spacy.load(data)(DATA[0][0])) == DATA[0][1]


def test_info(trained_folder: Path):
    output = ok("info", trained_folder)
    assert "llm2ner" in output


def test_benchmark_speed(trained: Language):
    """The command's own work; it insists on 30 batches and 10,000 bootstrap samples."""
    docs = [trained.make_doc(text) for text, _ in DATA]
    warmup(trained, docs, 1, 5)
    assert (benchmark(trained, docs, 3, 5, True) > 0).all()


@pytest.mark.parametrize(
    ("name", "registry"),
    [("spacy_llm2ner.SpanRecognizer.v1", "architectures"), ("spacy_llm2ner.SpanBCE.v1", "misc")],
)
def test_find_function(name: str, registry: str):
    output = ok("find-function", name, "--registry", registry)
    assert "spacy_llm2ner" in output.split("Found")[-1]
