"""The page of an evaluation: scores with intervals, curves, errors, slices, and all texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..evaluation.evaluate import NOTHING, Comparison, Evaluation
from ..evaluation.intervals import Difference, Estimate
from .charts import SMALL, Chart, Histogram, ReliabilityPart, thinned
from .colours import label_colours
from .error_classes import Tally
from .evaluation_parts import (
    ALL,
    ChangeRow,
    ComparisonPart,
    ConfusionPart,
    DifferenceRow,
    HeadlinePart,
    LabelsPart,
    MetricsPart,
    Panel,
    PanelsPart,
    Score,
    ScoreRow,
    ScoreTable,
    SlicesPart,
    score_table,
    scores_of,
    totals,
)
from .evaluation_report import metric_table, span_reliability
from .prediction_page import ErrorsPart, all_labels
from .report_page import Part, ReportPage
from .scored_spans import ScoredSpans
from .texts_part import BROKEN, FIXED, JudgedText, TextsPart

_PREDICTIONS = "predictions"
_SCORED = "all scored spans"
_NO_SCORES = (
    "{name} gives no probabilities, neither in the scores of a span group nor in span._.score: the "
    "page has no curves, no reliability and no distributions of scores."
)


@dataclass(frozen=True, eq=False)
class PipelineResult:
    """What the page shows of a pipeline.

    name (str): The pipeline, as it was named.
    evaluation (Evaluation): Its result.
    texts (Sequence[JudgedText]): All texts, with its predictions.
    scored (Optional[ScoredSpans]): Its spans with probabilities; None if it gives none.
    casings (Mapping[str, Evaluation]): Its results on the texts in other casings.
    """

    name: str
    evaluation: Evaluation
    texts: Sequence[JudgedText]
    scored: ScoredSpans | None
    casings: Mapping[str, Evaluation]

    @cached_property
    def tally(self) -> Tally:
        """Counts over all texts."""
        tally = Tally()
        for text in self.texts:
            tally.add(text.findings)
        return tally


def evaluation_page(
    model: PipelineResult,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    notes: Sequence[str] = (),
    language: str = "en",
    baseline: PipelineResult | None = None,
    comparison: Comparison | None = None,
    sentence: str = "",
) -> ReportPage:
    """Put the page of an evaluation together.

    model (PipelineResult): The pipeline.
    title (str): The heading.
    facts (Sequence[Tuple[str, str]]): What was run on what.
    notes (Sequence[str]): What the scores do not say.
    language (str): Language code of the texts.
    baseline (Optional[PipelineResult]): Another pipeline, on the same texts.
    comparison (Optional[Comparison]): The comparison with it.
    sentence (str): Which of the two is better.
    RETURNS (ReportPage): The page.
    """
    builder = _Builder(model, baseline, language)
    parts = [
        Part("headline", "Scores", builder.headline(), True),
        Part("errors", "Errors", builder.errors(), True),
    ]
    if comparison is not None:
        compared = builder.comparison(comparison, sentence)
        parts.append(Part("comparison", "Comparison", compared))
    parts.append(Part("labels", "Labels", builder.labels()))
    confusion = Part("confusion", "Confusions", builder.confusion(), True)
    scored = model.scored
    if scored is None:
        parts.append(confusion)
        notes = [*notes, _NO_SCORES.format(name=model.name)]
    else:
        parts += [
            Part("curves", "Precision and recall", builder.curves(scored)),
            Part("reliability", "Reliability", builder.reliability(scored), True),
            confusion,
            Part("distributions", "Scores of spans", builder.distributions(scored)),
        ]
    if slices := builder.slices():
        parts.append(Part("slices", "Slices", slices))
    metrics = MetricsPart(metric_table(model.evaluation).rows)
    parts += [Part("metrics", "Metrics", metrics), Part("texts", "Texts", builder.texts)]
    return ReportPage(title, facts, parts, notes, has_contents=True)


class _Builder:
    """Makes the parts of a page."""

    def __init__(
        self, model: PipelineResult, baseline: PipelineResult | None, language: str
    ) -> None:
        self.model, self.baseline = model, baseline
        self.name = "" if baseline is None else baseline.name
        compared = model.evaluation.compared
        labels = all_labels(model.texts) | (all_labels(baseline.texts) if baseline else set())
        self.texts = TextsPart(
            model.texts,
            sorted({*labels, *model.evaluation.labels.categories}),
            len(model.texts),
            sum(text.has_gold for text in model.texts),
            model.tally.errors,
            "spans" if compared.annotation == "spans" else "entities",
            compared.spans_key,
            language,
            has_gold_view=True,
            model=model.name if baseline else "Predicted",
            baseline=self.name,
            before={text.number: text for text in baseline.texts} if baseline else {},
        )
        self.colours = label_colours(self.texts.labels)

    def headline(self) -> HeadlinePart:
        evaluation = self.model.evaluation
        other = self.baseline.evaluation if self.baseline else None
        n_labels = len(evaluation.labels.categories)
        figures = (
            ("Micro: all labels", evaluation.micro, other.micro if other else None),
            (f"Macro: mean of {n_labels} labels", evaluation.macro, other.macro if other else None),
            (
                "Mentions: labels ignored",
                evaluation.mention_scores,
                other.mention_scores if other else None,
            ),
        )
        scored = evaluation.has_gold
        rows = []
        for name, found, before in figures:
            p, r, f1 = scores_of(found) if scored else (None, None, None)
            compared = scores_of(before)[2] if before is not None and scored else None
            rows.append(ScoreRow(name, 0, 0, 0, p, r, f1, compared))
        settings = evaluation.settings
        note = (
            f"A span is right if boundaries and label are. The intervals of 95 % are of "
            f"{settings.resampling.resamples:,} bootstrap resamples of "
            f"{evaluation.matches.n_units:,} {settings.unit}s."
        )
        return HeadlinePart(scores_of(evaluation.micro) if scored else None, rows, self.name, note)

    def errors(self) -> ErrorsPart:
        before = self.baseline.tally if self.baseline else None
        return ErrorsPart(self.model.tally, self.texts.unit, before)

    def comparison(self, comparison: Comparison, sentence: str) -> ComparisonPart:
        one, other = comparison.model, comparison.baseline
        both = [e.by_category(e.labels) for e in (other, one)]
        named: list[tuple[str, Estimate | None, Estimate | None, Difference]] = [
            ("Micro", other.micro, one.micro, comparison.micro),
            ("Macro", other.macro, one.macro, comparison.macro),
            ("Mentions", other.mention_scores, one.mention_scores, comparison.mentions),
            *((n, both[0].get(n), both[1].get(n), d) for n, d in comparison.labels.items()),
        ]
        nothing = Score(0.0, 0.0, 0.0)
        rows = [
            DifferenceRow(
                name,
                nothing if before is None else scores_of(before)[2],
                nothing if now is None else scores_of(now)[2],
                scores_of(found.estimate)[2],
                float(found.p_bootstrap[2]),
                float(found.p_randomisation[2]),
            )
            for name, before, now, found in named
        ]
        names = (self.model.name, self.name)
        return ComparisonPart(
            sentence, comparison.is_shown, *names, rows, self._changes(), self.texts
        )

    def _changes(self) -> list[ChangeRow]:
        counts: dict[str, Counter[tuple[str, bool]]] = {}
        for some in self.texts.changes.values():
            for change in some:
                of_label = counts.setdefault(change.mark.label, Counter())
                of_label[change.kind, change.is_gold] += 1
        keys = ((FIXED, True), (FIXED, False), (BROKEN, True), (BROKEN, False))
        total: Counter[tuple[str, bool]] = Counter()
        for of_label in counts.values():
            total.update(of_label)
        rows = [(ALL, total), *sorted(counts.items())]
        return [ChangeRow(label, *(found[key] for key in keys)) for label, found in rows]

    def labels(self) -> LabelsPart:
        evaluation = self.model.evaluation
        other = self.baseline.evaluation if self.baseline else None
        table = score_table(
            "label", evaluation, evaluation.labels, other.labels if other else None, other
        )
        scored = self.model.scored
        if scored is not None:
            rows = [
                row._replace(
                    threshold=scored.thresholds.get(row.name),
                    average_precision=(
                        100 * scored.curve(row.name).average_precision
                        if scored.floor is not None and row.gold
                        else None
                    ),
                )
                for row in table.rows
            ]
            table = ScoreTable(table.title, rows)
        return LabelsPart(table, self.colours, self.name)

    def _frequent(self, scored: ScoredSpans) -> list[str]:
        """The labels with gold spans, the most frequent first."""
        return sorted(scored.gold, key=lambda label: (-scored.gold[label], label))

    def curves(self, scored: ScoredSpans) -> PanelsPart:
        before = self.baseline.scored if self.baseline else None
        panels = [self._curve(label, scored, before) for label in self._frequent(scored)]
        legend = [("after", self.model.name if self.name else "scored spans", "")]
        if before is not None:
            legend.append(("before", self.name, ""))
        legend.append(("after round", "the threshold in use", ""))
        note = (
            f"Of all spans with a score of at least {scored.floor:g}, before overlaps are resolved:"
            " the scores of the tables, which are of the final predictions, lie near the dots."
            if scored.floor is not None
            else "The pipeline gives no scores below its threshold: the curves end there."
        )
        return PanelsPart("curves", "Precision by recall", panels, self.colours, legend, note)

    def _curve(self, label: str, scored: ScoredSpans, before: ScoredSpans | None) -> Panel:
        chart = Chart(f"Precision by recall: {label}", "recall, %", "precision, %", size=SMALL)
        caption = []
        for kind, source in (("before", before), ("after", scored)):
            if source is None or not source.gold.get(label):
                continue
            curve = source.curve(label)
            points = list(zip(curve.recall.tolist(), curve.precision.tolist(), strict=True))
            chart.line(f"line {kind}", thinned(points))
            threshold = source.thresholds.get(label)
            above = len(points) if threshold is None else int((curve.thresholds >= threshold).sum())
            if above:
                r, p = points[above - 1]
                at = "end" if threshold is None else f"{threshold:.3g}"
                title = f"threshold {at}: P {100 * p:.1f}, R {100 * r:.1f}"
                chart.dot(kind, (r, p), 5, title)
                if kind == "after":
                    caption.append(title)
            if kind == "after":
                caption.insert(0, f"average precision {100 * curve.average_precision:.1f}")
        return Panel(label, chart, caption)

    def reliability(self, scored: ScoredSpans) -> ReliabilityPart:
        lines = []
        if (diagram := span_reliability(self.model.evaluation)) is not None:
            lines.append(("after", _PREDICTIONS, diagram))
        if scored.floor is not None:
            lines.append(("all", _SCORED, scored.reliability()))
        before = self.baseline and span_reliability(self.baseline.evaluation)
        if before:
            lines.append(("before", f"{_PREDICTIONS} of {self.name}", before))
        note = "In ten bins; a larger dot stands for more spans."
        if scored.floor is not None:
            note += f" Scored spans are those with a score of at least {scored.floor:g}."
        return ReliabilityPart(lines, note)

    def distributions(self, scored: ScoredSpans) -> PanelsPart:
        panels = []
        same = {round(value, 6) for value in scored.thresholds.values()}
        common = same.pop() if len(same) == 1 else None
        groups = [(ALL, scored.scores, scored.right, common)]
        for label in self._frequent(scored):
            groups.append((label, *scored.of(label), scored.thresholds.get(label)))
        for label, scores, right, threshold in groups:
            name = f"Distribution of scores: {label}"
            drawn = Histogram.of(name, scores, right, threshold)
            n_right, n_wrong = int(right.sum()), int((~right).sum())
            panels.append(Panel(label, drawn, [f"{n_right:,} right, {n_wrong:,} wrong"]))
        legend = [("right", "right spans", ""), ("wrong", "wrong spans", "")]
        if scored.thresholds:
            legend.append(("threshold", "threshold", ""))
        note = "Number of spans by score; the heights are logarithmic."
        if scored.floor is None:
            note += " Only predictions have a score."
        return PanelsPart(
            "distributions", "Scores of right and wrong spans", panels, self.colours, legend, note
        )

    def confusion(self) -> ConfusionPart:
        counts = self.model.evaluation.confusion
        gold = sorted({g for g, _ in counts if g != NOTHING})
        predicted = sorted({p for _, p in counts if p != NOTHING})
        return ConfusionPart([*gold, NOTHING], [*predicted, NOTHING], counts, self.texts)

    def slices(self) -> SlicesPart | None:
        evaluation = self.model.evaluation
        other = self.baseline.evaluation if self.baseline else None
        tables = [
            score_table(name, evaluation, counts, other.slices.get(name) if other else None, other)
            for name, counts in evaluation.slices.items()
        ]
        if self.model.casings:
            by_casing = {"as is": evaluation, **self.model.casings}
            rows = [
                ScoreRow(name, *totals(found.labels), *scores_of(found.micro))
                for name, found in by_casing.items()
            ]
            tables.append(ScoreTable("casing of the texts", rows))
        return SlicesPart(tables, self.name) if tables else None
