"""Convert the sentences of a corpus to spaCy Docs with natural spacing and gold entities."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from spacy.tokens import Doc, Span
from spacy.util import filter_spans
from spacy.vocab import Vocab

from ..doc_data import SOURCE_KEY
from ..errors import Errors, Warnings
from .documents import CorpusReport, Document, DocumentStart, Sentence
from .spacing import has_space, spaces_for


def make_docs(
    documents: Iterable[Document],
    vocab: Vocab,
    *,
    sentences_per_doc: int = 1,
    spans_key: str | None = None,
) -> Iterator[Doc]:
    """Make Docs whose tokens are the words of the corpus.

    documents (Iterable[Document]): The documents of a corpus.
    vocab (Vocab): The vocabulary of the Docs.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n consecutive sentences of a
        document per Doc, 0 for a Doc per document. No Doc crosses a document boundary.
    spans_key (Optional[str]): The key of `doc.spans` that receives all spans, which may then
        overlap; `doc.ents` receives the longest disjoint ones. None: `doc.ents` only.
    YIELDS (Doc): The Docs in order, with sentence starts and `doc.ents`. All other tokens are
        marked as outside; `doc.user_data["llm2ner_source"]` has the file and the first line.
    RAISES (ValueError): If `sentences_per_doc` is negative (E700).
    """
    check_sizes("make_docs", sentences_per_doc, 0)
    for document in documents:
        step = sentences_per_doc or max(len(document.sentences), 1)
        for start in range(0, len(document.sentences), step):
            sentences = document.sentences[start : start + step]
            yield _make_doc(sentences, vocab, document.source, spans_key)


@dataclass(frozen=True)
class StreamedDoc:
    """A Doc of a stream.

    doc (Doc): The Doc.
    document (int): The number of its document, from 0.
    starts (bool): Whether it begins a document that the source marks.
    """

    doc: Doc
    document: int
    starts: bool


def stream_docs(
    items: Iterable[Sentence | DocumentStart],
    vocab: Vocab | Callable[[], Vocab],
    *,
    source: str,
    sentences_per_doc: int = 1,
    spans_key: str | None = None,
) -> Iterator[StreamedDoc]:
    """Make Docs of a stream of sentences, one after the other.

    items (Iterable[Union[Sentence, DocumentStart]]): The stream.
    vocab (Union[Vocab, Callable[[], Vocab]]): The vocabulary of the Docs, or what returns that of
        the next one.
    source (str): The file or dataset.
    sentences_per_doc, spans_key: As for `make_docs`.
    YIELDS (StreamedDoc): The Docs.
    RAISES (ValueError): If `sentences_per_doc` is negative (E700).
    """
    check_sizes("stream_docs", sentences_per_doc, 0)
    of_next = (lambda: vocab) if isinstance(vocab, Vocab) else vocab
    number, starts, waiting = -1, False, list[Sentence]()
    for item in items:
        full = len(waiting) == sentences_per_doc > 0
        if waiting and (full or isinstance(item, DocumentStart)):
            yield StreamedDoc(_make_doc(waiting, of_next(), source, spans_key), number, starts)
            waiting, starts = [], False
        if isinstance(item, DocumentStart):
            number, starts = number + 1, item.named
        else:
            waiting.append(item)
    if waiting:
        yield StreamedDoc(_make_doc(waiting, of_next(), source, spans_key), number, starts)


def copy_words(reference: Doc) -> Doc:
    """Make a Doc to predict on, with the words and spaces of another but not its annotation.

    reference (Doc): The annotated Doc.
    RETURNS (Doc): The new one, with the same vocabulary.
    """
    words = [token.text for token in reference]
    spaces = [bool(token.whitespace_) for token in reference]
    return Doc(reference.vocab, words=words, spaces=spaces)


def check_sizes(reader: str, sentences_per_doc: int, limit: int) -> None:
    """Check the settings of a reader that are numbers.

    reader (str): The reader's registered name.
    sentences_per_doc (int): The number of sentences per Doc.
    limit (int): The number of Docs to read.
    RAISES (ValueError): If either is negative (E700, E707).
    """
    if sentences_per_doc < 0:
        raise ValueError(Errors.E700.format(reader=reader, value=sentences_per_doc))
    if limit < 0:
        raise ValueError(Errors.E707.format(reader=reader, limit=limit))


def border_warnings(report: CorpusReport, sentences_per_doc: int) -> list[str]:
    """Warn of a file that is one document, whose sentences are joined into Docs.

    report (CorpusReport): The report on the file.
    sentences_per_doc (int): The setting of that name.
    RETURNS (List[str]): One message if the whole file becomes one Doc, or if unrelated sentences
        may share a Doc; else none.
    """
    if report.documents > 1 or sentences_per_doc == 1 or report.sentences == 1:
        return []
    why = "there is no" if not report.document_borders else "there is a single"
    return [
        Warnings.W50.format(
            source=report.source,
            why=f"{why} {report.border}",
            value=sentences_per_doc,
            what="the whole file is one Doc" if sentences_per_doc == 0 else "neighbours are joined",
            sentences=f"{report.sentences:,}",
        )
    ]


def _make_doc(
    sentences: Sequence[Sentence], vocab: Vocab, source: str, spans_key: str | None
) -> Doc:
    words: list[str] = []
    spaces: list[bool] = []
    sent_starts: list[bool | int | None] = []
    entities: list[tuple[int, int, str]] = []
    for sentence in sentences:
        if spaces and sentence.words:
            spaces[-1] = has_space(words[-1], sentence.words[0])
        offset = len(words)
        words += sentence.words
        spaces += spaces_for(sentence.words) if sentence.spaces is None else sentence.spaces
        if sentence.is_sentence:
            sent_starts += [i == 0 for i in range(len(sentence.words))]
        else:
            sent_starts += [None] * len(sentence.words)
        entities += [(start + offset, end + offset, label) for start, end, label in sentence.spans]
    known = any(start is not None for start in sent_starts)
    doc = Doc(vocab, words=words, spaces=spaces, sent_starts=sent_starts if known else None)
    spans = [Span(doc, start, end, label=label) for start, end, label in entities]
    if spans_key is not None:
        doc.spans[spans_key] = spans
        spans = filter_spans(spans)
    # The other words are known to be outside of entities, not unannotated: the Scorer and the
    # training of `ner` ignore unannotated tokens.
    doc.set_ents(spans, default="outside")
    doc.user_data[SOURCE_KEY] = {"source": source, "line": sentences[0].line}
    return doc
