"""The page of a calibration: a reliability diagram, precision by recall, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..calibration.reliability import PRCurve, Reliability
from .charts import Chart, ReliabilityPart, lowest, thinned
from .colours import own_colours
from .report_page import Part, ReportPage, render_report

_RELIABILITY_NOTE = (
    "Spans with a probability of at least 1% before calibration, in ten bins; a larger dot stands "
    "for more spans."
)


@dataclass(frozen=True)
class LabelRow:
    """One line of the table.

    label (str): A label, or "all".
    n_gold (int): Gold spans in the dev data.
    temperature (Optional[float]): The temperature after calibration.
    threshold_before (Optional[float]): The threshold before calibration.
    threshold (Optional[float]): The threshold after calibration.
    before (Tuple[float, float, float]): Precision, recall and F1 on the dev data before
        calibration.
    after (Tuple[float, float, float]): The same after calibration.
    """

    label: str
    n_gold: int
    temperature: float | None
    threshold_before: float | None
    threshold: float | None
    before: tuple[float, float, float]
    after: tuple[float, float, float]


@dataclass(frozen=True)
class CalibrationPage:
    """The data of the page.

    title (str): The heading.
    facts (Sequence[Tuple[str, str]]): Names and values: the pipeline, the data, the objective.
    rows (Sequence[LabelRow]): A line per label.
    total (LabelRow): All labels together.
    held_out (Sequence[Tuple[str, Tuple[float, float, float]]]): Each way of tuning thresholds, and
        its precision, recall and F1 on held-out texts.
    way (str): The way that was used.
    before (Reliability): The reliability diagram before calibration.
    after (Reliability): The reliability diagram after calibration.
    curve (Sequence[Tuple[float, float, float]]): Threshold, precision and recall of the decoded
        spans, with one threshold for all labels.
    label_curves (Sequence[Tuple[str, PRCurve]]): Per label, of its scored spans before decoding.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    rows: Sequence[LabelRow]
    total: LabelRow
    held_out: Sequence[tuple[str, tuple[float, float, float]]]
    way: str
    before: Reliability
    after: Reliability
    curve: Sequence[tuple[float, float, float]]
    label_curves: Sequence[tuple[str, PRCurve]]

    @cached_property
    def colours(self) -> dict[str, str]:
        """The colour of each label's curve, in CSS."""
        return own_colours([label for label, _ in self.label_curves])

    @property
    def parts(self) -> list[Part]:
        """The parts of the page."""
        lines = [("before", "before", self.before), ("after", "after", self.after)]
        parts = [
            Part("reliability", "Reliability", ReliabilityPart(lines, _RELIABILITY_NOTE), True),
            Part("shared_threshold", "Precision and recall", self, True),
            Part("thresholds", "Labels", self),
        ]
        return parts + ([Part("held_out", "Held-out texts", self)] if self.held_out else [])

    def curve_picture(self) -> Chart:
        """Draw precision by recall: of each label's spans, and of the decoded spans."""
        points = [value for p, r, _ in (self.total.before, self.total.after) for value in (p, r)]
        picture = Chart(
            "Precision by recall, for thresholds that all labels share",
            "recall, %",
            "precision, %",
            low=lowest([value for value in points if value]),
        )
        for label, curve in self.label_curves:
            drawn = list(zip(curve.recall.tolist(), curve.precision.tolist(), strict=True))
            picture.line("line label", thinned(drawn), self.colours[label])
        picture.line("line all", [(r, p) for _, p, r in self.curve if p])
        for threshold, p, r in self.curve:
            if p:
                title = f"threshold {threshold:g}: P {100 * p:.2f}, R {100 * r:.2f}"
                picture.dot("all", (r, p), 2.5, title)
        for kind, (p, r, f) in (("before", self.total.before), ("after", self.total.after)):
            if p:
                title = f"{kind}: P {100 * p:.2f}, R {100 * r:.2f}, F {100 * f:.2f}"
                picture.dot(kind, (r, p), 7, title)
        return picture

    def curve_legend(self) -> list[tuple[str, str, str]]:
        """List the classes of the legend's keys, their texts, and a label's colour or ""."""
        entries = [("all", "all labels, as decoded", "")]
        for label, curve in self.label_curves:
            area = f"{label}, average precision {100 * curve.average_precision:.1f}"
            entries.append(("label", area, self.colours[label]))
        for kind, (p, _, f) in (("before", self.total.before), ("after", self.total.after)):
            if p:
                entries.append((f"{kind} round", f"{kind}, F {100 * f:.2f}", ""))
        return entries


def render_calibration_page(page: CalibrationPage) -> str:
    """Render the page.

    page (CalibrationPage): The data.
    RETURNS (str): A whole HTML document that needs no other file and no script.
    """
    return render_report(ReportPage(page.title, page.facts, page.parts))
