"""Cased copies of training texts: the augmenter `spacy_llm2ner.casing.v1`."""

# No `from __future__ import annotations`: spaCy's registry checks a config against the annotations
# of create_casing_augmenter, which must be types and not strings.
import copy
from collections.abc import Callable, Iterator
from zlib import crc32

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from ..settings import check_number


def create_casing_augmenter(
    lower: float = 0.2, upper: float = 0.1
) -> Callable[[Language, Example], Iterator[Example]]:
    """Create an augmenter that adds lower-cased and upper-cased copies of some texts.

    Registered as `spacy_llm2ner.casing.v1`, for `spacy.Corpus.v1` and
    `spacy_llm2ner.AugmentedCorpus.v1`. Which texts get a copy depends on the text alone, so that
    the LLM reads each copy once and its states are remembered, as all others. spaCy's own
    `spacy.lower_case.v1` draws anew in each epoch.

    lower (float): The share of texts with a copy in lower case.
    upper (float): The share of other texts with a copy in upper case.
    RETURNS (Callable[[Language, Example], Iterator[Example]]): The augmenter.
    RAISES (ValueError): If a share is not between 0 and 1, or their sum exceeds 1.

    DOCS: https://spacy.io/api/top-level#augmenters
    """
    check_number("lower", lower, least=0, most=1, of="the augmenter")
    check_number("upper", upper, least=0, most=1 - lower, of="the augmenter")

    def augment(nlp: Language, example: Example) -> Iterator[Example]:
        yield example
        place = crc32(example.reference.text.encode("utf8")) / 2**32
        if place < lower:
            yield cased(example, str.lower)
        elif place >= 1 - upper:
            yield cased(example, str.upper)

    return augment


def cased(example: Example, change: Callable[[str], str]) -> Example:
    """A copy of an example with changed words and the same annotation.

    example (Example): The example.
    change (Callable[[str], str]): Changes a word, e.g. `str.lower`.
    RETURNS (Example): The copy.
    """
    return Example(_cased(example.predicted, change), _cased(example.reference, change))


def _cased(doc: Doc, change: Callable[[str], str]) -> Doc:
    """A doc with changed words, the same tokens, sentences, entities and span groups."""
    starts: list[bool | int | None] | None
    starts = [token.is_sent_start for token in doc] if doc.has_annotation("SENT_START") else None
    twin = Doc(
        doc.vocab,
        words=[change(token.text) for token in doc],
        spaces=[bool(token.whitespace_) for token in doc],
        sent_starts=starts,
        user_data=copy.copy(doc.user_data),
    )
    unknown = [twin[token.i : token.i + 1] for token in doc if not token.ent_iob]
    twin.set_ents([_moved(ent, twin) for ent in doc.ents], missing=unknown, default="outside")
    for key, group in doc.spans.items():
        twin.spans[key] = [_moved(span, twin) for span in group]
    return twin


def _moved(span: Span, doc: Doc) -> Span:
    return Span(doc, span.start, span.end, label=span.label, kb_id=span.kb_id)
