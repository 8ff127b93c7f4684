"""Examples from texts: annotated ones, and unlabelled ones in a few rounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..decoding.spans import decode
from ..log import logger
from ..pipeline.gold import Gold
from .evidence import Evidence, Source, StringSpans, fit_evidence
from .examples import OTHER
from .joint import SpanScores
from .span_features import Floats, Ints, Tokens, principal_axes

# Tokens from which the axes are computed.
_AXES_TOKENS = 10_000
# The most spans of no label that are kept: near mentions, and anywhere else.
_MOST_NEAR, _MOST_PLAIN = 1_000, 2_000
# How far, in tokens, a span of no label may begin before a mention that it overlaps.
_NEAR = 2
# A guess has at least this probability; so many of a label in the first round, then twice as many.
_SURE = 0.5
_FIRST_GUESSES = 10
# Log-odds below which a span of an unlabelled text is taken for one of no label.
_UNLIKELY = -1.0
# The share of equal mentions in two rounds from which a further round is of no use.
_AGREED = 0.97
MOST_ROUNDS = 4
_HALF = np.array([0.5], dtype=np.float32)

# A span: its first token, counted over all texts, its tokens minus 1, and its label.
LabelledSpans = dict[tuple[int, int], str]
Text = tuple[Floats, Floats, NDArray[np.bool_]]


def reduced(texts: Iterable[Text], axes: Floats | None = None) -> tuple[Tokens, Floats]:
    """Reduce the vectors of texts' tokens to a few axes.

    texts (Iterable[Tuple]): For each text vectors, mention logits, and which spans exist.
    axes (Optional[ndarray]): The axes; None: those in which the first tokens differ most.
    RETURNS (Tuple[Tokens, ndarray]): The tokens, and the axes.
    """
    done: list[Text] = []
    waiting: list[Text] = []
    held = 0
    for text in texts:
        if axes is None:
            waiting.append(text)
            held += len(text[0])
            if held >= _AXES_TOKENS:
                axes = principal_axes(np.concatenate([vectors for vectors, _, _ in waiting]))
                done, waiting = [(v @ axes, m, e) for v, m, e in waiting], []
        else:
            done.append((text[0] @ axes, *text[1:]))
    if axes is None:
        axes = principal_axes(np.concatenate([vectors for vectors, _, _ in waiting]))
        done = [(v @ axes, m, e) for v, m, e in waiting]
    return Tokens.of_texts(done), axes


@dataclass
class Labelled:
    """What is known of the texts whose tokens were read.

    annotated (Dict): Annotated spans.
    named (Dict): Names found in unlabelled texts.
    known (ndarray): bool (tokens,): annotated tokens.
    free (ndarray): bool (tokens,): tokens of texts without any annotation. In a text that is
        annotated in part, the other tokens say nothing.
    too_long (int): Annotated spans that are longer than the scorer sees.
    """

    annotated: LabelledSpans
    named: LabelledSpans
    known: NDArray[np.bool_]
    free: NDArray[np.bool_]
    too_long: int = 0


def place(
    tokens: Tokens, golds: Sequence[Gold], names: Sequence[Sequence[tuple[int, int, str]]]
) -> Labelled:
    """Find the annotated spans, and the names, in the row of all tokens.

    tokens (Tokens): The tokens of all texts.
    golds (Sequence[Gold]): The annotation of each text.
    names (Sequence[Sequence[Tuple[int, int, str]]]): Names found in each text: start, end, label.
    """
    known = np.concatenate([gold.known for gold in golds])
    free = np.concatenate([np.full(len(gold.known), not gold.known.any()) for gold in golds])
    found = Labelled({}, {}, known, free)
    for start, gold, named in zip(tokens.starts.tolist(), golds, names, strict=False):
        for spans, into in ((gold.spans, found.annotated), (named, found.named)):
            for first, end, label in spans:
                span = (start + first, end - first - 1)
                if span[1] >= tokens.width:
                    found.too_long += into is found.annotated
                elif tokens.exists[span]:
                    into[span] = label
    return found


@dataclass
class Learnt:
    """The result of learning from texts.

    evidence (Evidence): The examples.
    rounds (int): Rounds on unlabelled texts that were made.
    agreement (float): The share of equal mentions in the last two rounds; 1 without a round.
    found (int): Mentions in the unlabelled texts, in the last round.
    """

    evidence: Evidence
    rounds: int = 0
    agreement: float = 1.0
    found: int = 0


def learn_texts(
    labels: Sequence[str],
    tokens: Tokens,
    axes: Floats,
    known: Labelled,
    strings: StringSpans,
    *,
    earlier: Evidence | None = None,
    rounds: int = MOST_ROUNDS,
    progress: bool = False,
) -> Learnt:
    """Collect examples from annotated and unlabelled texts.

    All spans of annotated tokens that are no mentions are examples of none. In unlabelled texts,
    mentions are names that the user gave; in rounds, the surest guesses of the scorer that was
    fitted to all examples so far join them. Examples of none are drawn from spans that the
    scorer finds unlikely. The rounds end when they agree.

    labels (Sequence[str]): The labels.
    tokens (Tokens): The tokens of all texts, reduced to `axes`.
    axes (ndarray): The axes.
    known (Labelled): Annotation and names.
    strings (StringSpans): Names and words in carrier sentences.
    earlier (Optional[Evidence]): Examples of annotated texts that are kept, with the same axes.
    rounds (int): The most rounds on unlabelled texts.
    progress (bool): Whether to show a progress bar.
    RETURNS (Learnt): The examples, and how the rounds went.
    """
    base = Evidence(axes) if earlier is None else earlier.copy()
    _add_spans(base, tokens, known.annotated, "annotated")
    _add_found(base, tokens, known)
    _add_none(base, tokens, known.annotated, known.known, tokens.exists)
    free = known.free
    if not free.any():
        return Learnt(base)
    # Without a scorer, what the mention head finds is no example of none.
    evidence = _with_guesses(base, tokens, known, {}, free, tokens.mention < 0)
    learnt = Learnt(evidence)
    before: LabelledSpans | None = None
    with tqdm(total=rounds, desc="rounds", disable=not progress, leave=False) as bar:
        for number in range(rounds):
            scorer = fit_evidence(labels, learnt.evidence, strings)
            scores = scorer.score(tokens.vectors, tokens.mention, tokens.exists & free[:, None])
            mentions = _mentions(tokens, labels, scores)
            learnt.found = len(mentions)
            if before is not None:
                learnt.agreement = _agreement(before, mentions)
                logger.debug("round %d: %.3f of the mentions agree", number, learnt.agreement)
                if learnt.agreement >= _AGREED:
                    break
            guesses = _surest(mentions, scores, _FIRST_GUESSES * 2**number)
            unlikely = scores.any_label < _UNLIKELY
            learnt.evidence = _with_guesses(base, tokens, known, guesses, free, unlikely)
            learnt.rounds = number + 1
            before = mentions
            bar.update()
    return learnt


def _with_guesses(
    base: Evidence,
    tokens: Tokens,
    known: Labelled,
    guesses: LabelledSpans,
    free: NDArray[np.bool_],
    unlikely: NDArray[np.bool_],
) -> Evidence:
    evidence = base.copy()
    _add_spans(evidence, tokens, known.named, "name")
    guesses = {span: label for span, label in guesses.items() if span not in known.named}
    _add_spans(evidence, tokens, guesses, "guess")
    _add_none(evidence, tokens, {**known.named, **guesses}, free, unlikely)
    return evidence


def _add_spans(evidence: Evidence, tokens: Tokens, spans: LabelledSpans, source: Source) -> None:
    if spans:
        firsts, extras = np.array(list(spans)).T
        evidence.add(tokens.spans(firsts, extras), list(spans.values()), source)


def _add_found(evidence: Evidence, tokens: Tokens, known: Labelled) -> None:
    """Add what the mention head finds in annotated texts where nothing is annotated."""
    free = known.known.copy()
    for first, extra in known.annotated:
        free[first : first + extra + 1] = False
    inside = _inside(tokens, free)
    scores = np.where(inside, tokens.mention, -1.0).astype(np.float32)
    found: LabelledSpans = {}
    for start, end in zip(tokens.starts[:-1].tolist(), tokens.starts[1:].tolist(), strict=True):
        spans = decode(scores[start:end, :, None], _HALF, "flat")
        for first, stop in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True):
            found[start + first, stop - first - 1] = OTHER
    _add_spans(evidence, tokens, found, "mention")


def _add_none(
    evidence: Evidence,
    tokens: Tokens,
    mentions: LabelledSpans,
    within: NDArray[np.bool_],
    plain: NDArray[np.bool_],
) -> None:
    """Add spans of no label: those that overlap mentions, and any others.

    within (ndarray): bool (tokens,): tokens that may be in such spans.
    plain (ndarray): bool (tokens, width): spans that may be drawn where no mention is near.
    """
    inside = _inside(tokens, within)
    near = _near(tokens, mentions) & inside
    plain = plain & inside & ~near
    for span in mentions:
        plain[span] = False
    rng = np.random.default_rng(0)
    chosen = [_draw(rng, near, _MOST_NEAR), _draw(rng, plain, _MOST_PLAIN)]
    firsts, extras = (np.concatenate(part) for part in zip(*chosen, strict=True))
    if len(firsts):
        evidence.add(tokens.spans(firsts, extras), [OTHER] * len(firsts), "plain")


def _draw(rng: np.random.Generator, spans: NDArray[np.bool_], most: int) -> tuple[Ints, Ints]:
    firsts, extras = np.nonzero(spans)
    order = np.sort(rng.permutation(len(firsts))[:most])
    return firsts[order], extras[order]


def _inside(tokens: Tokens, within: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which spans exist and have tokens of `within` only."""
    spans = tokens.exists.copy()
    outside = np.concatenate([[0], np.cumsum(~within)])
    for extra in range(tokens.width):
        ends = np.minimum(np.arange(len(tokens)) + extra + 1, len(tokens))
        spans[:, extra] &= outside[ends] == outside[: len(tokens)]
    return spans


def _near(tokens: Tokens, mentions: LabelledSpans) -> NDArray[np.bool_]:
    """Which spans overlap a mention, begin not long before it, and are none themselves."""
    near = np.zeros(tokens.exists.shape, dtype=bool)
    for first, extra in mentions:
        for start in range(max(0, first - _NEAR), first + extra + 1):
            near[start, max(0, first - start) :] = True
    for span in mentions:
        near[span] = False
    return near & tokens.exists


def _mentions(tokens: Tokens, labels: Sequence[str], scores: SpanScores) -> LabelledSpans:
    """The disjoint mentions that a scorer finds."""
    found: LabelledSpans = {}
    for start, end in zip(tokens.starts[:-1].tolist(), tokens.starts[1:].tolist(), strict=True):
        spans = decode(scores.any_label[start:end, :, None], _HALF, "flat")
        for first, stop in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True):
            span = (start + first, stop - first - 1)
            found[span] = labels[scores.best[span]]
    return found


def _surest(mentions: LabelledSpans, scores: SpanScores, most: int) -> LabelledSpans:
    """The most probable mentions of each label."""
    taken: dict[str, int] = {}
    surest: LabelledSpans = {}
    for span, label in sorted(mentions.items(), key=lambda item: (-scores.score[item[0]], item[0])):
        if scores.score[span] >= _SURE and taken.get(label, 0) < most:
            taken[label] = taken.get(label, 0) + 1
            surest[span] = label
    return surest


def _agreement(one: LabelledSpans, other: LabelledSpans) -> float:
    """The share of mentions that two rounds have in common (F1)."""
    same = sum(other.get(span) == label for span, label in one.items())
    return 2 * same / max(1, len(one) + len(other))
