"""Sentences of a corpus -> spaCy Docs with natural spacing and gold entities."""

from collections.abc import Iterable, Iterator, Sequence

from spacy.tokens import Doc, Span
from spacy.util import filter_spans
from spacy.vocab import Vocab

from .conll import DOCUMENT_BORDER, ConllDocument, ConllReport, ConllSentence
from .spacing import spaces_for

SOURCE_KEY = "llm2ner_source"


def make_docs(
    documents: Iterable[ConllDocument],
    vocab: Vocab,
    *,
    sentences_per_doc: int = 1,
    spans_key: str | None = None,
) -> Iterator[Doc]:
    """Make Docs whose tokens are the words of the corpus.

    documents: the documents of a corpus.
    vocab: the vocabulary of the Docs.
    sentences_per_doc: 1 for a Doc per sentence, n for up to n neighbouring sentences of a document
        per Doc, 0 for a Doc per document. No Doc crosses a document border.
    spans_key: the key of `doc.spans` that gets all spans, which may then overlap; `doc.ents` are
        the longest disjoint ones. None: `doc.ents` only.
    YIELDS: the Docs in order, with sentence starts, `doc.ents`, all other tokens marked as outside,
        and in `doc.user_data["llm2ner_source"]` the file and the line where the Doc starts.
    RAISES: ValueError if sentences_per_doc is negative.
    """
    check_sentences_per_doc(sentences_per_doc)
    for document in documents:
        step = sentences_per_doc or max(len(document.sentences), 1)
        for start in range(0, len(document.sentences), step):
            sentences = document.sentences[start : start + step]
            yield _make_doc(sentences, vocab, document.source, spans_key)


def copy_words(reference: Doc) -> Doc:
    """A Doc to predict on: the words and spaces of another, without its annotation.

    reference: the other Doc.
    RETURNS: the new one, with the same vocabulary.
    """
    words = [token.text for token in reference]
    spaces = [bool(token.whitespace_) for token in reference]
    return Doc(reference.vocab, words=words, spaces=spaces)


def check_sentences_per_doc(sentences_per_doc: int) -> None:
    """Check the setting of that name.

    sentences_per_doc: the number of sentences per Doc.
    RAISES: ValueError if it is negative.
    """
    if sentences_per_doc < 0:
        raise ValueError(
            f"sentences_per_doc = {sentences_per_doc}: expected 1 for a Doc per sentence, n for up "
            "to n sentences per Doc, or 0 for a Doc per document"
        )


def border_warnings(report: ConllReport, sentences_per_doc: int) -> list[str]:
    """What to say of a file that is cut into Docs where it has no document borders.

    report: the report on the file.
    sentences_per_doc: the setting of that name.
    RETURNS: a message if the whole file becomes one Doc, or if unrelated sentences may be joined.
    """
    if report.document_borders or sentences_per_doc == 1 or report.sentences == 1:
        return []
    what = "the whole file is one Doc" if sentences_per_doc == 0 else "neighbours are joined"
    return [
        f"{report.source}: no {DOCUMENT_BORDER} line, so that with sentences_per_doc = "
        f"{sentences_per_doc} {what} ({report.sentences:,} sentences)"
    ]


def _make_doc(
    sentences: Sequence[ConllSentence], vocab: Vocab, source: str, spans_key: str | None
) -> Doc:
    words: list[str] = []
    spaces: list[bool] = []
    sent_starts: list[bool | int | None] = []
    entities: list[tuple[int, int, str]] = []
    for sentence in sentences:
        if spaces:
            spaces[-1] = True
        offset = len(words)
        words += sentence.words
        spaces += spaces_for(sentence.words)
        sent_starts += [i == 0 for i in range(len(sentence.words))]
        entities += [(start + offset, end + offset, label) for start, end, label in sentence.spans]
    doc = Doc(vocab, words=words, spaces=spaces, sent_starts=sent_starts)
    spans = [Span(doc, start, end, label=label) for start, end, label in entities]
    if spans_key is not None:
        doc.spans[spans_key] = spans
        spans = filter_spans(spans)
    # default: words outside an entity are known to be outside, not unannotated. The Scorer and
    # the training of `ner` pass over unannotated tokens.
    doc.set_ents(spans, default="outside")
    doc.user_data[SOURCE_KEY] = {"source": source, "line": sentences[0].line}
    return doc
