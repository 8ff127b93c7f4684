"""Tree attention: many continuations in one forward pass, as rows that branch.

A row is a tree of pieces. Each piece attends to its ancestors and to the kept pieces of earlier
passes, and its position is its depth, so that its states equal those in a separate plain row. The
prefix that all continuations share, the copied word, is computed once.
(The verification step of speculative decoding does the same: SpecInfer, arXiv 2305.09781.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..compat import cached_layers
from .generation import LoadedGenerator


@dataclass
class Tree:
    """The pieces of a row, parents first.

    pieces (List[int]): The piece of each node.
    parents (List[int]): The node before it; -1 for a node that follows the kept pieces.
    depths (List[int]): The number of pieces of the tree that precede it.
    """

    pieces: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    _known: dict[tuple[int, int], int] = field(default_factory=dict)

    def node(self, parent: int, piece: int) -> int:
        """The child of `parent` with that piece; a new node if there is none yet."""
        known = self._known.get((parent, piece))
        if known is None:
            known = self._known[parent, piece] = len(self.pieces)
            self.pieces.append(piece)
            self.parents.append(parent)
            self.depths.append(0 if parent < 0 else self.depths[parent] + 1)
        return known

    def chain(self, parent: int, pieces: Sequence[int]) -> int:
        """A node for each piece, one after the other; RETURNS the last (`parent` if none)."""
        for piece in pieces:
            parent = self.node(parent, piece)
        return parent

    def path(self, node: int) -> list[int]:
        """The nodes from the start of the tree to `node`."""
        nodes = []
        while node >= 0:
            nodes.append(node)
            node = self.parents[node]
        return nodes[::-1]


@dataclass
class Fork:
    """Alternative continuations of a node, and the nodes that predict them.

    root (int): The node.
    ways (Sequence[Sequence[int]]): The pieces of each alternative, at least one.
    steps (List[Tuple[int, int, int]]): (way, node that predicts, piece that it must predict).
    """

    root: int
    ways: Sequence[Sequence[int]]
    steps: list[tuple[int, int, int]]


def fork(tree: Tree, root: int, ways: Sequence[Sequence[int]]) -> Fork:
    """Add continuations to a tree, without their last pieces, which predict nothing."""
    steps = []
    for index, way in enumerate(ways):
        node = root
        for place, piece in enumerate(way):
            steps.append((index, node, piece))
            if place + 1 < len(way):
                node = tree.node(node, piece)
    return Fork(root, ways, steps)


def fork_from(tree: Tree, root: int, ways: Sequence[Sequence[int]], main: int) -> Fork:
    """Add only one continuation to a tree, with all branches that leave it.

    main (int): The index of that continuation.
    RETURNS (Fork): Its first way is that continuation. The others are prefixes of it, each followed
        by a piece that differs: at least as probable as all continuations that start so.
    """
    way = ways[main]
    exits: dict[tuple[int, ...], None] = {}
    for other in ways:
        same = 0
        while same < min(len(way), len(other)) and way[same] == other[same]:
            same += 1
        if same < len(other):
            exits[tuple(other[: same + 1])] = None
    return fork(tree, root, [way, *exits])


class Memory:
    """Keys and values of the kept pieces of several rows.

    layers (List[Tuple]): Keys and values of each layer, (rows, heads, pieces, width).
    lengths (ndarray): Number of kept pieces of each row; the rest is padding.
    """

    def __init__(self) -> None:
        self.layers: list[tuple[Any, Any]] = []
        self.lengths = np.zeros(0, dtype=np.int64)

    @property
    def width(self) -> int:
        """The pieces of the longest row."""
        return int(self.layers[0][0].shape[2]) if self.layers else 0

    def spread(self, rows: int) -> None:
        """Repeat a single row."""
        self.layers = [
            (k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1)) for k, v in self.layers
        ]
        self.lengths = np.repeat(self.lengths, rows)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        self.layers = [(k[list(rows)], v[list(rows)]) for k, v in self.layers]
        self.lengths = self.lengths[list(rows)]

    def merge(self, one: Memory, rows: Sequence[int], other: Memory, others: Sequence[int]) -> None:
        """Become the union of two memories: `one` holds `rows`, `other` holds `others`."""
        import torch
        from torch.nn.functional import pad

        parts = [part for part in (one, other) if len(part.lengths)]
        width = max(int(part.lengths.max()) for part in parts)
        order = np.argsort(np.array([*rows, *others]))
        index = torch.from_numpy(order)

        def together(states: Sequence[Any]) -> Any:
            return torch.cat([pad(s, (0, 0, 0, width - s.shape[2])) for s in states])[index]

        self.layers = [
            (together([keys for keys, _ in pairs]), together([values for _, values in pairs]))
            for pairs in zip(*(part.layers for part in parts), strict=True)
        ]
        self.lengths = np.concatenate([part.lengths for part in parts])[order]


def forward(
    generator: LoadedGenerator,
    trees: Sequence[Tree],
    memory: Memory,
    *,
    logits: bool = True,
) -> tuple[Any, list[tuple[Any, Any]]]:
    """One forward pass over a tree per row.

    trees (Sequence[Tree]): The tree of each row.
    memory (Memory): The kept pieces of each row.
    logits (bool): Whether logits are needed.
    RETURNS (Tuple[FloatTensor, List]): Logits (rows, nodes, vocabulary), and the keys and values of
        kept pieces and nodes, from which `keep` selects.
    """
    import torch
    from transformers import DynamicCache

    rows, width = len(trees), memory.width
    if not len(memory.lengths):
        memory.lengths = np.zeros(rows, dtype=np.int64)
    size = max(len(tree.pieces) for tree in trees)
    ids = np.zeros((rows, size), dtype=np.int64)
    positions = np.zeros((rows, size), dtype=np.int64)
    sees = np.zeros((rows, size, width + size), dtype=bool)
    sees[:, :, :width] = np.arange(width) < memory.lengths[:, None, None]
    for row, tree in enumerate(trees):
        n = len(tree.pieces)
        ids[row, :n] = tree.pieces
        positions[row, :n] = np.asarray(tree.depths) + memory.lengths[row]
        inside = sees[row, :, width:]
        for node, parent in enumerate(tree.parents):
            if parent >= 0:
                inside[node] = inside[parent]
            inside[node, node] = True
        # Padding attends to itself: softmax over an empty row would be NaN.
        padding = np.arange(n, size)
        inside[padding, padding] = True
    device, dtype = generator.device, generator.model.dtype
    mask = torch.zeros((rows, 1, size, width + size), dtype=dtype, device=device)
    hidden = torch.from_numpy(~sees)[:, None].to(device)
    mask.masked_fill_(hidden, torch.finfo(dtype).min)
    cache: Any = DynamicCache()
    for layer, (keys, values) in enumerate(memory.layers):
        cache.update(keys, values, layer)
    extra: dict[str, Any] = {}
    if not logits and generator.accepts("logits_to_keep"):
        extra["logits_to_keep"] = 1
    generator.model.eval()
    with torch.inference_mode():
        output = generator.model(
            input_ids=torch.from_numpy(ids).to(device),
            position_ids=torch.from_numpy(positions).to(device),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **extra,
        )
    return output.logits, cached_layers(output.past_key_values)


def keep(memory: Memory, layers: list[tuple[Any, Any]], kept: Sequence[Sequence[int]]) -> None:
    """Append some nodes of each row's tree, in order, to the row's kept pieces.

    memory (Memory): The kept pieces; changed in place.
    layers (List[Tuple]): Keys and values from `forward`.
    kept (Sequence[Sequence[int]]): The nodes of each row.
    """
    import torch

    width = memory.width
    lengths = memory.lengths + np.array([len(nodes) for nodes in kept], dtype=np.int64)
    index = np.zeros((len(kept), int(lengths.max(initial=0))), dtype=np.int64)
    for row, nodes in enumerate(kept):
        before = int(memory.lengths[row])
        index[row, :before] = np.arange(before)
        index[row, before : before + len(nodes)] = np.asarray(nodes, dtype=np.int64) + width
    places = torch.from_numpy(index)[:, None, :, None].to(layers[0][0].device)
    memory.layers = [(_pick(k, places), _pick(v, places)) for k, v in layers]
    memory.lengths = lengths


def _pick(states: Any, places: Any) -> Any:
    return states.gather(2, places.expand(-1, states.shape[1], -1, states.shape[3]))


def way_log_probs(logits: Any, forks: Sequence[Sequence[Fork]]) -> list[list[np.ndarray]]:
    """Log-probabilities of the continuations of forks.

    logits (FloatTensor): (rows, nodes, vocabulary).
    forks (Sequence[Sequence[Fork]]): The forks of each row.
    RETURNS (List[List[ndarray]]): For each fork of each row float64 (ways,): the logarithm of the
        probability that the model generates that way.
    """
    import torch

    totals = [[np.zeros(len(one.ways)) for one in row] for row in forks]
    norms: Any = None
    for row, some in enumerate(forks):
        steps = [(which, *step) for which, one in enumerate(some) for step in one.steps]
        if not steps:
            continue
        nodes = torch.tensor([step[2] for step in steps], device=logits.device)
        pieces = torch.tensor([step[3] for step in steps], device=logits.device)
        scores = logits[row].float()
        norms = torch.logsumexp(scores, dim=-1)
        found = (scores[nodes, pieces] - norms[nodes]).double().cpu().numpy()
        for (which, way, _, _), value in zip(steps, found, strict=True):
            totals[row][which][way] += value
    return totals


def trees_work(generator: LoadedGenerator) -> bool:
    """Test whether the model computes the same in a tree as in plain rows."""
    import torch

    if generator.is_seq2seq or not generator.accepts("position_ids"):
        return False
    size = int(generator.config.get_text_config().vocab_size)
    a, b, c, d, e = (size // n for n in (2, 3, 5, 7, 11))
    tree = Tree()
    root = tree.chain(-1, [b, c])
    one, other = tree.chain(root, [d, e]), tree.chain(root, [e, a])
    try:
        memory, start = Memory(), Tree()
        start.chain(-1, [a, d])
        _, layers = forward(generator, [start], memory)
        keep(memory, layers, [[0, 1]])
        logits, _ = forward(generator, [tree], memory)
        with torch.inference_mode():
            plain = [
                generator.model(input_ids=torch.tensor([row], device=generator.device)).logits
                for row in ([a, d, b, c, d, e], [a, d, b, c, e, a])
            ]
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return False
    expected = torch.stack([rows[0, -1] for rows in plain]).float()
    found = logits[0, [one, other]].float()
    tolerance = 1e-3 if generator.model.dtype == torch.float32 else 3e-2
    return float((expected - found).abs().max()) <= tolerance * float(expected.abs().max())
