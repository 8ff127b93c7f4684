"""Heads with several members: trained together, or joined from several pipelines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language

from spacy_llm2ner.pipeline.ensemble import join_heads
from tests.pipeline.sample import DATA, examples, found, train
from tests.tiny import make_nlp


def logits(nlp: Language, text: str) -> np.ndarray:
    return np.asarray(nlp.get_pipe("llm2ner").model.predict([nlp.make_doc(text)])[0])


def seeded(folder: Path, seed: int, steps: int = 15, **head) -> Language:
    nlp = make_nlp(folder, head=head)
    spacy.util.fix_random_seed(seed)
    data = examples(nlp)
    nlp.initialize(lambda: data)
    train(nlp, data, steps=steps)
    return nlp


@pytest.fixture(scope="module")
def folders(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two pipelines that differ in their seeds."""
    root = tmp_path_factory.mktemp("seeds")
    for seed in (0, 1):
        seeded(tiny_llm, seed).to_disk(root / str(seed))
    return [root / "0", root / "1"]


@pytest.fixture
def pair(folders: list[Path]) -> list[Language]:
    return [spacy.load(folder) for folder in folders]


def test_members_learn(tiny_llm: Path, tmp_path: Path) -> None:
    nlp = seeded(tiny_llm, 0, steps=120, members=3)
    for text, phrases in DATA:
        assert found(nlp(text)) == phrases
    nlp.to_disk(tmp_path)
    text = DATA[0][0]
    assert np.array_equal(logits(spacy.load(tmp_path), text), logits(nlp, text))


def test_a_member_rests_while_others_train(tiny_llm: Path) -> None:
    nlp = seeded(tiny_llm, 0, steps=3, members=3)
    module = nlp.get_pipe("llm2ner").model.layers[1].shims[0].module
    before = [p.detach().clone() for p in module.members[1].parameters()]
    # The fourth batch is the first member's; momenta and weight decay leave the others alone.
    train(nlp, examples(nlp), steps=1)
    after = list(module.members[1].parameters())
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_joined_is_the_mean(pair: list[Language], tmp_path: Path) -> None:
    texts = [text for text, _ in DATA]
    each = [[logits(nlp, text) for text in texts] for nlp in pair]
    assert not np.allclose(each[0][0], each[1][0])
    assert join_heads(pair, "llm2ner")
    pair[0].to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    for i, text in enumerate(texts):
        expected = (each[0][i] + each[1][i]) / 2
        assert np.allclose(logits(loaded, text), expected, atol=1e-4)
        assert np.array_equal(logits(loaded, text), logits(pair[0], text))
    assert loaded.config["components"]["llm2ner"]["model"]["head"]["members"] == 2


def test_joined_heads_can_be_joined_and_trained(folders: list[Path], pair: list[Language]) -> None:
    third = spacy.load(folders[0])
    with pytest.raises(ValueError, match=r"pipelines 1 and 3 have the same head"):
        join_heads([*pair, third], "llm2ner")
    third.get_pipe("llm2ner").model.layers[1].shims[0].module.length.data += 0.5
    expected = sum(logits(nlp, DATA[1][0]) for nlp in (*pair, third)) / 3
    join_heads(pair, "llm2ner")
    join_heads([pair[0], third], "llm2ner")
    assert np.allclose(logits(pair[0], DATA[1][0]), expected, atol=1e-4)
    losses = train(pair[0], examples(pair[0]), steps=60)
    assert losses[-1] < losses[0]


def test_thresholds_that_differ_are_dropped(pair: list[Language]) -> None:
    pair[1].get_pipe("llm2ner").settings["threshold"] = 0.9
    assert not join_heads(pair, "llm2ner")
    assert pair[0].get_pipe("llm2ner").settings["threshold"] == 0.5


def test_other_heads_are_refused(pair: list[Language], tiny_llm: Path) -> None:
    wider = seeded(tiny_llm, 0, steps=1, hidden_width=16)
    with pytest.raises(ValueError, match=r"hidden_width.*only heads that were trained alike"):
        join_heads([pair[0], wider], "llm2ner")
    with pytest.raises(ValueError, match="no component 'ner'"):
        join_heads(pair, "ner")
    relabelled = make_nlp(tiny_llm)
    relabelled.get_pipe("llm2ner").add_label("SHIP")
    relabelled.initialize(lambda: examples(relabelled))
    with pytest.raises(ValueError, match="labels of 'llm2ner'"):
        join_heads([pair[0], relabelled], "llm2ner")


def test_members_must_be_some(tiny_llm: Path) -> None:
    with pytest.raises(ValueError, match="'members' of the head is 0"):
        make_nlp(tiny_llm, head={"members": 0})
