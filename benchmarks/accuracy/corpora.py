"""Corpora: files, readers and config settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.training import Example

from spacy_llm2ner.corpora import ConllCorpus, JsonlCorpus

READERS = {"Conll": ConllCorpus, "Jsonl": JsonlCorpus}


@dataclass(frozen=True)
class Corpus:
    """A corpus and the settings for reading it.

    reader (str): "Conll" or "Jsonl".
    files (str): Its files, with {} for train, dev and test.
    states (str): Name of the store of states; corpora with the same texts share one.
    sentences_per_doc (int): 1: single sentences; 0: whole documents; n: up to n sentences.
    nested (bool): Whether spans may nest.
    max_span_tokens (int): Longest span that spancat considers; covers (almost) all gold spans.
    values (Dict): Other settings of the config, section -> setting -> value.
    """

    reader: str
    files: str
    states: str
    sentences_per_doc: int = 1
    nested: bool = False
    max_span_tokens: int = 10
    values: dict[str, dict[str, Any]] = field(default_factory=dict)

    def path(self, data: Path, split: str) -> Path:
        """The file of a split."""
        return data / self.files.format(split)

    def corpus_block(self, split: str, limit: int = 0) -> dict[str, Any]:
        """The section [corpora.SPLIT] of a config."""
        return {
            "@readers": f"spacy_llm2ner.{self.reader}Corpus.v1",
            "path": f"${{paths.{split}}}",
            "sentences_per_doc": self.sentences_per_doc,
            "limit": limit,
        }


_LLM = "components.llm2ner.model.llm"
# All but a few documents of CoNLL-2003 fit in one window of 1,024 pieces.
_WHOLE = {_LLM: {"window": 1024}}
_NESTED = {
    "components.llm2ner": {"annotate": "spans", "decoding": "all"},
    "training.score_weights": {"ents_f": 0.0, "spans_sc_f": 1.0},
}

CORPORA = {
    "conll2003": Corpus("Conll", "conll2003/{}.txt", "conll2003"),
    "conll2003-documents": Corpus(
        "Conll", "conll2003/{}.txt", "conll2003", sentences_per_doc=0, values=_WHOLE
    ),
    "wnut17": Corpus("Conll", "wnut17/{}.conll", "wnut17"),
    "litbank": Corpus(
        "Jsonl",
        "litbank/{}.jsonl",
        "litbank",
        sentences_per_doc=10,
        nested=True,
        max_span_tokens=16,
        values=_NESTED,
    ),
}


def examples_of(corpus: Corpus, data: Path, split: str, nlp: Language) -> list[Example]:
    """The examples of a split."""
    reader = READERS[corpus.reader]
    return list(reader(corpus.path(data, split), sentences_per_doc=corpus.sentences_per_doc)(nlp))
