"""Corpus readers: files of many formats and Hugging Face datasets as spaCy Docs."""

from ..doc_data import annotated_labels, mark_annotated
from ..tags import SCHEMES, Scheme, TagSpan, spans_to_tags
from .conll import (
    ConllDocument,
    ConllError,
    ConllFile,
    ConllReport,
    ConllSentence,
    parse_conll,
    read_conll,
)
from .docs import make_docs
from .documents import CorpusError, CorpusFile, CorpusReport, Document, Sentence
from .formats import format_of
from .hf_dataset import HFDatasetCorpus, HFDatasetError, create_hf_dataset_corpus
from .joined import JoinedCorpus, create_joined_corpus
from .jsonl import JsonlCorpus, JsonlError, create_jsonl_corpus
from .reader import ConllCorpus, create_conll_corpus
from .repairs import REPAIRS, count_repairs, detect_scheme
from .spacing import spaces_for
from .text_corpus import TextCorpus, TextCorpusError, create_text_corpus
from .word_corpora import create_conllu_plus_corpus, create_webanno_corpus

__all__ = [
    "REPAIRS",
    "SCHEMES",
    "ConllCorpus",
    "ConllDocument",
    "ConllError",
    "ConllFile",
    "ConllReport",
    "ConllSentence",
    "CorpusError",
    "CorpusFile",
    "CorpusReport",
    "Document",
    "HFDatasetCorpus",
    "HFDatasetError",
    "JoinedCorpus",
    "JsonlCorpus",
    "JsonlError",
    "Scheme",
    "Sentence",
    "TagSpan",
    "TextCorpus",
    "TextCorpusError",
    "annotated_labels",
    "count_repairs",
    "create_conll_corpus",
    "create_conllu_plus_corpus",
    "create_hf_dataset_corpus",
    "create_joined_corpus",
    "create_jsonl_corpus",
    "create_text_corpus",
    "create_webanno_corpus",
    "detect_scheme",
    "format_of",
    "make_docs",
    "mark_annotated",
    "parse_conll",
    "read_conll",
    "spaces_for",
    "spans_to_tags",
]
