"""Gold annotation of examples: its source, and its conversion to bands or tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from spacy.attrs import ENT_IOB
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import filter_spans

from ..doc_data import ANNOTATED_KEY, SOURCE_KEY, annotated_labels
from ..errors import Errors
from ..llm.alignment import blank_tokens, is_blank
from ..tags import TagSet

_UNKNOWN = 0  # ent_iob of a token without annotation


@dataclass(frozen=True)
class Gold:
    """The gold annotation of one example, on the tokens of its predicted doc.

    spans (List[Tuple[int, int, str]]): (start, end exclusive, label); may overlap.
    lost (int): Gold spans that do not begin and end at token edges of the predicted doc, or whose
        first or last token there is blank (see `llm.alignment.is_blank`): a head cannot find those.
    known (ndarray): bool (tokens,): the annotated tokens, inside or outside of spans.
    annotated (Optional[FrozenSet[str]]): The labels that the annotation covers: others are unknown,
        not absent. None: all labels.
    """

    spans: list[tuple[int, int, str]]
    lost: int
    known: np.ndarray
    annotated: frozenset[str] | None = None

    def covers(self, label: str) -> bool:
        """Whether a span without annotation is known not to have a label."""
        return self.annotated is None or label in self.annotated


def annotated_spans(doc: Doc, spans_key: str) -> list[Span] | None:
    """A doc's gold spans: its span group `spans_key` if it has one, else its entities.

    doc (Doc): The annotated doc.
    spans_key (str): The span group that may hold the annotation.
    RETURNS (Optional[List[Span]]): None if the doc is not annotated.
    """
    if spans_key in doc.spans:
        return list(doc.spans[spans_key])
    if doc.has_annotation("ENT_IOB"):
        return list(doc.ents)
    return None


def annotated_ents(doc: Doc, spans_key: str) -> list[Span] | None:
    """A doc's gold entities; if only a span group is annotated, its longest disjoint spans."""
    if doc.has_annotation("ENT_IOB"):
        return list(doc.ents)
    if spans_key in doc.spans:
        return filter_spans(doc.spans[spans_key])
    return None


def read_gold(example: Example, spans_key: str) -> Gold:
    """Read the gold annotation of an example, whose two docs may be tokenised differently.

    RAISES (ValueError): For a span whose label is not among those that the doc says it annotates
        (E346), and if it does not say that as a list of labels (E790).
    """
    n_tokens = len(example.predicted)
    annotated = annotated_labels(example.reference)
    spans = annotated_spans(example.reference, spans_key)
    if spans is None:
        return Gold([], 0, np.zeros(n_tokens, dtype=bool), annotated)
    _require_annotated(spans, annotated)
    aligned = example.get_aligned_spans_y2x(spans, allow_overlap=True)
    triples = [
        (span.start, span.end, span.label_)
        for span in aligned
        if not (is_blank(span[0].text) or is_blank(span[-1].text))
    ]
    return Gold(triples, len(spans) - len(triples), known_tokens(example, spans_key), annotated)


def _require_annotated(spans: Sequence[Span], annotated: frozenset[str] | None) -> None:
    """Require that a doc annotates the labels of its own spans."""
    for span in spans if annotated is not None else []:
        if span.label_ not in annotated:  # type: ignore[operator]
            raise ValueError(
                Errors.E346.format(
                    key=ANNOTATED_KEY,
                    labels=", ".join(sorted(annotated)) or "none",  # type: ignore[arg-type]
                    span=span.text,
                    label=span.label_,
                    source=span.doc.user_data.get(SOURCE_KEY, {}).get("source", "the data"),
                )
            )


def known_tokens(example: Example, spans_key: str) -> np.ndarray:
    """Find the annotated tokens of an example's predicted doc.

    RETURNS (ndarray): bool (tokens,). A span group annotates the whole doc; entities annotate the
        tokens inside or outside an entity, but not those that are unknown ("?").
    """
    n_tokens = len(example.predicted)
    if spans_key in example.reference.spans:
        return np.ones(n_tokens, dtype=bool)
    said = example.reference.to_array(ENT_IOB).astype(np.int64) != _UNKNOWN
    if said.all():
        return np.ones(n_tokens, dtype=bool)
    # A predicted token is known if all gold tokens that share characters with it are known.
    gold_of = example.alignment.x2y
    ends = np.cumsum(gold_of.lengths)
    return np.array(
        [
            bool(said[gold_of.data[end - length : end]].all())
            for length, end in zip(gold_of.lengths, ends, strict=True)
        ],
        dtype=bool,
    )


def target_band(gold: Gold, width: int, labels: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Compute the targets and weights of an example's band.

    gold (Gold): The annotation; its labels must be in `labels`.
    width (int): The band's width; longer gold spans are left out.
    labels (Mapping[str, int]): Label -> column.
    RETURNS (Tuple[ndarray, ndarray]): Targets, float32 (tokens, width, labels): 1 for gold spans.
        Weights, float32 (tokens, width, labels): 1 for spans of annotated tokens only, 0 elsewhere,
        beyond the text's end, and for labels that the annotation does not cover.
    """
    n_tokens = len(gold.known)
    targets = np.zeros((n_tokens, width, len(labels)), dtype=np.float32)
    for start, end, label in gold.spans:
        if end - start <= width:
            targets[start, end - start - 1, labels[label]] = 1.0
    # inside[i, o]: span i .. i + o is within the text and has known tokens only.
    before = np.concatenate([[0], np.cumsum(~gold.known)])
    starts = np.arange(n_tokens)[:, None]
    ends = starts + np.arange(1, width + 1)[None]
    fits = ends <= n_tokens
    inside = fits & (before[np.minimum(ends, n_tokens)] - before[starts] == 0)
    weights = np.repeat(inside[:, :, None], len(labels), axis=2).astype(np.float32)
    weights[:, :, [column for label, column in labels.items() if not gold.covers(label)]] = 0.0
    return targets, weights


def allowed_tags(gold: Gold, words: np.ndarray, tag_set: TagSet) -> np.ndarray:
    """Find the tags that the gold annotation allows for each word.

    gold (Gold): The annotation; its labels must be among those of `tag_set`.
    words (ndarray): int (words, 2): the tokens of each word, in order.
    tag_set (TagSet): The tags.
    RETURNS (ndarray): bool (words, tags): the one tag of an annotated word; all tags for a word
        with an unannotated token; for a word outside of spans also the tags of labels that the
        annotation does not cover. A gold span covers the words that it shares tokens with; spans
        that the tags cannot express (see `TagSet.write`) are left out.
    """
    # A span without any word (blank tokens) is empty here, and is left out.
    spans = [
        (
            int(np.searchsorted(words[:, 1], start, side="right")),
            int(np.searchsorted(words[:, 0], end, side="left")),
            label,
        )
        for start, end, label in gold.spans
    ]
    columns, _ = tag_set.write([s for s in spans if s[0] < s[1]], len(words))
    allowed = np.zeros((len(words), len(tag_set)), dtype=bool)
    allowed[np.arange(len(words)), columns] = True
    labels = [label for _, label in tag_set.parts]
    outside = np.array([not labels[column] for column in columns], dtype=bool)
    hidden = np.array([bool(label) and not gold.covers(str(label)) for label in labels], dtype=bool)
    allowed |= outside[:, None] & hidden[None]
    unknown_before = np.concatenate([[0], np.cumsum(~gold.known)])
    unknown = unknown_before[words[:, 1]] > unknown_before[words[:, 0]]
    allowed[unknown] = True
    return allowed


def unsayable(gold: Gold, tag_set: TagSet) -> int:
    """Count gold spans that the tags cannot express: they overlap others, or lack a tag."""
    return len(tag_set.write(gold.spans, len(gold.known))[1])


def count_unseen(examples: Sequence[Example], states: Sequence[np.ndarray], spans_key: str) -> int:
    """Count gold spans that begin or end at a token without a state: no piece touches it.

    examples (Sequence[Example]): Examples.
    states (Sequence[ndarray]): The states of their predicted docs; empty if they were not read.
    spans_key (str): The span group that may hold the annotation.
    """
    count = 0
    for example, rows in zip(examples, states, strict=False):
        seen: list[bool] = np.any(rows[:, 0], axis=1).tolist()
        # Only docs with such tokens, which are rare, need their gold annotation again.
        if not (np.asarray(seen) | blank_tokens(example.predicted)).all():
            spans = read_gold(example, spans_key).spans
            count += sum(not (seen[start] and seen[end - 1]) for start, end, _ in spans)
    return count


def labels_of(golds: Sequence[Gold]) -> list[str]:
    """The labels of gold spans, sorted."""
    return sorted({label for gold in golds for _, _, label in gold.spans})


def longest_span(golds: Sequence[Gold]) -> int:
    """The longest gold span, in tokens; 0 without spans."""
    return max((end - start for gold in golds for start, end, _ in gold.spans), default=0)
