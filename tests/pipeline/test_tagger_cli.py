"""spaCy's command line on the token tagger, and `spacy train` from an imported checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import spacy
import srsly
from spacy.tokens import DocBin
from thinc.api import Config

from spacy_llm2ner.cli.import_hf import import_checkpoint
from tests.hf.checkpoints import save
from tests.pipeline.sample import DATA, examples, found
from tests.pipeline.tagging import NAME, make_tagger
from tests.pipeline.test_cli import ok


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "data.spacy"
    docs = [example.reference for example in examples(spacy.blank("en"))]
    DocBin(docs=docs).to_disk(path)
    return path


def prepared(config: Config, corpus: Path, path: Path, rate: float = 0.01) -> Path:
    config["paths"].update(train=str(corpus), dev=str(corpus))
    config["training"].update(max_steps=40, eval_frequency=20, dropout=0.0)
    config["training"]["optimizer"]["learn_rate"] = rate
    config["training"]["logger"] = {"@loggers": "spacy.ConsoleLogger.v3"}
    config.to_disk(path)
    return path


def test_fill_config(tmp_path: Path):
    base = f'[nlp]\nlang = "en"\npipeline = ["{NAME}"]\n\n'
    base += f'[components]\n\n[components.{NAME}]\nfactory = "{NAME}"\n'
    (tmp_path / "base.cfg").write_text(base)
    ok("init", "fill-config", tmp_path / "base.cfg", tmp_path / "config.cfg")
    component = Config().from_disk(tmp_path / "config.cfg")["components"][NAME]
    assert component["model"]["head"]["@architectures"] == "spacy_llm2ner.CRFTagger.v1"
    assert component["loss"]["label_smoothing"] == 0.0


@pytest.mark.parametrize("tuned", [False, True])
def test_labels_train_evaluate_find_threshold(
    tiny_llm: Path, corpus: Path, tmp_path: Path, tuned: bool
):
    llm = {"@architectures": "spacy_llm2ner.TunedLLM.v1", "lora_rank": 4} if tuned else {}
    nlp = make_tagger(tiny_llm, llm=llm, annotate="ents")
    config = prepared(nlp.config.copy(), corpus, tmp_path / "config.cfg")
    ok("init", "labels", config, tmp_path / "labels")
    assert srsly.read_json(tmp_path / "labels" / f"{NAME}.json") == ["LOC", "ORG", "PER"]
    ok("train", config, "--output", tmp_path / "out")
    best = tmp_path / "out" / "model-best"
    assert found(spacy.load(best)(DATA[0][0])) == DATA[0][1]
    ok("evaluate", best, corpus, "--output", tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text())["ents_f"] == 1.0
    output = ok("find-threshold", best, corpus, NAME, "threshold", "ents_f", "--n_trials", 3)
    assert "1.0" in output


def test_train_from_an_imported_checkpoint(corpus: Path, tmp_path: Path):
    """Sourced, as any component of a trained pipeline: training goes on from its weights."""
    folder = save(tmp_path / "checkpoint", "wordpiece", spread=0.1)
    nlp, _ = import_checkpoint(str(folder), words="tokens")
    nlp.to_disk(tmp_path / "imported")
    config = nlp.config.copy()
    config["components"][NAME] = {"source": str(tmp_path / "imported")}
    path = prepared(config, corpus, tmp_path / "config.cfg", rate=0.003)
    ok("train", path, "--output", tmp_path / "out", "--training.max_steps", 120)
    best = spacy.load(tmp_path / "out" / "model-best")
    assert best.get_pipe(NAME).labels == nlp.get_pipe(NAME).labels
    assert best.evaluate(examples(best))["ents_f"] > 0.9


def test_a_tuned_llm_in_workers(tiny_llm: Path):
    llm = {"@architectures": "spacy_llm2ner.TunedLLM.v1", "lora_rank": 4}
    nlp = make_tagger(tiny_llm, llm=llm)
    nlp.initialize(lambda: examples(nlp))
    texts = [text for text, _ in DATA]
    docs = list(nlp.pipe(texts, n_process=2, batch_size=3))
    assert [doc.text for doc in docs] == texts
