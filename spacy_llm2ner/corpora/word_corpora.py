"""Corpus readers for CoNLL-U Plus and for WebAnno TSV 3."""

# No `from __future__ import annotations`: spaCy's registry checks a config against the annotations
# of the functions, which must be types and not strings.
from collections.abc import Callable, Iterable
from pathlib import Path

from spacy.language import Language
from spacy.training import Example

from .conllu_plus import CONLLU_READER, ConlluPlusStream
from .sentence_corpus import SentenceCorpus, existing
from .token_spans import check_fix
from .webanno import WEBANNO_READER, WebAnnoStream


def create_conllu_plus_corpus(
    path: Path | None,
    *,
    tags_column: str | None = None,
    sentences_per_doc: int = 1,
    limit: int = 0,
    spans_key: str | None = None,
    scheme: str | None = None,
    labels: str | list[str] | dict[str, int] | dict[str, str] | None = None,
) -> Callable[[Language], Iterable[Example]]:
    """Create a reader of a CoNLL-U Plus or CoNLL-U file, for [corpora.train] and [corpora.dev].

    Registered as `spacy_llm2ner.ConlluPlusCorpus.v1`.

    path (Optional[Path]): The file.
    tags_column (Optional[str]): The column of the entity tags, by its name in the first line, or a
        key of MISC; by default one of the usual names (NER, NE, ENTITY, also after a namespace).
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document (the
        sentences between two "# newdoc" lines).
    limit (int): The number of Docs to read; 0 for all.
    spans_key (Optional[str]): A key of `doc.spans` that receives the entities too.
    scheme (Optional[str]): The scheme of the tags; "plain" if each tag is a label.
    labels (Optional[Labels]): What tags stand for.
    RETURNS (Callable[[Language], Iterable[Example]]): The corpus.
    RAISES (ValueError): For a setting that is not accepted.
    RAISES (FileNotFoundError): If there is no such file.
    """
    path = existing(path, CONLLU_READER)
    stream = ConlluPlusStream(path, tags_column=tags_column, scheme=scheme, labels=labels)
    return SentenceCorpus(
        stream,
        reader=CONLLU_READER,
        sentences_per_doc=sentences_per_doc,
        limit=limit,
        spans_key=spans_key,
    )


def create_webanno_corpus(
    path: Path | None,
    *,
    layer: str | None = None,
    fix: str = "drop",
    strict: bool = False,
    sentences_per_doc: int = 1,
    limit: int = 0,
    spans_key: str = "sc",
) -> Callable[[Language], Iterable[Example]]:
    """Create a reader of WebAnno TSV 3, for [corpora.train] and [corpora.dev].

    Registered as `spacy_llm2ner.WebAnnoCorpus.v1`.

    path (Optional[Path]): The file, or a folder of .tsv files, each a document.
    layer (Optional[str]): The layer, by its name or the last part of it; with "|" and a feature, if
        it has several. By default named entities or, without such a layer, the only one.
    fix (str): What becomes of spans of parts of tokens: "drop", "contract" or "expand".
    strict (bool): Whether faults of the annotation are an error.
    sentences_per_doc (int): 1 for a Doc per sentence, n for up to n, 0 for a Doc per document.
    limit (int): The number of Docs to read; 0 for all.
    spans_key (str): The key of `doc.spans` that receives all spans.
    RETURNS (Callable[[Language], Iterable[Example]]): The corpus.
    RAISES (ValueError): For a setting that is not accepted.
    RAISES (FileNotFoundError): If there is no such file.
    """
    check_fix(WEBANNO_READER, fix)
    stream = WebAnnoStream(existing(path, WEBANNO_READER), layer=layer, fix=fix)
    return SentenceCorpus(
        stream,
        reader=WEBANNO_READER,
        sentences_per_doc=sentences_per_doc,
        limit=limit,
        spans_key=spans_key,
        strict=strict,
    )
