"""Corpus reader with an augmenter, `spacy_llm2ner.AugmentedCorpus.v1`."""

# No `from __future__ import annotations`: spaCy's registry checks a config against the annotations
# of create_augmented_corpus, which must be types and not strings.
from collections.abc import Callable, Iterable, Iterator

from spacy.language import Language
from spacy.training import Example


def create_augmented_corpus(
    corpus: Callable[[Language], Iterable[Example]],
    augmenter: Callable[[Language, Example], Iterable[Example]],
) -> Callable[[Language], Iterable[Example]]:
    """Create a reader that passes the examples of another one through an augmenter.

    Registered as `spacy_llm2ner.AugmentedCorpus.v1`. spaCy's own reader has a setting `augmenter`;
    this gives one to all others.

    corpus (Callable[[Language], Iterable[Example]]): The corpus.
    augmenter (Callable[[Language, Example], Iterable[Example]]): Any augmenter of spaCy's registry.
    RETURNS (Callable[[Language], Iterable[Example]]): The augmented corpus.

    DOCS: https://spacy.io/usage/training#data-augmentation
    """

    def read(nlp: Language) -> Iterator[Example]:
        for example in corpus(nlp):
            yield from augmenter(nlp, example)

    return read
