"""Decoding of span scores: which spans of a band become annotation.

A *band* holds the logits of one text, float32 (tokens, width, labels): entry [i, o, l] is the logit
of "the tokens i .. i+o inclusive are an entity with label l". Illegal cells (past the end of the
text, or with a whitespace token at an edge) hold -1e6. Cells are independent binary decisions, so
several overlapping spans, and several labels of one span, may reach their thresholds. The
*decoding* determines which of them are kept:

    all      every span at or above its threshold
    greedy   the best span first, then the next best that is disjoint from all kept
    flat     the disjoint set with the largest total gain
    nested   the set without crossing spans with the largest total gain

The *gain* of a span is the log odds of its score minus those of its threshold (`gains`). With all
thresholds at 0.5, and if spans are independent, the flat set is the most probable disjoint set;
another threshold for a label amounts to another prior for it.

Ties. Greedy takes spans of equal score longest first, then leftmost, then by smaller label index.
Flat and nested prefer, among sets of equal gain, fewer spans, then more tokens (summed over spans),
then the first set in reading order: at the first difference, the span that starts earlier, else the
longer one, else the one with the smaller label index. No two different sets tie under these rules,
so that results do not depend on the order of the spans.

This module uses numpy only, neither spaCy nor torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import Errors
from ..numeric import log_odds, probabilities
from ..settings import check_choice

SPAN_DECODINGS = ("all", "greedy", "flat", "nested")

# Cells at or below this logit are illegal: they hold -1e6, and real logits stay far above.
ILLEGAL_LOGIT = -1e5

# Gains are whole multiples of this. Float sums of such numbers are exact (up to totals of 2**23),
# so that equal totals compare equal for any order of addition, which the tie rules require.
GAIN_STEP = 2.0**-30

_THRESHOLD_CLIP = 1e-6
# Half the distance between 1 and the float32 below it: keeps logit(1) finite, and above the logit
# of every other float32 probability.
_SCORE_CLIP = 2.0**-25


@dataclass(frozen=True, eq=False)
class Spans:
    """Labelled, scored spans of one text, as columns of equal length (spans,).

    Every function of this module returns them sorted by (start, end, label).

    starts (ndarray): First token, int32.
    ends (ndarray): The token after the last one, int32.
    labels (ndarray): Label indices, int32.
    scores (ndarray): Probabilities in [0, 1], float32.
    """

    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    labels: NDArray[np.int32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        """The number of spans."""
        return len(self.starts)

    def select(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Spans:
        """Select spans.

        index (ndarray): Positions, whose order is kept, or a mask (spans,).
        RETURNS (Spans): The selected spans.
        """
        return Spans(self.starts[index], self.ends[index], self.labels[index], self.scores[index])


def candidates(
    logits: NDArray[np.float32], thresholds: NDArray[np.float32], first: int = 0, following: int = 0
) -> Spans:
    """Find all spans of a band whose probability reaches the threshold of their label.

    Probability and threshold are compared as float32, with >=. At threshold 0 every legal cell is a
    candidate; at threshold 1 those whose float32 probability is 1 (a logit above about 17.3).

    logits (ndarray): (tokens, width, labels).
    thresholds (ndarray): Probabilities in [0, 1], (labels,).
    first (int): The token of the first row, for a band that is a slice of a text's.
    following (int): How many tokens of the text follow the slice; spans that start in the slice may
        end there.
    RETURNS (Spans): The candidates.
    RAISES (ValueError): If the shapes do not fit (E210), for NaN (E211), and for thresholds outside
        [0, 1] (E214).
    """
    logits = np.asarray(logits, dtype=np.float32)
    thresholds = _checked_thresholds(thresholds)
    if logits.ndim != 3 or logits.shape[2] != len(thresholds):
        raise ValueError(Errors.E210.format(shape=logits.shape, thresholds=len(thresholds)))
    if np.isnan(logits).any():
        raise ValueError(Errors.E211)
    cells = np.flatnonzero(logits > ILLEGAL_LOGIT)
    scores = probabilities(logits.reshape(-1)[cells])
    reached = scores >= thresholds[cells % len(thresholds)] if len(thresholds) else scores > 1
    # Cells are in C order, that is, sorted by (start, offset, label); masks preserve the order.
    starts, offsets, labels = np.unravel_index(cells[reached], logits.shape)
    keep = starts + offsets < len(logits) + following
    return Spans(
        (first + starts)[keep].astype(np.int32),
        (first + starts + offsets + 1)[keep].astype(np.int32),
        labels[keep].astype(np.int32),
        scores[reached][keep],
    )


def joined(parts: Sequence[Spans]) -> Spans:
    """Join the candidates of a text's slices.

    parts (Sequence[Spans]): For each slice, in order, its candidates; at least one.
    RETURNS (Spans): The candidates of the text.
    """
    if len(parts) == 1:
        return parts[0]
    return Spans(
        np.concatenate([spans.starts for spans in parts]),
        np.concatenate([spans.ends for spans in parts]),
        np.concatenate([spans.labels for spans in parts]),
        np.concatenate([spans.scores for spans in parts]),
    )


def gains(spans: Spans, thresholds: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute the gain of each span: logit(score) - logit(threshold of the label).

    Gains are finite and positive for all input: thresholds are clipped to [1e-6, 1 - 1e-6], and
    scores to within 2**-25 of 0 and 1, beyond which float32 probabilities are 1 anyway.

    spans (Spans): The spans.
    thresholds (ndarray): (labels,), see `candidates`.
    RETURNS (ndarray): float64 (spans,), whole multiples of GAIN_STEP, at least GAIN_STEP.
    RAISES (ValueError): For a label index without a threshold (E212), and for thresholds outside
        [0, 1] (E214).
    """
    thresholds = _checked_thresholds(thresholds)
    if len(spans) and not 0 <= spans.labels.min() <= spans.labels.max() < len(thresholds):
        raise ValueError(
            Errors.E212.format(
                low=spans.labels.min(), high=spans.labels.max(), thresholds=len(thresholds)
            )
        )
    scores = log_odds(spans.scores, _SCORE_CLIP, 1.0 - _SCORE_CLIP)
    bars = log_odds(thresholds, _THRESHOLD_CLIP, 1.0 - _THRESHOLD_CLIP)
    excess = scores - bars[spans.labels]
    return np.maximum(np.rint(excess / GAIN_STEP), 1.0) * GAIN_STEP


def decode(logits: NDArray[np.float32], thresholds: NDArray[np.float32], decoding: str) -> Spans:
    """Decode the spans of a band.

    logits (ndarray): (tokens, width, labels).
    thresholds (ndarray): (labels,), see `candidates`.
    decoding (str): One of SPAN_DECODINGS; the top of this module defines them and their tie rules.
    RETURNS (Spans): The candidates that the decoding keeps.
    RAISES (ValueError): For an unknown decoding (E001); see also `candidates`.
    """
    spans = candidates(logits, thresholds)
    return spans.select(keep_mask(spans, thresholds, decoding))


def keep_mask(spans: Spans, thresholds: NDArray[np.float32], decoding: str) -> NDArray[np.bool_]:
    """Decode candidates to a mask of the spans to keep.

    Only spans that overlap, directly or through others, affect each other, so that concatenated
    texts give the same result as separate texts.

    spans (Spans): Sorted by (start, end, label), each at or above the threshold of its label.
    thresholds (ndarray): (labels,).
    decoding (str): One of SPAN_DECODINGS.
    RETURNS (ndarray): bool (spans,).
    RAISES (ValueError): For an unknown decoding (E001); see also `gains`.
    """
    check_choice("decoding", decoding, SPAN_DECODINGS)
    if decoding == "greedy":
        return _greedy(spans)
    if decoding == "flat":
        return _flat(spans, _weights(spans, thresholds))
    if decoding == "nested":
        return _nested(spans, _weights(spans, thresholds))
    return np.ones(len(spans), dtype=bool)


def temper(logits: NDArray[np.float32], temperatures: NDArray[np.float64]) -> NDArray[np.float32]:
    """Divide the logits of a band by the temperature of their label.

    logits (ndarray): (tokens, width, labels).
    temperatures (ndarray): (labels,), above 0.
    RETURNS (ndarray): A new band, in which illegal cells stay illegal; `logits` itself if all
        temperatures are 1.
    """
    temperatures = np.asarray(temperatures, dtype=np.float64)
    if (temperatures == 1).all():
        return logits
    cooled = np.maximum(logits / temperatures, ILLEGAL_LOGIT / 2).astype(np.float32)
    return np.where(logits > ILLEGAL_LOGIT, cooled, np.float32(-1e6))


def flatten(spans: Spans, thresholds: NDArray[np.float32]) -> Spans:
    """Find the disjoint subset of spans with the largest total gain.

    Derives non-overlapping entities (doc.ents) from spans decoded with "all" or "nested". For all
    candidates of a band the result is that of `decode` with "flat".

    spans (Spans): The spans, in any order.
    thresholds (ndarray): (labels,).
    RETURNS (Spans): The subset.
    RAISES (ValueError): For a span without tokens (E213); see also `gains`.
    """
    if (spans.starts >= spans.ends).any():
        raise ValueError(Errors.E213)
    spans = spans.select(np.lexsort((-spans.scores, spans.labels, spans.ends, spans.starts)))
    return spans.select(_flat(spans, _weights(spans, thresholds)))


def _checked_thresholds(thresholds: NDArray[np.float32]) -> NDArray[np.float32]:
    thresholds = np.asarray(thresholds, dtype=np.float32)
    # Negated, so that NaN fails too.
    if thresholds.ndim != 1 or not ((thresholds >= 0) & (thresholds <= 1)).all():
        raise ValueError(Errors.E214.format(thresholds=thresholds.tolist()))
    return thresholds


def _weights(spans: Spans, thresholds: NDArray[np.float32]) -> list[int]:
    """The weights of spans: integers whose sums order sets of spans.

    Gain, then fewer spans, then more tokens, packed into one Python integer (arbitrary precision):
    gain steps above bit 64, the negative count above bit 32, tokens below. All are positive.
    """
    steps = np.rint(gains(spans, thresholds) / GAIN_STEP).astype(np.int64).tolist()
    lengths = (spans.ends - spans.starts).tolist()
    return [(s << 64) - (1 << 32) + n for s, n in zip(steps, lengths, strict=True)]


def _greedy(spans: Spans) -> NDArray[np.bool_]:
    """The mask of the spans to keep, best score first. O(n log n + n * width)."""
    order = np.lexsort((spans.labels, spans.starts, spans.starts - spans.ends, -spans.scores))
    starts, ends = spans.starts.tolist(), spans.ends.tolist()
    keep = np.zeros(len(spans), dtype=bool)
    taken = bytearray(max(ends, default=0))
    for i in order.tolist():
        start, end = starts[i], ends[i]
        if taken.find(1, start, end) < 0:
            taken[start:end] = b"\1" * (end - start)
            keep[i] = True
    return keep


def _flat(spans: Spans, weights: list[int]) -> NDArray[np.bool_]:
    """The mask of the heaviest disjoint subset: weighted interval scheduling, O(n log n).

    With the spans in reading order (start, longest first, label), best[i] is the heaviest disjoint
    subset of the spans i, i+1, ...:

        best[i] = max(weight[i] + best[first span that starts at or after the end of i],   take i
                      best[i+1])                                                           leave i

    On a tie i is taken: it comes first in reading order.
    """
    order = np.lexsort((spans.labels, -spans.ends, spans.starts))
    after = np.searchsorted(spans.starts[order], spans.ends[order]).tolist()
    indices = order.tolist()
    best = [0] * (len(spans) + 1)
    take = [False] * len(spans)
    for i in reversed(range(len(spans))):
        with_it = weights[indices[i]] + best[after[i]]
        take[i] = with_it >= best[i + 1]
        best[i] = with_it if take[i] else best[i + 1]
    keep = np.zeros(len(spans), dtype=bool)
    i = 0
    while i < len(spans):
        if take[i]:
            keep[indices[i]] = True
            i = after[i]
        else:
            i += 1
    return keep


def _nested(spans: Spans, weights: list[int]) -> NDArray[np.bool_]:
    """The mask of the heaviest subset without crossing spans; `spans` must be sorted.

    The problem is split into clusters (runs of spans that overlap, directly or through others).
    Most have a few spans, and a cluster whose spans all start at one token keeps all of them.
    """
    keep = np.ones(len(spans), dtype=bool)
    if not len(spans):
        return keep
    reach = np.maximum.accumulate(spans.ends)
    first = np.flatnonzero(np.append(True, spans.starts[1:] >= reach[:-1]))
    last = np.append(first[1:], len(spans))
    starts, ends = spans.starts.tolist(), spans.ends.tolist()
    for lo, hi in zip(first.tolist(), last.tolist(), strict=True):
        if starts[lo] == starts[hi - 1]:
            continue
        # Labels of one span never exclude each other, and every weight is positive: all or none.
        worth: dict[tuple[int, int], int] = {}
        for i in range(lo, hi):
            key = (starts[i], ends[i])
            worth[key] = worth.get(key, 0) + weights[i]
        kept = _non_crossing(worth)
        keep[lo:hi] = [(starts[i], ends[i]) in kept for i in range(lo, hi)]
    return keep


def _non_crossing(worth: dict[tuple[int, int], int]) -> set[tuple[int, int]]:
    """The heaviest subset without crossings of the spans `worth`: {(start, end): weight > 0}.

    In(s, e) is the heaviest set of spans within the tokens [s, e). The span (s, e) itself crosses
    none of them, so it is always included. Of the others, either none starts at s, or the longest
    one that does, (s, m), splits the rest into two parts whose spans cannot cross:

              s           m               e
              |===========================|    the span (s, e), if it is a candidate
              |===========|                    the longest other that starts at s
              |  In(s,m)  |    In(m,e)    |

        In(s, e) = worth(s, e)
                 + max(In(s+1, e), max over spans (s, m), m < e, of In(s, m) + In(m, e))

    No span is longer than the band's width, so In is only needed for e - s <= width. Longer ranges
    are covered by a chain of maximal spans:

        Chain(s) = max(Chain(s+1), max over spans (s, m) of In(s, m) + Chain(m))

    Time O(spans * width), memory O(tokens * width). Ties prefer a span to none, then the longer m.
    """
    lengths_at: dict[int, list[int]] = {}
    for start, end in sorted(worth):
        lengths_at.setdefault(start, []).append(end - start)
    low, high = min(lengths_at), max(end for _, end in worth)
    width = max(lengths[-1] for lengths in lengths_at.values())

    # inside[s][k] is In(s, s+k), split[s][k] the length m - s that won there, 0 for In(s+1, e).
    inside: dict[int, list[int]] = {high: [0] * (width + 1)}
    split: dict[int, list[int]] = {}
    chain: dict[int, int] = {high: 0}
    link: dict[int, int] = {}
    for s in range(high - 1, low - 1, -1):
        lengths = lengths_at.get(s, [])
        row, won = [0, *inside[s + 1][:-1]], [0] * (width + 1)
        if lengths:
            # Up to the length of the shortest span at s, In(s, e) = In(s+1, e).
            for k in range(lengths[0], width + 1):
                for n in lengths:
                    if n >= k:
                        break
                    total = row[n] + inside[s + n][k - n]
                    if total >= row[k]:
                        row[k], won[k] = total, n
                row[k] += worth.get((s, s + k), 0)
        inside[s], split[s] = row, won
        chain[s], link[s] = max([(chain[s + 1], 0), *((row[n] + chain[s + n], n) for n in lengths)])

    kept: set[tuple[int, int]] = set()
    todo: list[tuple[int, int]] = []
    s = low
    while s < high:
        if link[s]:
            todo.append((s, s + link[s]))
        s += link[s] or 1
    while todo:
        s, e = todo.pop()
        if s == e:
            continue
        if (s, e) in worth:
            kept.add((s, e))
        n = split[s][e - s]
        todo.extend([(s, s + n), (s + n, e)] if n else [(s + 1, e)])
    return kept
