"""Evaluate a pipeline's predictions: counts, intervals, error classes, slices, and a baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..corpora.casing import cased
from ..errors import Errors
from .counts import Counts, Matches, Units, macro, match, micro, prf
from .intervals import Difference, Estimate, Figure, Resampling, difference, estimate
from .matching import BOTH, BOUNDARY, CORRECT, LABEL, MISSED, SPURIOUS
from .metrics import Metric, named_metrics
from .slices import NO_VALUE, TrainingSpans, Value, all_slices
from .text_spans import Compared, TextSpans, predict

TEXT, SENTENCE, DOCUMENT = UNITS = ("text", "sentence", "document")
NOTHING = "(none)"
"""Stands for the missing side of a missed or spurious span."""

CASINGS: dict[str, Callable[[str], str] | None] = {
    "as is": None,
    "lower": str.lower,
    "UPPER": str.upper,
}


@dataclass(frozen=True)
class EvaluationSettings:
    """How predictions are evaluated.

    annotation (Optional[str]): "ents" or "spans"; None for entities or, if the pipeline writes
        none, the span group.
    spans_key (str): The span group.
    unit (str): What bootstraps draw: "text" (each Doc), "sentence" or "document".
    resampling (Resampling): Number and seed of the resamples.
    slices (Sequence[str]): Keys of `doc.user_data` of the reference docs, by whose values the texts
        are sliced.
    """

    annotation: str | None = None
    spans_key: str = "sc"
    unit: str = TEXT
    resampling: Resampling = field(default_factory=Resampling)
    slices: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result for a pipeline on data.

    compared (Compared): What was compared.
    settings (EvaluationSettings): The settings.
    n_texts (int): The number of texts, including those without annotation.
    matches (Matches): The compared spans of the annotated texts.
    mentions (Matches): The same without labels.
    training (Optional[TrainingSpans]): The gold spans of the training data, for slices.
    values (Mapping[str, Sequence[Union[str, Sequence[str]]]]): Slices of the user: name -> the
        value of each text, or those of its words.
    """

    compared: Compared
    settings: EvaluationSettings
    n_texts: int
    matches: Matches
    mentions: Matches
    training: TrainingSpans | None = None
    values: Mapping[str, Sequence[Value]] = field(default_factory=dict)

    @cached_property
    def labels(self) -> Counts:
        """Counts by label."""
        return self.matches.by_label()

    @cached_property
    def metrics(self) -> list[Metric]:
        """The figures of all metrics that apply."""
        return named_metrics(self.matches, disjoint=self.compared.annotation == "ents")

    @cached_property
    def slices(self) -> dict[str, Counts]:
        """Name of a slice -> counts by category."""
        return all_slices(self.matches, self.training, self.values)

    @property
    def has_gold(self) -> bool:
        """Whether the annotated texts have any gold span; without one there is no score."""
        return len(self.matches.gold) > 0

    @property
    def unjudged(self) -> int:
        """The predictions that are neither right nor wrong."""
        return sum(len(text.unjudged) for text in self.matches.texts)

    @cached_property
    def micro(self) -> Estimate:
        """Precision, recall and F1 over all labels."""
        return self._estimate(self.labels, micro)

    @cached_property
    def macro(self) -> Estimate:
        """The mean precision, recall and F1 of the labels."""
        return self._estimate(self.labels, macro)

    @cached_property
    def mention_scores(self) -> Estimate:
        """Precision, recall and F1 without regard to labels."""
        return self._estimate(self.mentions.by_label(), micro)

    def by_category(self, counts: Counts) -> dict[str, Estimate]:
        """Precision, recall and F1 of each category of counts."""
        # Flat: a figure per category and score, so that one set of resamples serves all.
        each = self._estimate(counts, lambda c: prf(c).reshape(*c.shape[:-2], -1))
        parts = range(len(counts.categories))
        return {
            name: Estimate(
                each.value[3 * i : 3 * i + 3],
                {level: ends[3 * i : 3 * i + 3] for level, ends in each.intervals.items()},
            )
            for i, name in zip(parts, counts.categories, strict=True)
        }

    def _estimate(self, counts: Counts, figure: Figure) -> Estimate:
        return estimate(counts, figure, self.settings.resampling)

    @cached_property
    def confusion(self) -> Counter[tuple[str, str]]:
        """(gold label, predicted label) of each pair that overlaps; NOTHING where a side lacks."""
        found: Counter[tuple[str, str]] = Counter()
        for index, verdict in self.matches.verdicts:
            text = self.matches.texts[index]
            gold = NOTHING if verdict.gold is None else text.gold[verdict.gold].label
            guess = (
                NOTHING if verdict.predicted is None else text.predicted[verdict.predicted].label
            )
            found[gold, guess] += 1
        return found


def evaluate(
    nlp: Language,
    examples: Sequence[Example],
    settings: EvaluationSettings | None = None,
    *,
    values: Mapping[str, Sequence[Value]] | None = None,
    documents: Sequence[Hashable] | None = None,
) -> Evaluation:
    """Run a pipeline on annotated texts and compare its predictions with the gold annotation.

    nlp (Language): Any pipeline that writes `doc.ents` or span groups.
    examples (Sequence[Example]): The texts; the predicted docs are replaced.
    settings (Optional[EvaluationSettings]): The settings; None for the defaults.
    values (Optional[Mapping[str, Sequence[Union[str, Sequence[str]]]]]): More slices: name -> the
        value of each text, or those of its words.
    documents (Optional[Sequence[Hashable]]): The document of each text; None: a document each.
    RETURNS (Evaluation): The result.
    RAISES (ValueError): If the pipeline writes no such annotation (E610), if no text is annotated
        (E611), without sentences where they are the unit (E612), or for a key of `user_data` that
        no text has (E613).
    """
    settings = settings or EvaluationSettings()
    examples = predict(nlp, examples)
    compared = Compared.choose(nlp, examples, settings.spans_key, settings.annotation)
    texts = [
        text
        for number, example in enumerate(examples)
        if (text := compared.read(number, example)) is not None
    ]
    if not texts:
        where = (
            "doc.ents" if compared.annotation == "ents" else f"doc.spans['{compared.spans_key}']"
        )
        raise ValueError(Errors.E611.format(texts=len(examples), where=where))
    units = [_units(text, settings.unit, documents) for text in texts]
    sliced: dict[str, Sequence[Value]] = {k: _user_values(texts, k) for k in settings.slices}
    for name, of_all in (values or {}).items():
        sliced[name] = [of_all[text.number] for text in texts]
    return Evaluation(
        compared, settings, len(examples), match(texts, units),
        match([text.without_labels() for text in texts], units), values=sliced,
    )  # fmt: skip


def read_training(examples: Sequence[Example], compared: Compared) -> TrainingSpans:
    """Collect the gold spans of training data.

    examples (Sequence[Example]): The data.
    compared (Compared): What is compared in the evaluation.
    RETURNS (TrainingSpans): Its surfaces and labels.
    """
    gold = any(len(eg.reference) and eg.reference.has_annotation("ENT_IOB") for eg in examples)
    same = replace(compared, ents_are_gold=gold)
    texts = (same.read(number, example) for number, example in enumerate(examples))
    return TrainingSpans.of(text for text in texts if text is not None)


def evaluate_casings(
    nlp: Language,
    examples: Sequence[Example],
    settings: EvaluationSettings | None = None,
    *,
    documents: Sequence[Hashable] | None = None,
) -> dict[str, Evaluation]:
    """Evaluate a pipeline on copies of texts in lower and in upper case.

    nlp (Language): The pipeline, which runs once per casing.
    examples (Sequence[Example]): The texts, as they are.
    settings (Optional[EvaluationSettings]): The settings.
    documents (Optional[Sequence[Hashable]]): The document of each text.
    RETURNS (Dict[str, Evaluation]): "lower" and "UPPER".
    """
    return {
        name: evaluate(
            nlp,
            [_blank_copy(nlp, cased(example, change)) for example in examples],
            settings,
            documents=documents,
        )
        for name, change in CASINGS.items()
        if change is not None
    }


def _blank_copy(nlp: Language, example: Example) -> Example:
    """An example whose predicted doc has the words only."""
    doc = example.predicted
    words = [token.text for token in doc]
    blank = Doc(nlp.vocab, words=words, spaces=[bool(token.whitespace_) for token in doc])
    return Example(blank, example.reference)


def _units(text: TextSpans, unit: str, documents: Sequence[Hashable] | None) -> Units:
    if unit == DOCUMENT and documents is not None:
        return Units([documents[text.number]])
    if unit != SENTENCE:
        return Units([text.number])
    if not len(text.reference):
        return Units([text.number])
    if not text.reference.has_annotation("SENT_START"):
        raise ValueError(Errors.E612.format(number=text.number + 1))
    starts = [sentence.start for sentence in text.reference.sents]
    return Units([(text.number, start) for start in starts], starts)


def _user_values(texts: Sequence[TextSpans], key: str) -> list[str]:
    found = [text.reference.user_data.get(key, NO_VALUE) for text in texts]
    if all(value is NO_VALUE for value in found):
        known = {k for text in texts for k in text.reference.user_data if isinstance(k, str)}
        raise ValueError(Errors.E613.format(key=key, known=", ".join(sorted(known)) or "none"))
    return [str(value) for value in found]


# Two pipelines ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Comparison:
    """How much better a pipeline is than a baseline on the same texts.

    model, baseline (Evaluation): The results of both.
    """

    model: Evaluation
    baseline: Evaluation

    @cached_property
    def micro(self) -> Difference:
        """Differences of precision, recall and F1 over all labels."""
        return self._difference(self.model.labels, self.baseline.labels, micro)

    @cached_property
    def macro(self) -> Difference:
        """Differences of the means of the labels."""
        return self._difference(self.model.labels, self.baseline.labels, macro)

    @cached_property
    def mentions(self) -> Difference:
        """Differences without regard to labels."""
        sides = (self.model.mentions.by_label(), self.baseline.mentions.by_label())
        return self._difference(*sides, micro)

    @cached_property
    def labels(self) -> dict[str, Difference]:
        """Differences of each label."""
        names = sorted({*self.model.labels.categories, *self.baseline.labels.categories})
        one, other = (e.labels.reordered(names).table for e in (self.model, self.baseline))
        return {
            name: self._difference(
                Counts((name,), one[:, [i]]), Counts((name,), other[:, [i]]), micro
            )
            for i, name in enumerate(names)
        }

    def _difference(self, one: Counts, other: Counts, figure: Figure) -> Difference:
        return difference(one, other, figure, self.model.settings.resampling)

    @property
    def fixed(self) -> int:
        """Gold spans that only the model finds."""
        return int((self.model.matches.gold.right & ~self.baseline.matches.gold.right).sum())

    @property
    def broken(self) -> int:
        """Gold spans that only the baseline finds."""
        return int((~self.model.matches.gold.right & self.baseline.matches.gold.right).sum())

    @property
    def is_shown(self) -> bool:
        """Whether the interval of 95 % of the difference in F1 excludes 0."""
        low, high = self.micro.estimate.intervals[95][-1]
        return bool(low > 0 or high < 0)

    def sentence(self, model: str, baseline: str) -> str:
        """Say which pipeline is better, with the interval of 95 %.

        model, baseline (str): What to call them.
        RETURNS (str): A sentence.
        """
        f1 = -1
        points = 100 * float(self.micro.estimate.value[f1])
        low, high = (100 * float(end) for end in self.micro.estimate.intervals[95][f1])
        p = float(self.micro.p_randomisation[f1])
        if not self.is_shown:
            said = f"No difference is shown between {model} and {baseline}"
            return f"{said}: {_points(points, '+')} F1, 95 % {_points(low)} to {_points(high)}"
        if high < 0:
            model, baseline, points, low, high = baseline, model, -points, -high, -low
        said = f"{model} is better than {baseline}: {_points(points, '+')} F1"
        said = f"{said}, 95 % {_points(low)} to {_points(high)}"
        return said if p < 0.05 else f"{said}; but the randomisation test has p = {p:.3f}"


def _points(value: float, sign: str = "") -> str:
    """A number of F1 points; two decimals where one would say 0."""
    digits = 1 if abs(value) >= 0.05 or abs(value) < 0.005 else 2
    return format(round(value, digits) + 0.0, f"{sign}.{digits}f")


def compare_pipelines(model: Evaluation, baseline: Evaluation) -> Comparison:
    """Compare two pipelines that were evaluated on the same texts.

    model, baseline (Evaluation): The results.
    RETURNS (Comparison): The comparison.
    RAISES (ValueError): If the results are of different texts or annotation (E614).
    """
    sides = [
        (
            e.compared.annotation,
            e.matches.n_units,
            [(text.number, list(text.gold)) for text in e.matches.texts],
        )
        for e in (model, baseline)
    ]
    if sides[0] != sides[1]:
        what = "annotation" if sides[0][0] != sides[1][0] else "texts or gold spans"
        raise ValueError(Errors.E614.format(what=what))
    return Comparison(model, baseline)


# Calibration -----------------------------------------------------------------------------------


def scored(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of the predictions that have one, and whether they are right.

    evaluation (Evaluation): The result.
    RETURNS (Tuple[ndarray, ndarray]): float (spans,), bool (spans,).
    """
    side = evaluation.matches.predicted
    known = ~np.isnan(side.scores)
    return side.scores[known], side.right[known]


# Class of error -> its name in the output, after SemEval 2013.
_CLASS_NAMES = {
    CORRECT: "correct", MISSED: "missed", SPURIOUS: "spurious", BOUNDARY: "boundary",
    LABEL: "type", BOTH: "both",
}  # fmt: skip


def error_classes(evaluation: Evaluation) -> dict[str, int]:
    """The number of pairs and single spans of each class, under the names of SemEval 2013."""
    kinds = evaluation.matches.kinds
    return {name: kinds[kind] for kind, name in _CLASS_NAMES.items()}
