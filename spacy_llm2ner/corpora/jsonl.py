"""Corpus reader for JSON Lines with nested spans, `spacy_llm2ner.JsonlCorpus.v1`."""

# No `from __future__ import annotations`: spaCy's registry checks a config against the annotations
# of create_jsonl_corpus, which must be types and not strings.
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.training import Example

from ..errors import Errors
from ..log import logger
from ..tags import TagSpan, tags_to_spans
from .conll import ConllDocument, ConllSentence
from .docs import check_sizes, copy_words, make_docs

_READER = "spacy_llm2ner.JsonlCorpus.v1"
# Field of the words -> field of the spans, and the number that makes their ends exclusive.
_FIELDS = {"tokens": ("spans", 0), "tokenized_text": ("ner", 1)}


class JsonlError(ValueError):
    """Raised for a line that is none of the accepted objects."""


def create_jsonl_corpus(
    path: Path | None,
    *,
    sentences_per_doc: int = 1,
    limit: int = 0,
    spans_key: str = "sc",
    label2id: dict[str, int] | None = None,
) -> Callable[[Language], Iterable[Example]]:
    """Create a reader of a JSON Lines file, for [corpora.train] and [corpora.dev] of a config.

    Registered as `spacy_llm2ner.JsonlCorpus.v1`. The arguments are those of `JsonlCorpus`.

    path (Optional[Path]): The file.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (str): The key of `doc.spans` that receives all spans.
    label2id (Optional[Dict[str, int]]): Integer tags: tag -> number.
    RETURNS (Callable[[Language], Iterable[Example]]): The corpus.
    RAISES (ValueError): For a setting that is not accepted.
    RAISES (FileNotFoundError): If there is no such file.
    """
    return JsonlCorpus(
        path,
        sentences_per_doc=sentences_per_doc,
        limit=limit,
        spans_key=spans_key,
        label2id=label2id,
    )


class JsonlCorpus:
    """Iterate Example objects from a file with a JSON object per sentence.

        {"tokens": ["in", "New", "York"], "spans": [[1, 3, "LOC"]], "doc": "a"}   end exclusive
        {"tokens": ["in", "New", "York"], "tags": ["O", "B-LOC", "I-LOC"]}        or with numbers
        {"tokenized_text": ["in", "New", "York"], "ner": [[1, 2, "LOC"]]}         end inclusive

    Spans may overlap: all of them go to `doc.spans[spans_key]`, the longest disjoint ones to
    `doc.ents`. Consecutive lines with the same "doc" form a document. The Docs have the words of
    the file, with natural spacing.

    path (Union[str, Path, None]): The file.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n consecutive sentences of a
        document per Doc, 0 for a Doc per document. Without a field "doc", each line is a document.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (str): The key of `doc.spans` that receives all spans.
    label2id (Optional[Dict[str, int]]): Integer tags: tag -> number.
    RAISES (ValueError): For a setting that is not accepted.
    RAISES (FileNotFoundError): If there is no such file (E705).
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        sentences_per_doc: int = 1,
        limit: int = 0,
        spans_key: str = "sc",
        label2id: dict[str, int] | None = None,
    ) -> None:
        if path is None or not Path(path).is_file():
            raise FileNotFoundError(Errors.E705.format(reader=_READER, path=path))
        check_sizes(_READER, sentences_per_doc, limit)
        self.path = Path(path)
        self.sentences_per_doc = sentences_per_doc
        self.limit = limit
        self.spans_key = spans_key
        self.tags = {number: tag for tag, number in (label2id or {}).items()}
        self._documents: list[ConllDocument] | None = None

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Yield examples from the file.

        nlp (Language): The current nlp object.
        YIELDS (Example): The examples.
        RAISES (JsonlError): With file and line, if the file cannot be read.
        """
        docs = make_docs(
            self.documents,
            nlp.vocab,
            sentences_per_doc=self.sentences_per_doc,
            spans_key=self.spans_key,
        )
        for reference in islice(docs, self.limit or None):
            yield Example(copy_words(reference), reference)

    @property
    def documents(self) -> list[ConllDocument]:
        """The sentences of the file by document, read at first use; the log has a summary.

        RAISES (JsonlError): With file and line, if it cannot be read.
        """
        if self._documents is None:
            self._documents = self._read()
            sentences = [row for document in self._documents for row in document.sentences]
            labels = Counter(label for row in sentences for _, _, label in row.spans)
            logger.info(
                "%s: documents: %s, sentences: %s, tokens: %s, spans: %s (%s)",
                self.path,
                f"{len(self._documents):,}",
                f"{len(sentences):,}",
                f"{sum(len(row.words) for row in sentences):,}",
                f"{sum(labels.values()):,}",
                ", ".join(f"{label} {count:,}" for label, count in labels.most_common()),
            )
        return self._documents

    def _read(self) -> list[ConllDocument]:
        documents: list[ConllDocument] = []
        last: Any = None
        with self.path.open(encoding="utf8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                name, sentence = self._parse(line, number)
                if name is None or name != last or not documents:
                    documents.append(ConllDocument([], str(self.path), number))
                if sentence.words:
                    documents[-1].sentences.append(sentence)
                last = name
        return [document for document in documents if document.sentences]

    def _parse(self, line: str, number: int) -> tuple[Any, ConllSentence]:
        """Parse a line: the name of its document, or None, and its sentence."""
        try:
            row = json.loads(line)
            field = "tokens" if "tokens" in row else "tokenized_text"
            words = [str(word) for word in row[field]]
            spans = self._spans(row, field, len(words))
        except (ValueError, KeyError, TypeError) as error:
            raise JsonlError(
                Errors.E706.format(path=self.path, line=number, problem=error)
            ) from error
        return row.get("doc"), ConllSentence(words, [], spans, number)

    def _spans(self, row: dict[str, Any], field: str, n_words: int) -> list[TagSpan]:
        name, inclusive = _FIELDS[field]
        if name not in row:
            tags = [self.tags[t] if isinstance(t, int) else str(t) for t in row["tags"]]
            if len(tags) != n_words:
                raise ValueError(f"{n_words} words, {len(tags)} tags")
            return tags_to_spans(tags)
        spans = [(int(start), int(end) + inclusive, str(label)) for start, end, label in row[name]]
        for start, end, label in spans:
            if not 0 <= start < end <= n_words:
                raise ValueError(f"span {start}-{end} {label} in {n_words} words")
        return spans
