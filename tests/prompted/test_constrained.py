"""Constrained answers, against plain rows without any memory or trees."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from spacy_llm2ner.prompted.asking import Asking
from spacy_llm2ner.prompted.constrained import _choose_alone, choose_exact
from spacy_llm2ner.prompted.generation import LoadedGenerator, load_generator
from spacy_llm2ner.prompted.prompt import make_prompt
from spacy_llm2ner.prompted.trees import Tree, fork, fork_from, trees_work
from spacy_llm2ner.tags import TagSet
from tests.llm.families import FAMILIES
from tests.prompted.test_generation import spec

LABELS = ["PER", "LOC"]
TAGS = TagSet.of_labels(LABELS, "BIO").tags
FOLLOWS = TagSet.of_labels(LABELS, "BIO").legal()[:-1]
SENTENCES = [["Ada", "met", "Babbage", "in", "London", "."], ["("], ["the", "the", "Rhine"]]


class Asked:
    """Questions about sentences, to one model."""

    def __init__(self, folder, sentences=SENTENCES, labels=LABELS, own=False):
        self.generator = load_generator(spec(folder), own=own)
        ask = Asking(self.generator, "auto" if self.generator.is_seq2seq else "plain")
        self.prompts = [ask.prompt(make_prompt(words, labels)) for words in sentences]
        self.units = [ask.units(words, TagSet.of_labels(labels, "BIO").tags) for words in sentences]
        self.arguments = (self.generator, self.prompts, self.units, FOLLOWS)


def score(generator: LoadedGenerator, prompt, before, ways) -> np.ndarray:
    """Probabilities of ways to go on among themselves, each in a plain row of its own."""
    found = []
    with torch.no_grad():
        for way in ways:
            (row,) = generator.log_probs([prompt], [[*before, *way]])
            found.append(float(row[len(before) :].double().sum()))
    table = np.array(found)
    return np.exp(table - np.logaddexp.reduce(table))


def expected(generator, prompt, units) -> tuple[list[int], list[float]]:
    """Greedy tags and their probabilities, from plain rows."""
    tags: list[int] = []
    chances: list[float] = []
    before: list[int] = []
    for word in units:
        may = np.flatnonzero(FOLLOWS[tags[-1] if tags else -1]).tolist()
        found = score(generator, prompt, before, [word[tag] for tag in may])
        tags.append(may[int(found.argmax())])
        chances.append(float(found.max()))
        before += word[tags[-1]]
    return tags, chances


@pytest.fixture(params=["tiny_chat", "tiny_t5"])
def asked(request) -> Asked:
    return Asked(request.getfixturevalue(request.param))


def check(asked: Asked, chosen) -> None:
    for prompt, units, found in zip(asked.prompts, asked.units, chosen, strict=True):
        tags, chances = expected(asked.generator, prompt, units)
        assert found.tags == tags
        for tag, one, other in zip(tags, found.probabilities, chances, strict=True):
            if tag == 0 and one >= 0.99:  # a lower bound
                assert other >= one - 1e-4
            else:
                assert one == pytest.approx(other, abs=1e-4)


def test_exact_is_greedy_search_among_what_is_allowed(asked):
    check(asked, choose_exact(*asked.arguments))


def biased(folder) -> Asked:
    """A model that prefers the pieces of entities, so that O is not always the best.

    It is no shared one, because its LM head is replaced. (And not by monkeypatch: pytest looks for
    the old value in `__dict__`, where torch keeps no submodules, and deletes the head afterwards.)
    """
    asked = Asked(folder, own=True)
    old = asked.generator.model.get_output_embeddings()
    inside = {piece for unit in asked.units for word in unit for way in word[1:] for piece in way}
    outside = {piece for unit in asked.units for word in unit for piece in word[0]}
    head = torch.nn.Linear(old.weight.shape[1], old.weight.shape[0])
    head.weight.data = old.weight.detach() * 2
    head.bias.data.zero_()
    size = 14.0 if asked.generator.is_seq2seq else 9.0
    head.bias.data[sorted(inside - outside)] = size
    head.requires_grad_(False)
    asked.generator.model.lm_head = head
    return asked


@pytest.mark.parametrize("model", ["tiny_chat", "tiny_t5"])
def test_exact_where_entities_are_found(model, request):
    asked = biased(request.getfixturevalue(model))
    chosen = choose_exact(*asked.arguments)
    assert any(tag for row in chosen for tag in row.tags)
    check(asked, chosen)


def test_with_and_without_trees(tiny_chat):
    asked = biased(tiny_chat)
    for prompt, units, found in zip(
        asked.prompts, asked.units, choose_exact(*asked.arguments), strict=True
    ):
        alone = _choose_alone(asked.generator, prompt, units, FOLLOWS)
        assert alone.tags == found.tags
        assert np.allclose(alone.probabilities, found.probabilities, atol=0.01)


def test_batch_mates_do_not_matter(tiny_chat):
    asked = biased(tiny_chat)
    together = choose_exact(*asked.arguments)
    for index in range(len(SENTENCES)):
        (single,) = choose_exact(
            asked.generator, [asked.prompts[index]], [asked.units[index]], FOLLOWS
        )
        assert single.tags == together[index].tags
        assert np.allclose(single.probabilities, together[index].probabilities, atol=1e-4)


def test_prompts_without_anything_in_common(tiny_chat):
    asked = Asked(tiny_chat)
    prompts = [[7, 8, 9], [10], [11, 12]]
    chosen = choose_exact(asked.generator, prompts, asked.units, FOLLOWS)
    for prompt, units, found in zip(prompts, asked.units, chosen, strict=True):
        assert found.tags == expected(asked.generator, prompt, units)[0]
    assert choose_exact(asked.generator, [], [], FOLLOWS) == []
    (empty,) = choose_exact(asked.generator, [[7, 8]], [[]], FOLLOWS)
    assert empty.tags == []


@pytest.mark.parametrize("model", ["tiny_chat", "tiny_t5"])
def test_tags_are_valid(model, request):
    asked = biased(request.getfixturevalue(model))
    for row in choose_exact(*asked.arguments):
        names = ["O", *(TAGS[tag] for tag in row.tags)]
        for before, tag in itertools.pairwise(names):
            assert not tag.startswith("I-") or before[2:] == tag[2:]


@pytest.mark.parametrize(
    "family", ["llama", "gpt2", "gpt_neox", "qwen2", "qwen3", "mistral", "gemma2", "opt"]
)
def test_families(family, tmp_path):
    """With trees or without: the same tags as from plain rows."""
    folder = FAMILIES[family].save(tmp_path / family, max_position_embeddings=2048)
    asked = Asked(folder, sentences=[["Ada", "met", "Bo"], ["Rhine"]])
    prompts = [prompt[-30:] for prompt in asked.prompts]
    chosen = choose_exact(asked.generator, prompts, asked.units, FOLLOWS)
    for prompt, units, found in zip(prompts, asked.units, chosen, strict=True):
        assert found.tags == expected(asked.generator, prompt, units)[0]
    if family in ("llama", "gpt2", "qwen2", "mistral"):
        assert trees_work(asked.generator)


def test_a_window_shorter_than_the_text(tmp_path):
    """Pieces of a tree would see what is behind the window: such texts go in plain rows."""
    folder = FAMILIES["mistral"].save(
        tmp_path / "mistral", max_position_embeddings=2048, sliding_window=24
    )
    asked = Asked(folder, sentences=[["Ada", "met", "Bo"]])
    prompts = [prompt[-30:] for prompt in asked.prompts]
    (found,) = choose_exact(asked.generator, prompts, asked.units, FOLLOWS)
    assert found.tags == expected(asked.generator, prompts[0], asked.units[0])[0]


def test_trees_are_not_for_encoder_decoders(tiny_t5):
    assert not trees_work(load_generator(spec(tiny_t5)))


def test_a_tree_shares_what_is_equal():
    tree = Tree()
    root = tree.node(-1, 1)
    choice = fork(tree, root, [[5, 6, 7], [5, 6, 8], [5, 9], [4]])
    assert tree.pieces == [1, 5, 6]  # last pieces predict nothing
    assert tree.depths == [0, 1, 2]
    assert [step for step in choice.steps if step[0] == 1] == [(1, 0, 5), (1, 1, 6), (1, 2, 8)]
    assert tree.path(2) == [0, 1, 2]


def test_a_fork_from_one_way_has_its_exits():
    tree = Tree()
    root = tree.node(-1, 1)
    choice = fork_from(tree, root, [[5, 6, 7], [5, 8, 7], [5, 8, 9, 7], [4, 7]], 0)
    assert choice.ways == [[5, 6, 7], (5, 8), (4,)]
    assert tree.pieces == [1, 5, 6]
