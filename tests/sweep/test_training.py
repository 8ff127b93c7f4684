"""Small heads on held states: a layer in which the labels are planted must be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.tokens import Span
from spacy.training import Example

from spacy_llm2ner.llm.extraction import FrozenLLMSettings
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.sweep import training
from spacy_llm2ner.sweep.held_states import HeldStates, choose_texts
from spacy_llm2ner.sweep.results import Trainings, digest_of
from spacy_llm2ner.sweep.training import (
    Score,
    SmallHeads,
    TrainingSettings,
    score,
    small_config,
)
from tests.pipeline.sample import DATA, examples, fixed_pipe, nested_examples
from tests.pipeline.tagging import NAME, make_tagger
from tests.tiny import make_nlp

LABELS = ("PER", "LOC", "ORG")
SETTINGS = TrainingSettings(steps=20, dropout=0.0)


def planted(data: list[Example], layer: int, width: int = 32) -> list[np.ndarray]:
    """Random states of five layers; one of them says where a token is in which entity."""
    rng = np.random.default_rng(0)
    found = []
    for example in data:
        doc = example.reference
        states = rng.normal(size=(len(doc), 5, width)).astype(np.float16)
        for ent in doc.ents:
            label = 4 * LABELS.index(ent.label_)
            states[ent.start : ent.end, layer, label] += 6
            states[ent.start, layer, label + 1] += 6
            states[ent.end - 1, layer, label + 2] += 6
        found.append(states)
    return found


@pytest.mark.parametrize("kind", ["llm2ner", NAME])
def test_the_planted_layer_is_the_best(
    tiny_llm: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_LEARN_RATE", 0.02)  # for a few steps
    nlp = make_nlp(tiny_llm) if kind == "llm2ner" else make_tagger(tiny_llm)
    train, dev = examples(nlp), examples(nlp)
    llm = FrozenLLM(FrozenLLMSettings(str(tiny_llm), layers=(0, 1, 2, 3, 4)))
    states = planted([*train, *dev], layer=2)
    held = HeldStates(llm, [eg.predicted for eg in (*train, *dev)], lambda docs: states)
    heads = SmallHeads(nlp, kind, held, train, dev, SETTINGS)
    scores = {layer: heads.score([layer], seed=0) for layer in (2, 4)}
    assert scores[2].mention_f >= scores[2].f > 0.65
    assert scores[4].f < scores[2].f - 0.4
    assert heads.score([2], seed=0) == scores[2]
    assert not any(eg.predicted.ents or eg.predicted.spans for eg in dev)


def test_held_states_are_those_of_the_llm(tiny_llm: Path) -> None:
    nlp = make_nlp(tiny_llm, llm={"layers": [1, 3], "pooling": "first+last"})
    own = nlp.get_pipe("llm2ner")._llm_shims()[0].llm
    docs = [nlp.make_doc(text) for text, _ in DATA[:4]]
    every = FrozenLLM(FrozenLLMSettings(str(tiny_llm), layers=(0, 1, 3, 4), pooling="first+last"))
    view = HeldStates(every, docs).view([1, 3])
    for held, read in zip(view.states(docs[2:]), own.read(docs[2:]), strict=True):
        np.testing.assert_array_equal(held, read)
    assert view.identity == own.identity and view.width == own.width


def test_memory_bounds_the_texts(tiny_llm: Path) -> None:
    nlp = spacy.blank("en")
    texts = [nlp.make_doc("word " * n) for n in (40, 30, 20, 30, 40)]
    train, dev = ([Example(doc, doc) for doc in docs] for docs in (texts, texts[:2]))
    llm = FrozenLLM(FrozenLLMSettings(str(tiny_llm), layers=(1, 2)))
    mb = 2 * 2 * 32 / 2**20  # of a token
    every, left_out = choose_texts([train, dev], 0, 230 * mb, llm)
    assert left_out == 0 and {*map(id, every[0])} == {*map(id, train)} and len(every[1]) == 2
    few, left_out = choose_texts([train, dev], 4, 150 * mb, llm)
    tokens = sum(len(eg.predicted) for some in few for eg in some)
    assert 80 < tokens <= 150 and left_out == 4 + 2 - sum(map(len, few))
    assert few[0] == every[0][: len(few[0])]
    with pytest.raises(ValueError, match="E665"):
        choose_texts([train, dev], 0, 20 * mb, llm)


def test_scores_are_those_of_spacys_scorer() -> None:
    nlp = spacy.blank("en")
    predicted = {(0, 2, "PER"): 2.0, (3, 5, "LOC"): 1.0, (1, 2, "LOC"): 0.5, (5, 6, "PER"): 3.0}
    for annotate, data in (("both", examples(nlp)), ("spans", nested_examples(nlp))):
        pipe = fixed_pipe(nlp, predicted, annotate=annotate, decoding="all", labels=LABELS)
        missing = Example(nlp.make_doc("Not annotated"), nlp.make_doc("Not annotated"))
        partly = nlp.make_doc("Ada Lovelace met Charles Babbage.")
        partly.set_ents([Span(partly, 3, 5, label="PER")], default="missing")
        data = [*data, missing, Example(nlp.make_doc(partly.text), partly)]
        ours = score(pipe, data)
        scored = [Example(eg.predicted.copy(), eg.reference) for eg in data]
        pipe.set_annotations([eg.predicted for eg in scored], pipe.predict([eg.x for eg in data]))
        assert ours.f == pytest.approx(pipe.score(scored)["spans_sc_f"])
        assert ours.mention_f >= ours.f


def test_the_head_is_small_and_starts_anew(tiny_llm: Path) -> None:
    nlp = make_nlp(tiny_llm, head={"hidden_width": 256, "depth": 3, "rank": 4})
    head = small_config(nlp, "llm2ner")["model"]["head"]
    assert (head["hidden_width"], head["depth"], head["rank"]) == (128, 1, 4)
    assert nlp.config["components"]["llm2ner"]["model"]["head"]["hidden_width"] == 256
    nlp.config["components"]["llm2ner"]["pretrained"] = "mentions"
    assert small_config(nlp, "llm2ner")["pretrained"] is None
    nlp.config["components"]["llm2ner"]["model"]["llm"] = {"@architectures": "other.LLM.v1"}
    with pytest.raises(ValueError, match=r"E660.*FrozenLLM"):
        small_config(nlp, "llm2ner")


def test_finished_trainings_are_kept(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    data = [examples(nlp)[:3]]
    digest = digest_of({"steps": 3}, data, "sc")
    assert digest == digest_of({"steps": 3}, [examples(nlp)[:3]], "sc")
    others = {digest_of({"steps": 4}, data, "sc"), digest_of({"steps": 3}, [data[0][:2]], "sc")}
    assert len({digest, *others}) == 3
    path = tmp_path / "sweep.json"
    done = Trainings(path, digest)
    done.add((1, 3), 0, Score(0.5, 0.75))
    again = Trainings(path, digest)
    assert again.resumed == 1 and again.get((1, 3), 0) == Score(0.5, 0.75)
    assert again.get((1, 3), 1) is None and again.get((1,), 0) is None
    assert again.measured((1, 3), [0]).f == (0.5,)
    with pytest.raises(FileExistsError, match="E661"):
        Trainings(path, others.pop())
    assert Trainings(path, "other", anew=True).resumed == 0
    path.write_text('{"digest": 1}', encoding="utf8")
    with pytest.raises(ValueError, match="E662"):
        Trainings(path, digest)
