"""Corpus reader that joins corpora with different labels, `spacy_llm2ner.JoinedCorpus.v1`."""

# No `from __future__ import annotations`: spaCy's registry checks a config against the annotations
# of create_joined_corpus, which must be types and not strings.
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from spacy.language import Language
from spacy.training import Example

from ..doc_data import mark_annotated
from ..errors import Errors

_Reader = Callable[[Language], Iterable[Example]]


def create_joined_corpus(
    corpora: dict[str, Any],  # not callables: the registry checks the blocks before they are read
    *,
    annotated: dict[str, list[str]] | None = None,
) -> Callable[[Language], Iterable[Example]]:
    """Create a reader that joins several corpora, for [corpora.train] and [corpora.dev].

    Registered as `spacy_llm2ner.JoinedCorpus.v1`. The arguments are those of `JoinedCorpus`.

    corpora (Dict[str, Callable]): The reader of each corpus, by name.
    annotated (Optional[Dict[str, List[str]]]): The labels that a corpus annotates, by its name.
    RETURNS (Callable[[Language], Iterable[Example]]): The corpus.
    RAISES (ValueError): For a setting that is not accepted.
    """
    return JoinedCorpus(corpora, annotated=annotated)


class JoinedCorpus:
    """Iterate Example objects from several corpora, one after the other.

    Corpora with different sets of labels may be joined: a label that a corpus does not annotate is
    unknown there, not absent. Training leaves out such a label in the texts of that corpus, and so
    does the scorer of our components.

    corpora (Dict[str, Callable]): The reader of each corpus, by name: any reader, also spaCy's.
    annotated (Optional[Dict[str, List[str]]]): The labels that a corpus annotates, by its name. A
        corpus that is not named annotates all labels, or what its docs say themselves, in
        `doc.user_data["llm2ner_labels"]`.
    RAISES (ValueError): If there is no corpus, or what is none (E792), for an unknown name in
        `annotated` (E791), and for what is not a list of labels (E793).
    """

    def __init__(
        self,
        corpora: Mapping[str, _Reader],
        *,
        annotated: Mapping[str, list[str]] | None = None,
    ) -> None:
        if not corpora or not all(map(callable, corpora.values())):
            raise ValueError(Errors.E792.format(corpora=corpora))
        self.corpora = dict(corpora)
        self.annotated = dict(annotated or {})
        for name, labels in self.annotated.items():
            if name not in self.corpora:
                names = ", ".join(self.corpora)
                raise ValueError(Errors.E791.format(unknown=name, corpora=names))
            if not _are_labels(labels):
                raise ValueError(Errors.E793.format(name=name, labels=repr(labels)))

    def __call__(self, nlp: Language) -> Iterator[Example]:
        """Yield the examples of all corpora.

        nlp (Language): The current nlp object.
        YIELDS (Example): The examples, with their labels marked in the reference doc.
        """
        for name, corpus in self.corpora.items():
            labels = self.annotated.get(name)
            for example in corpus(nlp):
                if labels is not None:
                    mark_annotated(example.reference, labels)
                yield example


def _are_labels(labels: Any) -> bool:
    return isinstance(labels, list | tuple) and all(isinstance(label, str) for label in labels)
