"""The component "llm2ner_prompted" as a spaCy component: storage, processes, errors, training."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
from pathlib import Path

import pytest
import spacy
import torch
from spacy import ty
from spacy.cli.train import train
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.util import load_config

from tests.pipeline.sample import DATA, examples
from tests.pipeline.test_cli import ok
from tests.prompted.sample import LABELS, NAME, make_prompted, trained_prompted
from tests.tiny_generators import save_tiny_chat

TEXT = DATA[0][0]
CONFIG = Path(__file__).parents[2] / "configs" / "prompted.cfg"


def found(nlp: Language, text: str = TEXT) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in nlp(text).ents]


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_protocols_and_attributes(prompted):
    pipe = prompted.get_pipe(NAME)
    assert isinstance(pipe, ty.TrainableComponent)
    assert pipe.labels == tuple(LABELS)
    assert pipe.label_data == LABELS
    assert prompted.analyze_pipes()["problems"] == {NAME: []}


def test_bytes(prompted, tiny_chat):
    stored = prompted.get_pipe(NAME).to_bytes()
    nlp = make_prompted(tiny_chat, llm={"tuning": "full"})
    nlp.get_pipe(NAME).from_bytes(stored)
    assert found(nlp) == DATA[0][1]
    assert nlp.get_pipe(NAME).labels == tuple(LABELS)
    assert nlp.get_pipe(NAME).to_bytes(exclude=["vocab"]) == prompted.get_pipe(NAME).to_bytes(
        exclude=["vocab"]
    )


@pytest.mark.parametrize("how", ["copy", "pickle"])
def test_copies(prompted, how):
    pipe = prompted.get_pipe(NAME)
    twin = copy.deepcopy(pipe) if how == "copy" else pickle.loads(pickle.dumps(pipe))
    assert twin.shim.generator.model is not pipe.shim.generator.model
    doc = twin(prompted.make_doc(TEXT))
    assert [(e.text, e.label_) for e in doc.ents] == DATA[0][1]


def test_an_llm_that_is_not_tuned_is_shared_and_not_stored(tiny_chat, tmp_path):
    nlp = make_prompted(tiny_chat, labels=LABELS)
    expected = found(nlp)
    nlp.to_disk(tmp_path / "zero")
    assert size(tmp_path / "zero" / NAME) < 2000
    loaded = spacy.load(tmp_path / "zero")
    assert found(loaded) == expected
    one, other = (n.get_pipe(NAME).shim.generator for n in (nlp, loaded))
    assert one.model is other.model


def test_weights_are_bound_to_their_llm(prompted_folder, tmp_path):
    other = save_tiny_chat(tmp_path / "other", seed=1)
    nlp = spacy.load(prompted_folder, config={f"components.{NAME}.model.name": str(other)})
    with pytest.raises(ValueError, match="trained on another LLM"):
        nlp(TEXT)


def test_weights_need_their_settings(prompted_folder):
    with pytest.raises(ValueError, match="'tuning' is 'none'"):
        spacy.load(prompted_folder, config={f"components.{NAME}.model.tuning": "none"})


def test_the_llm_may_be_missing_until_it_is_asked(prompted_folder):
    key = f"components.{NAME}.model.name"
    with pytest.warns(UserWarning, match=r"L2N-W10\].*'./nowhere' .* is not on this machine"):
        nlp = spacy.load(prompted_folder, config={key: "./nowhere"})
    assert nlp.get_pipe(NAME).labels == tuple(LABELS)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        nlp(TEXT)


def test_settings_can_be_overridden_at_load(tiny_chat, tmp_path):
    make_prompted(tiny_chat, labels=["person"]).to_disk(tmp_path / "m")
    key = f"components.{NAME}"
    nlp = spacy.load(tmp_path / "m", config={f"{key}.labels": ["city"], f"{key}.decoding": "free"})
    assert nlp.get_pipe(NAME).labels == ("city",)
    assert nlp.get_pipe(NAME).settings["decoding"] == "free"


def test_labels_added_later_are_stored(tiny_chat, tmp_path):
    nlp = make_prompted(tiny_chat, labels=["person"])
    nlp.get_pipe(NAME).add_label("year")
    nlp.to_disk(tmp_path / "m")
    assert spacy.load(tmp_path / "m").get_pipe(NAME).labels == ("person", "year")


def test_two_processes(prompted):
    docs = list(prompted.pipe([text for text, _ in DATA], n_process=2, batch_size=4))
    for doc, (text, phrases) in zip(docs, DATA, strict=True):
        assert doc.text == text
        assert [(e.text, e.label_) for e in doc.ents] == phrases
        assert doc.user_data[NAME]["lost_words"] == 0


def test_errors_go_to_the_handler(prompted, monkeypatch):
    pipe = prompted.get_pipe(NAME)
    plain = pipe.predict

    def fail(docs):
        if any(doc.text == DATA[1][0] for doc in docs):
            raise ValueError("no answer")
        return plain(docs)

    monkeypatch.setattr(pipe, "predict", fail)
    seen = []
    pipe.set_error_handler(lambda name, proc, docs, error: seen.append((name, str(error))))
    docs = list(prompted.pipe([text for text, _ in DATA[:3]], batch_size=1))
    assert seen == [(NAME, "no answer")]
    assert [doc.text for doc in docs] == [DATA[0][0], DATA[2][0]]


def test_a_slow_tokenizer_is_refused(tiny_chat, tmp_path, monkeypatch):
    import transformers

    class Slow:
        is_fast = False

    monkeypatch.setattr(
        transformers.AutoTokenizer, "from_pretrained", lambda *args, **kwargs: Slow()
    )
    folder = tmp_path / "slow"
    shutil.copytree(tiny_chat, folder)
    with pytest.raises(ValueError, match="slow"):
        make_prompted(folder, labels=LABELS)(TEXT)


def test_it_stands_beside_another_component(prompted):
    prompted.add_pipe("sentencizer", first=True)
    assert found(prompted) == DATA[0][1]
    with prompted.select_pipes(disable=NAME):
        assert found(prompted) == []


def test_score_names_both_metrics(prompted):
    scores = prompted.evaluate(examples(prompted))
    assert scores["ents_f"] == scores["entity_position_f"] == 1.0
    assert scores["gner_string_f"] == pytest.approx(1.0)
    assert scores["spans_sc_f"] == 1.0
    pipe = prompted.get_pipe(NAME)
    pipe.settings["annotate"] = "spans"
    scores = prompted.evaluate(examples(prompted))
    assert scores["entity_position_f"] == scores["spans_sc_f"] == 1.0
    assert scores["gner_string_f"] == pytest.approx(1.0)


def test_metrics_differ_where_they_should(prompted):
    """A mention that is found once, of two: half of them by position, all of them as strings."""
    from spacy.tokens import Span
    from spacy.training import Example

    doc, gold = prompted.make_doc("Ada met the Ada ."), prompted.make_doc("Ada met the Ada .")
    gold.ents = [Span(gold, 0, 1, label="PER"), Span(gold, 3, 4, label="PER")]
    doc.set_ents([Span(doc, 2, 4, label="PER")], default="outside")
    scores = prompted.get_pipe(NAME).score([Example(doc, gold)])
    assert scores["entity_position_f"] == 0.0
    assert scores["gner_string_f"] == pytest.approx(1.0)


def test_nothing_annotated_is_no_score(prompted):
    from spacy.training import Example

    doc = prompted.make_doc(TEXT)
    with pytest.warns(UserWarning, match="L2N-W17.* has 1 text, and none is annotated"):
        scores = prompted.get_pipe(NAME).score([Example(doc, prompted.make_doc(TEXT))])
    assert scores["gner_string_f"] is None


@pytest.fixture
def config(tiny_chat, tmp_path) -> Path:
    """The shipped config, on a tiny LLM and for a few steps."""
    docs = [example.reference for example in examples(spacy.blank("en"))]
    DocBin(docs=docs).to_disk(tmp_path / "data.spacy")
    config = load_config(CONFIG, interpolate=False)
    config["vars"].update(llm=str(tiny_chat))
    config["training"]["optimizer"]["learn_rate"].update(initial_rate=0.02, warmup_steps=2)
    config["paths"].update(train=str(tmp_path / "data.spacy"), dev=str(tmp_path / "data.spacy"))
    config["training"].update(max_epochs=0, max_steps=6, eval_frequency=3)
    config["components"][NAME]["model"]["lora_rank"] = 4
    path = tmp_path / "labels" / f"{NAME}.json"
    config["initialize"]["components"][NAME]["labels"]["path"] = str(path)
    config.to_disk(tmp_path / "config.cfg")
    return tmp_path / "config.cfg"


def test_command_line(config, tmp_path):
    ok("init", "labels", config, tmp_path / "labels")
    assert json.loads((tmp_path / "labels" / f"{NAME}.json").read_text("utf8")) == LABELS
    ok("init", "fill-config", config, tmp_path / "filled.cfg")
    assert load_config(tmp_path / "filled.cfg")["components"] == load_config(config)["components"]
    ok("debug", "config", config)
    ok("debug", "model", config, NAME, "-P0", "-P1", "-P2", "-P3")


def test_init_config(tmp_path):
    ok("init", "config", tmp_path / "config.cfg", "-p", NAME, "-F")
    filled = load_config(tmp_path / "config.cfg")
    assert filled["components"][NAME]["model"]["tuning"] == "none"
    assert filled["training"]["score_weights"]["ents_f"] == 1.0


def test_spacy_train_with_lora(config, tmp_path):
    """Adapters only are in the checkpoint."""
    train(config, tmp_path / "out")
    nlp = spacy.load(tmp_path / "out" / "model-last")
    performance = nlp.meta["performance"]
    assert {"ents_f", "entity_position_f", "gner_string_f"} <= set(performance)
    pipe = nlp.get_pipe(NAME)
    assert pipe.labels == tuple(LABELS)
    trained = [v for k, v in pipe.shim.generator.model.named_parameters() if v.requires_grad]
    assert any(float(value.detach().abs().max()) > 0 for value in trained)
    weights = sum(value.numel() for value in trained)
    assert size(tmp_path / "out" / "model-last" / NAME) < 4 * weights + 30_000
    assert weights < 30_000


def test_training_goes_on_where_it_was(tiny_chat, tmp_path):
    nlp = trained_prompted(tiny_chat, steps=3)
    nlp.to_disk(tmp_path / "m")
    again = spacy.load(tmp_path / "m")
    optimizer = again.resume_training()
    before = again.update(examples(again), sgd=None, losses={})[NAME]
    for _ in range(4):
        optimizer.learn_rate = 0.01
        after = again.update(examples(again), sgd=optimizer, losses={})[NAME]
    assert after < before


def test_averages_of_the_optimizer_act(tiny_chat):
    nlp = trained_prompted(tiny_chat, steps=1)
    shim = nlp.get_pipe(NAME).shim
    _ = shim.generator
    name, value = next(iter(shim.generator.model.named_parameters()))
    before = value.detach().clone()
    with nlp.use_params({(shim.id, name): (before * 0).numpy()}):
        assert float(value.detach().abs().max()) == 0.0
    torch.testing.assert_close(value.detach(), before)
