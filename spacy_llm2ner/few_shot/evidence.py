"""Examples of version 2: spans of texts and of carrier sentences, and the scorer fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from thinc.api import Model

from .examples import OTHER
from .joint import JointScorer, fit_joint
from .span_features import Floats

# Attributes of the model, which are stored with the weights.
_EVIDENCE, _SCORER = "few_shot_evidence", "few_shot_joint"

# Where an example comes from: an annotated span, a name found in an unlabelled text, a guess there;
# for examples of no label, a mention of the mention head that is not annotated, or any other span.
Source = Literal["annotated", "name", "guess", "mention", "plain"]

# The weight of all strings of a label together, in annotated mentions.
STRINGS_SHARE = 10.0
# The weight of all examples of no label together, as a multiple of that of all labels.
NONE_SHARE = 1.0


@dataclass
class Evidence:
    """Examples from texts, in the reduced space of tokens' vectors.

    axes (ndarray): The axes of that space, float32 (width, size).
    vectors (ndarray): Vectors of spans, float16 (n, ROLES * size + 1).
    classes (List[str]): Their labels; `OTHER` for none.
    sources (List[str]): Where they come from, see `Source`.
    """

    axes: Floats = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    vectors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float16))
    classes: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def add(self, vectors: Floats, classes: Sequence[str], source: Source) -> None:
        """Add examples.

        vectors (ndarray): Vectors of spans.
        classes (Sequence[str]): Their labels.
        source (Source): Where they come from.
        """
        if len(classes):
            rows = vectors.astype(np.float16)
            self.vectors = np.concatenate([self.vectors, rows]) if self.classes else rows
            self.classes += classes
            self.sources += [source] * len(classes)

    def only(self, labels: Sequence[str]) -> Evidence:
        """Select the examples of these labels, and of none."""
        kept = [i for i, label in enumerate(self.classes) if label == OTHER or label in labels]
        return Evidence(
            self.axes,
            self.vectors[kept],
            [self.classes[i] for i in kept],
            [self.sources[i] for i in kept],
        )

    def copy(self) -> Evidence:
        """The same examples; adding to the copy leaves these alone."""
        return Evidence(self.axes, self.vectors, list(self.classes), list(self.sources))

    def of_annotated_texts(self) -> Evidence | None:
        """Select the examples of annotated texts; None if there are none.

        Spans of unlabelled texts that have no label stay too: they are not told apart.
        """
        if "annotated" not in self.sources:
            return None
        kept = [i for i, source in enumerate(self.sources) if source not in ("name", "guess")]
        return Evidence(
            self.axes,
            self.vectors[kept],
            [self.classes[i] for i in kept],
            [self.sources[i] for i in kept],
        )

    def store(self, model: Model) -> None:
        """Store the examples in a model; replaces earlier ones and discards its fitted scorer."""
        model.attrs[_EVIDENCE] = {**vars(self), "axes": self.axes.astype(np.float16)}
        model.attrs[_SCORER] = {}

    @classmethod
    def of_model(cls, model: Model) -> Evidence:
        """Load the examples that are stored in a model."""
        kept = dict(model.attrs.get(_EVIDENCE) or {})
        if not kept:
            return cls()
        return cls(
            np.asarray(kept["axes"]).astype(np.float32),
            np.asarray(kept["vectors"]),
            list(kept["classes"]),
            list(kept["sources"]),
        )


@dataclass
class StringSpans:
    """Names and words in carrier sentences, and spans of plain texts, in the reduced space.

    vectors (ndarray): Vectors of spans, float32 (n, ROLES * size + 1).
    classes (List[str]): Their labels; `OTHER` for none.
    plain (ndarray): Vectors of spans of plain texts.
    """

    vectors: Floats
    classes: list[str]
    plain: Floats


def fit_evidence(labels: Sequence[str], evidence: Evidence, strings: StringSpans) -> JointScorer:
    """Fit a scorer of spans to examples of all kinds.

    The names and words of a label weigh alike together, however many there are. An annotated
    mention has the weight 1. Mentions taken from unlabelled texts weigh less the more there are:
    in proportion to the square root of their number. Examples of no label: a mention that is not
    annotated weighs 1, as an annotated one; names of `OTHER` weigh as those of a label; all other
    spans together weigh as much as the examples of all labels.

    labels (Sequence[str]): The labels: classes 0, 1, ... of the result.
    evidence (Evidence): Examples from texts.
    strings (StringSpans): Examples from names and words.
    RETURNS (JointScorer): The scorer, in the reduced space.
    """
    order = {label: index for index, label in enumerate([*labels, OTHER])}
    parts = [strings.vectors, evidence.vectors.astype(np.float32)]
    classes = [*strings.classes, *evidence.classes]
    kinds = ["string"] * len(strings.classes) + list(evidence.sources)
    if "annotated" not in evidence.sources:
        parts.append(strings.plain)
        classes += [OTHER] * len(strings.plain)
        kinds += ["plain"] * len(strings.plain)
    ids = np.array([order[label] for label in classes])
    shares = _shares(ids, np.array(kinds), len(labels))
    vectors = np.concatenate([part for part in parts if len(part)])
    return fit_joint(vectors, ids, shares, len(labels) + 1)


def _shares(ids: np.ndarray, kinds: np.ndarray, none: int) -> Floats:
    """The weight of each example."""
    shares = np.ones(len(ids), dtype=np.float32)
    for chosen, power, total in (
        (kinds == "string", 1.0, STRINGS_SHARE),
        ((kinds == "name") | (kinds == "guess"), 0.5, 1.0),
    ):
        counts = np.bincount(ids[chosen], minlength=none + 1)[ids[chosen]]
        shares[chosen] = total / counts**power
    plain, labelled = kinds == "plain", ids != none
    if plain.any() and labelled.any():
        shares[plain] = NONE_SHARE * shares[labelled].sum() / plain.sum()
    return shares


def keep_joint(model: Model, scorer: JointScorer, made_from: str) -> None:
    """Store a scorer of whole states in a model, with the settings that it was fitted with."""
    model.attrs[_SCORER] = {
        "weights": scorer.weights.astype(np.float16),
        "bias": scorer.bias,
        "made_from": made_from,
    }


def kept_joint(model: Model, made_from: str) -> JointScorer | None:
    """Load the stored scorer of a model; None if it was fitted with other settings."""
    kept = dict(model.attrs.get(_SCORER) or {})
    if kept.get("made_from") != made_from:
        return None
    return JointScorer(np.asarray(kept["weights"]).astype(np.float32), np.asarray(kept["bias"]))
