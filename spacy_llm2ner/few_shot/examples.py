"""Examples of few-shot recognition: annotated mentions, names and words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model

from ..decoding.spans import Spans
from ..pipeline.gold import Gold
from .label_words import MANY_NAMES, MANY_WORDS, NAME_CARRIERS, WORD_CARRIERS, carried
from .prototypes import LabelScorer, fit_cosine, fit_logistic

# The class of mentions with none of the labels. No label is empty.
OTHER = ""
# Attributes of the model, which are stored with the weights.
_VECTORS, _CLASSES, _SCORER = "few_shot_vectors", "few_shot_classes", "few_shot_scorer"

Strings = Mapping[str, Sequence[str]]
# Vectors (n, width) and their classes.
Classified = tuple[np.ndarray, list[str]]
GiveVectors = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass
class Annotated:
    """Mentions of annotated texts.

    vectors (ndarray): float16 (mentions, width).
    classes (List[str]): Their labels; `OTHER` for predicted mentions without a label.
    n_gold (int): Annotated spans.
    n_found (int): Annotated spans that the mention head finds.
    n_other (int): Predicted mentions that overlap no annotated span.
    lost (int): Annotated spans that cannot be learnt.
    """

    vectors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float16))
    classes: list[str] = field(default_factory=list)
    n_gold: int = 0
    n_found: int = 0
    n_other: int = 0
    lost: int = 0

    def add(self, gold: Gold, states: np.ndarray, found: Spans, give: GiveVectors) -> None:
        """Add the mentions of one text.

        gold (Gold): Its annotation.
        states (ndarray): Its states (tokens, layers, width).
        found (Spans): The mentions predicted there. Those that overlap no annotated span, and whose
            tokens are all annotated, are examples of no label.
        give (Callable): Function (states, ends) -> vectors.
        """
        seen = np.any(states, axis=(1, 2)).tolist()
        spans = [(end, label) for _, end, label in gold.spans if seen[end - 1]]
        taken = ~gold.known
        for start, end, _ in gold.spans:
            taken[start:end] = True
        pairs = list(zip(found.starts.tolist(), found.ends.tolist(), strict=True))
        others = [(end, OTHER) for start, end in pairs if not taken[start:end].any()]
        self.n_gold += len(gold.spans) + gold.lost
        self.n_found += len({(start, end) for start, end, _ in gold.spans} & {*pairs})
        self.n_other += len(others)
        self.lost += gold.lost + len(gold.spans) - len(spans)
        if spans or others:
            ends = np.array([end for end, _ in (*spans, *others)])
            rows = give(states, ends).astype(np.float16)
            self.vectors = np.concatenate([self.vectors, rows]) if self.classes else rows
            self.classes += [label for _, label in (*spans, *others)]

    def only(self, labels: Sequence[str]) -> Annotated:
        """Select the examples of these labels, and of no label."""
        kept = [i for i, label in enumerate(self.classes) if label == OTHER or label in labels]
        return Annotated(self.vectors[kept], [self.classes[i] for i in kept])

    def store(self, model: Model) -> None:
        """Store the examples in a model; replaces earlier ones and discards its fitted scorer."""
        model.attrs[_VECTORS], model.attrs[_CLASSES] = self.vectors, self.classes
        model.attrs[_SCORER] = {}

    @classmethod
    def of_model(cls, model: Model) -> Annotated:
        """Load the examples that are stored in a model."""
        if _CLASSES not in model.attrs:
            return cls()
        return cls(np.asarray(model.attrs[_VECTORS]), list(model.attrs[_CLASSES]))


def carry(
    vocab: Vocab, strings: Strings, carriers: Sequence[str]
) -> tuple[list[Doc], list[int], list[str]]:
    """Put each string in each carrier sentence.

    vocab (Vocab): The vocabulary of the Docs.
    strings (Mapping[str, Sequence[str]]): Class -> names or words.
    carriers (Sequence[str]): Sentences with a placeholder {}.
    RETURNS (Tuple[List[Doc], List[int], List[str]]): Docs, the token index of each string, classes.
    """
    docs, places, classes = [], [], []
    for label, given in strings.items():
        for string in given:
            for doc, place in carried(vocab, string, carriers):
                docs.append(doc)
                places.append(place)
                classes.append(label)
    return docs, places, classes


def fit_labels(
    labels: Sequence[str],
    annotated: Annotated,
    names: Strings,
    words: Strings,
    read: Callable[[Strings, Sequence[str]], Classified],
    *,
    balance: bool,
) -> LabelScorer:
    """Fit a scorer of labels to annotated mentions, names and words.

    The vectors of words are shifted by the mean offset between names and common nouns. If there are
    words only, prototypes are compared by cosine; else a logistic regression is fitted.

    labels (Sequence[str]): The labels: classes 0, 1, ... of the result. `OTHER` is the last class,
        if it has examples.
    annotated (Annotated): Mentions of annotated texts.
    names, words (Mapping[str, Sequence[str]]): Strings by label; names may include `OTHER`. Each
        label has an example of some kind.
    read (Callable): Function (strings, carriers) -> vectors and classes.
    balance (bool): Whether labels count alike, if there are no annotated mentions: their numbers
        say how frequent labels are, the numbers of names and words do not.
    RETURNS (LabelScorer): The fitted scorer.
    """
    name_x, name_y = read(names, NAME_CARRIERS)
    word_x, word_y = read(words, WORD_CARRIERS)
    centre = np.zeros(0, dtype=np.float32)
    if word_y:
        centre = read({OTHER: MANY_NAMES}, NAME_CARRIERS)[0].mean(axis=0)
        word_x = word_x + centre - read({OTHER: MANY_WORDS}, WORD_CARRIERS)[0].mean(axis=0)
    classes = [*annotated.classes, *name_y, *word_y]
    vectors = np.concatenate([x for x in (annotated.vectors, name_x, word_x) if len(x)])
    order = [*labels, *([OTHER] if OTHER in classes else [])]
    ids = np.array([order.index(label) for label in classes])
    if len(word_y) == len(classes):
        return fit_cosine(vectors, ids, len(order), centre)
    return fit_logistic(vectors, ids, len(order), balanced=balance and not annotated.classes)


def keep_scorer(model: Model, scorer: LabelScorer, made_from: str) -> None:
    """Store a scorer in a model, with the settings that it was fitted with."""
    model.attrs[_SCORER] = {**vars(scorer), "made_from": made_from}


def kept_scorer(model: Model, made_from: str) -> LabelScorer | None:
    """Load the stored scorer of a model; None if it was fitted with other settings."""
    kept = dict(model.attrs.get(_SCORER) or {})
    return LabelScorer(**kept) if kept.pop("made_from", None) == made_from else None


def count_line(annotated: Annotated, names: Strings, words: Strings) -> str:
    """Format the number of examples of each label, by kind, for the log."""
    parts = []
    for label in names:
        numbers = {
            "annotated": annotated.classes.count(label),
            "names": len(names[label]),
            "words": len(words.get(label, ())),
        }
        said = ", ".join(f"{n} {kind}" for kind, n in numbers.items() if n)
        parts += [f"{label or 'none of these'}: {said}"] if said else []
    return "examples of " + "; ".join(parts)
