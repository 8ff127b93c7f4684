"""Constrained decoding: the model copies the next word and chooses one of the given tags.

No word is lost or invented, no parser is needed, and every tag has a probability: that of the model
generating it, relative to the tags allowed there. Tags are chosen word by word, each given the tags
before it (greedy). With trees (see `trees.py`), one small pass per word serves a batch of texts;
otherwise each word and text needs a small pass.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .generation import LoadedGenerator
from .trees import Memory, Tree, fork, fork_from, forward, keep, trees_work, way_log_probs

# From this probability of "O" on, the other tags are not scored.
_SURE = 0.99

# Pieces of each tag, for each word of a text.
Units = Sequence[Sequence[Sequence[int]]]


@dataclass(frozen=True)
class Chosen:
    """The tags of a text.

    tags (List[int]): The index of each word's tag among the given tags.
    probabilities (List[float]): The probability of each, relative to the tags allowed there.
    """

    tags: list[int]
    probabilities: list[float]


def choose_exact(
    generator: LoadedGenerator,
    prompts: Sequence[Sequence[int]],
    units: Sequence[Units],
    follows: np.ndarray,
    outside: int = 0,
) -> list[Chosen]:
    """Choose tags word by word, each given those before it.

    generator (LoadedGenerator): The model.
    prompts (Sequence[Sequence[int]]): The pieces of each text's prompt.
    units (Sequence[Units]): The pieces of each text's words with each tag.
    follows (ndarray): bool (tags + 1, tags): whether a tag may follow another; the last row: which
        may be first.
    outside (int): The index of "O", which may follow every tag. Where its probability is at least
        0.99, it is a lower bound; all other probabilities are exact.
    RETURNS (List[Chosen]): The tags of each text.
    """
    if not prompts:
        return []
    if not _can_branch(generator, prompts, units):
        return [
            _choose_alone(generator, p, u, follows) for p, u in zip(prompts, units, strict=True)
        ]
    memory, pending = read_prompts(generator, prompts)
    rows = [_Row(*row) for row in zip(pending, units, strict=True)]
    active = list(rows)
    while True:
        going = [place for place, row in enumerate(active) if len(row.tags) < len(row.units)]
        if not going:
            break
        if len(going) < len(active):
            memory.keep_rows(going)
            active = [active[place] for place in going]
        _step(generator, memory, active, follows, outside)
    return [Chosen(row.tags, row.probabilities) for row in rows]


@dataclass
class _Row:
    """A text whose tags are being chosen."""

    pending: int  # the last piece of the answer so far, which the model has not seen yet
    units: Units
    tags: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)

    @property
    def word(self) -> Sequence[Sequence[int]]:
        return self.units[len(self.tags)]


def _step(
    generator: LoadedGenerator,
    memory: Memory,
    rows: Sequence[_Row],
    follows: np.ndarray,
    outside: int,
) -> None:
    """Choose the tag of the next word of every row.

    Most words are outside of entities, and "(O" then has almost all of the probability. The other
    tags are scored only where "O" has less than 0.99.
    """
    trees = [Tree() for _ in rows]
    may = [np.flatnonzero(follows[row.tags[-1] if row.tags else -1]).tolist() for row in rows]
    forks = []
    for tree, row, tags in zip(trees, rows, may, strict=True):
        ways = [row.word[tag] for tag in tags]
        forks.append([fork_from(tree, tree.node(-1, row.pending), ways, tags.index(outside))])
    logits, layers = forward(generator, trees, memory)
    unsure = []
    nodes: list[Sequence[int]] = []
    for place, ((scores,), row) in enumerate(zip(way_log_probs(logits, forks), rows, strict=True)):
        chance = float(np.exp(_normalised(scores)[0]))
        way = row.word[outside]
        nodes.append(trees[place].path(trees[place].chain(0, way[:-1])))
        if chance < _SURE:
            unsure.append(place)
        else:
            row.tags.append(outside)
            row.probabilities.append(chance)
            row.pending = way[-1]
    if not unsure:
        keep(memory, layers, nodes)
        return
    # The unsure rows again, with all tags, from the cache before this word.
    part = Memory()
    part.layers, part.lengths = list(memory.layers), memory.lengths
    part.keep_rows(unsure)
    chosen = _look_into(
        generator, part, [rows[place] for place in unsure], [may[p] for p in unsure]
    )
    sure = [place for place in range(len(rows)) if place not in unsure]
    rest = Memory()
    rest.layers, rest.lengths = list(memory.layers), memory.lengths
    rest.keep_rows(sure)
    if sure:
        keep(rest, [(k[sure], v[sure]) for k, v in layers], [nodes[place] for place in sure])
    keep(part, *chosen)
    memory.merge(rest, sure, part, unsure)


def _look_into(
    generator: LoadedGenerator, memory: Memory, rows: Sequence[_Row], may: Sequence[list[int]]
) -> tuple[list[tuple[Any, Any]], list[list[int]]]:
    """Choose among all allowed tags; RETURNS the output of the pass that `keep` needs."""
    trees, forks = [], []
    for row, tags in zip(rows, may, strict=True):
        tree = Tree()
        root = tree.node(-1, row.pending)
        forks.append([fork(tree, root, [row.word[tag] for tag in tags])])
        trees.append(tree)
    logits, layers = forward(generator, trees, memory)
    nodes = []
    for tree, row, tags, (chosen,), (scores,) in zip(
        trees, rows, may, forks, way_log_probs(logits, forks), strict=True
    ):
        chances = np.exp(_normalised(scores))
        best = int(chances.argmax())
        way = chosen.ways[best]
        nodes.append(tree.path(tree.chain(chosen.root, way[:-1])))
        row.tags.append(tags[best])
        row.probabilities.append(float(chances[best]))
        row.pending = way[-1]
    return layers, nodes


def read_prompts(
    generator: LoadedGenerator, prompts: Sequence[Sequence[int]]
) -> tuple[Memory, list[int]]:
    """Read all but the last piece of each prompt; the shared prefix only once.

    RETURNS (Tuple[Memory, List[int]]): Keys and values of the pieces read; the last pieces.
    """
    shared = 0
    shortest = min(len(prompt) for prompt in prompts) - 1
    while shared < shortest and len({prompt[shared] for prompt in prompts}) == 1:
        shared += 1
    memory = Memory()
    if shared:
        _read_on(generator, memory, [prompts[0][:shared]])
        memory.spread(len(prompts))
    rest = [prompt[shared:-1] for prompt in prompts]
    if any(rest):
        if not shared:
            memory.lengths = np.zeros(len(prompts), dtype=np.int64)
        _read_on(generator, memory, rest)
    elif not shared:
        memory.lengths = np.zeros(len(prompts), dtype=np.int64)
    return memory, [prompt[-1] for prompt in prompts]


def _read_on(generator: LoadedGenerator, memory: Memory, rows: Sequence[Sequence[int]]) -> None:
    trees = [Tree() for _ in rows]
    nodes = []
    for tree, row in zip(trees, rows, strict=True):
        nodes.append(tree.path(tree.chain(-1, row)))
    if len(rows) != len(memory.lengths):
        memory.lengths = np.zeros(len(rows), dtype=np.int64)
    _, layers = forward(generator, trees, memory, logits=False)
    keep(memory, layers, nodes)


def _can_branch(
    generator: LoadedGenerator, prompts: Sequence[Sequence[int]], units: Sequence[Units]
) -> bool:
    """Whether trees work for these texts: every piece attends to all pieces before it."""
    if generator.branches is None:
        generator.branches = trees_work(generator)
    config = generator.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if generator.branches and window is not None:
        longest = max(
            len(prompt) + sum(max(len(way) for way in word) for word in words)
            for prompt, words in zip(prompts, units, strict=True)
        )
        return longest < window
    return generator.branches


def _normalised(log_probs: np.ndarray) -> np.ndarray:
    return log_probs - np.logaddexp.reduce(log_probs)


# Without trees --------------------------------------------------------------------------------


def _choose_alone(
    generator: LoadedGenerator, prompt: Sequence[int], units: Units, follows: np.ndarray
) -> Chosen:
    """Tags of one text, word by word: a row for each allowed tag, on a copied cache."""
    import torch

    state = _Alone(generator, prompt)
    tags: list[int] = []
    chances: list[float] = []
    for word in units:
        may = np.flatnonzero(follows[tags[-1] if tags else -1]).tolist()
        ways = [list(word[tag]) for tag in may]
        logits = state.try_ways([way[:-1] for way in ways])
        totals = []
        for row, way in zip(logits, ways, strict=True):
            scores = torch.log_softmax(row[: len(way)].float(), dim=-1)
            pieces = torch.tensor(way, device=scores.device)[:, None]
            totals.append(float(scores.gather(1, pieces).double().sum()))
        found = _normalised(np.array(totals))
        best = int(found.argmax())
        tags.append(int(may[best]))
        chances.append(float(np.exp(found[best])))
        state.go_on(ways[best])
    return Chosen(tags, chances)


class _Alone:
    """The state of a model within one answer.

    cache (Cache): Keys and values of the pieces that were read.
    pending (List[int]): The last pieces, which are not read yet.
    """

    def __init__(self, generator: LoadedGenerator, prompt: Sequence[int]) -> None:
        import torch
        from transformers import DynamicCache, EncoderDecoderCache

        self.generator = generator
        self.encoded: Any = None
        if generator.is_seq2seq:
            ids = torch.tensor([list(prompt)], device=generator.device)
            with torch.inference_mode():
                self.encoded = generator.model.get_encoder()(input_ids=ids).last_hidden_state
            self.cache: Any = EncoderDecoderCache(DynamicCache(), DynamicCache())
            self.pending = [generator.start]
        else:
            self.cache = DynamicCache()
            self.pending = list(prompt)
            if len(prompt) > 1:
                self._pass([list(prompt[:-1])], self.cache)
                self.pending = [prompt[-1]]

    def _pass(self, rows: list[list[int]], cache: Any) -> Any:
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        ids, _ = self.generator.padded(rows, left=False)
        self.generator.model.eval()
        with torch.inference_mode():
            if self.encoded is None:
                return self.generator.model(
                    input_ids=ids, past_key_values=cache, use_cache=True
                ).logits
            states = self.encoded.expand(len(rows), -1, -1)
            return self.generator.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=states),
                decoder_input_ids=ids,
                past_key_values=cache,
                use_cache=True,
            ).logits

    def try_ways(self, ways: list[list[int]]) -> Any:
        """Logits (ways, pieces + 1, vocabulary) after the pending piece and each piece."""
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(len(ways))
        return self._pass([[*self.pending, *way] for way in ways], cache)

    def go_on(self, way: list[int]) -> None:
        """Continue with one way."""
        self._pass([[*self.pending, *way[:-1]]], self.cache)
        self.pending = way[-1:]
