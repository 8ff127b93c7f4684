"""A plot of the learning curve measured by `python -m benchmarks.accuracy` with several --sizes.

python -m benchmarks.accuracy.curve NAME [NAME ...] [--output FILE.svg]
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmarks.command import command_line
from benchmarks.paths import RESULTS

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 58, 200, 60, 52
COLOURS = ("#1f5fbf", "#c2571a", "#3a7d44", "#7a4fa3")
# System -> training docs -> F1 of each seed
Curves = dict[str, dict[int, list[float]]]


def read_curves(names: Sequence[str]) -> tuple[Curves, int]:
    """RETURNS: The curves, and the number of trainings."""
    runs = [
        run
        for name in names
        for run in json.loads((RESULTS / f"{name}.json").read_text(encoding="utf8"))["runs"]
    ]
    curves: Curves = defaultdict(lambda: defaultdict(list))
    for run in runs:
        curves[name_of(run)][run["train_size"]].append(100 * run["test"]["f"])
    return {system: dict(points) for system, points in curves.items()}, len(runs)


def name_of(run: dict) -> str:
    """The system of a run, with the LLM if it is not the default one."""
    return ", ".join([run["system"], *run.get("llm", "").split(" ")[:1]]).removesuffix(", ")


class Axes:
    """Coordinates of (docs, F1) in the plot; docs on a logarithmic scale."""

    def __init__(self, curves: Curves) -> None:
        self.sizes = sorted({size for points in curves.values() for size in points})
        values = [f for points in curves.values() for fs in points.values() for f in fs]
        self.low = 10 * math.floor((min(values) - 3) / 10)  # room for a label below a point
        self.high = min(100, 10 * math.ceil(max(values) / 10))

    def x(self, size: float) -> float:
        first, last = math.log(self.sizes[0]), math.log(self.sizes[-1])
        share = (math.log(size) - first) / (last - first)
        return LEFT + 20 + share * (WIDTH - LEFT - RIGHT - 40)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def frame(self) -> list[str]:
        right = WIDTH - RIGHT
        parts = []
        for value in range(self.low, self.high + 1, 10):
            y = self.y(value)
            parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#dddddd"/>')
            parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
        for size in self.sizes:
            x, y = self.x(size), HEIGHT - BOTTOM
            parts.append(f'<path d="M{x:.1f} {y}v5" stroke="#555555"/>')
            parts.append(f'<text x="{x:.1f}" y="{y + 20}" text-anchor="middle">{size:,}</text>')
        if self.low:
            parts.append(
                f'<text x="{LEFT}" y="{TOP - 6}" font-size="11" fill="#555555">'
                f"F1; the axis begins at {self.low}</text>"
            )
        middle = (LEFT + right) / 2
        parts.append(
            f'<text x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">'
            "training sentences, on a logarithmic scale</text>"
        )
        return parts


def curve(axes: Axes, points: dict[int, list[float]], colour: str, *, below: bool) -> list[str]:
    """A line through the means, with a bar from the worst to the best seed at each point.

    below (bool): Whether the values are printed below the line.
    """
    sizes = sorted(points)
    means = [statistics.mean(points[size]) for size in sizes]
    places = [(axes.x(size), axes.y(mean)) for size, mean in zip(sizes, means, strict=True)]
    path = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(places))
    parts = [f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"/>']
    for size, mean, (x, y) in zip(sizes, means, places, strict=True):
        low, high = axes.y(min(points[size])), axes.y(max(points[size]))
        parts.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{y + (20 if below else -10):.1f}" text-anchor="middle" '
            'paint-order="stroke" stroke="#fff" stroke-width="4" '
            f'fill="{colour}">{mean:.1f}</text>'
        )
    return parts


def names(axes: Axes, curves: Curves) -> list[str]:
    """The name of each system, right of its last point, without overlaps."""
    ends = []
    for (system, points), colour in zip(curves.items(), COLOURS, strict=False):
        last = max(points)
        ends.append((axes.y(statistics.mean(points[last])), axes.x(last), system, colour))
    parts, lowest = [], -math.inf
    for y, x, system, colour in sorted(ends):
        lowest = max(y + 4, lowest + 17)
        parts.append(
            f'<text x="{x + 22:.1f}" y="{lowest:.1f}" fill="{colour}" font-weight="bold">'
            f"{escape(system)}</text>"
        )
    return parts


def render(curves: Curves, title: str) -> str:
    axes = Axes(curves)
    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
    parts.append(f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{title}</text>')
    parts += axes.frame()
    pairs = zip(curves.items(), COLOURS, strict=False)
    for number, ((_, points), colour) in enumerate(pairs):
        parts += curve(axes, points, colour, below=number == 1)
    body = "\n".join([*parts, *names(axes, curves)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'font-family="system-ui, sans-serif" font-size="12.5" fill="#222222">\n{body}\n</svg>\n'
    )


def main() -> None:
    parser = command_line("accuracy.curve", __doc__)
    parser.add_argument("names", nargs="+", help="files in benchmarks/results, without .json")
    parser.add_argument("--output", type=Path, default=Path("docs/images/learning-curve.svg"))
    args = parser.parse_args()
    curves, n_runs = read_curves(args.names)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    title = f"Entity F1 (test) of heads on frozen states, {n_runs} trainings"
    args.output.write_text(render(curves, title), encoding="utf8")
    print(args.output)


if __name__ == "__main__":
    main()
