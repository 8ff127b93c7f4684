"""What corpus readers note in `doc.user_data`: the place of a doc, and the labels it is about.

Labels that a doc's annotation does not cover are unknown there, not absent: a corpus of diseases
says nothing about persons. Where its docs name their labels, a head that learns from several
corpora takes a span without annotation as "no disease", but not as "no person".
"""

from __future__ import annotations

from collections.abc import Iterable

from spacy.tokens import Doc

from .errors import Errors

SOURCE_KEY = "llm2ner_source"
"""The key of `doc.user_data` for the file or dataset and the line that a doc comes from."""

ANNOTATED_KEY = "llm2ner_labels"
"""The key of `doc.user_data` that holds the labels, as a list of strings."""


def mark_annotated(doc: Doc, labels: Iterable[str]) -> None:
    """Declare which labels the annotation of a doc covers.

    doc (Doc): The annotated doc.
    labels (Iterable[str]): The labels, whether or not they occur in this doc.
    """
    doc.user_data[ANNOTATED_KEY] = sorted(set(labels))


def annotated_labels(doc: Doc) -> frozenset[str] | None:
    """The labels that the annotation of a doc covers.

    doc (Doc): The annotated doc.
    RETURNS (Optional[FrozenSet[str]]): None if the doc does not say, so that it covers all labels.
    RAISES (ValueError): If what the doc says is not a list of labels (E790).
    """
    labels = doc.user_data.get(ANNOTATED_KEY)
    if labels is None:
        return None
    if not isinstance(labels, list | tuple | set | frozenset) or not all(
        isinstance(label, str) for label in labels
    ):
        raise ValueError(Errors.E790.format(key=ANNOTATED_KEY, found=repr(labels)))
    return frozenset(labels)
