"""Speed of the ToMMeR head in a band and in squares of pieces, on the same states.

python -m benchmarks.tommer [--head FOLDER] [--threads 1] [--repeats 5]

The same logits are computed in three ways: in the band (`spacy_llm2ner.heads.TokenMatching`), in
squares whose running minimum and maximum are pooled with a window as wide as the text (as in the
published code), and in squares with cumulative minima and maxima (the fastest way with squares).
States and weights are random, float32. The largest difference between logits is also reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.command import command_line
from benchmarks.results import markdown_table, write
from spacy_llm2ner.heads import MASKED, TokenMatching

SHAPES = ((8, 64), (8, 128), (8, 256), (8, 512), (1, 2048))
WIDTH, RANK, WINDOW = 2048, 64, 25
# Pooling with a window as wide as the text is cubic: not repeated from here on.
SLOW_FROM = 512


def squares(head: TokenMatching, states: Tensor, lengths: Tensor, pool: Callable) -> Tensor:
    """Logits [batch, end, start]; MASKED where no span is."""
    n = states.shape[1]
    q, k = F.normalize(states @ head.W_Q[0], dim=-1), F.normalize(states @ head.W_K[0], dim=-1)
    end, start = torch.arange(n)[:, None], torch.arange(n)
    seen = (start <= end) & (end - start <= head.sliding_window) & (start != 0)
    inside = torch.arange(n) < lengths[:, None]
    match = (q @ k.transpose(1, 2)).masked_fill(~seen, 0.0)
    v = (states @ head.probe[0] + head.bias[0]) * inside
    following = F.pad(v[:, 1:], (0, 1))
    theta = head.theta[0]
    logits = theta[0] * match - theta[1] * pool(-match) + theta[2] * pool(match)
    logits = logits + (theta[3] * v + theta[4] * following)[:, :, None]
    return logits.masked_fill(~(seen & inside[:, :, None]), MASKED)


def pooled(square: Tensor) -> Tensor:
    """max(0, maximum over later starts), by a window as wide as the text."""
    n = square.shape[-1]
    return F.max_pool2d(F.pad(square, (-1, n)), kernel_size=(1, n), stride=1)


def cumulative(square: Tensor) -> Tensor:
    """The same by a cumulative maximum from the right."""
    later = F.pad(square[..., 1:], (0, 1))
    return later.flip(-1).cummax(-1).values.flip(-1).clamp_min(0)


def seconds(run: Callable[[], Tensor], repeats: int) -> tuple[float, Tensor]:
    result = run()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times), result


def as_band(square: Tensor, size: int) -> Tensor:
    """[batch, end, start] -> [batch, start, offset]."""
    n = square.shape[1]
    start = torch.arange(n)[:, None]
    end = start + torch.arange(size)
    band = square[:, end.clamp_max(n - 1), start.expand_as(end)]
    return band.masked_fill(end >= n, MASKED)


@torch.no_grad()
def measure(head: TokenMatching, batch: int, pieces: int, repeats: int) -> dict[str, float]:
    generator = torch.Generator().manual_seed(pieces)
    states = torch.randn(batch, pieces, head.width, generator=generator)
    lengths = torch.full((batch,), pieces)
    slow = 1 if pieces >= SLOW_FROM else repeats
    band, ours = seconds(lambda: head(states, lengths), repeats)
    wide, dense = seconds(lambda: squares(head, states, lengths, pooled), slow)
    best, other = seconds(lambda: squares(head, states, lengths, cumulative), repeats)
    largest = max(float((as_band(d, ours.shape[2]) - ours).abs().max()) for d in (dense, other))
    return {
        "batch": batch,
        "pieces": pieces,
        "band_ms": 1e3 * band,
        "square_pooled_ms": 1e3 * wide,
        "square_cumulative_ms": 1e3 * best,
        "times_faster_than_pooled": wide / band,
        "times_faster_than_cumulative": best / band,
        "largest_difference": largest,
    }


def main() -> None:
    parser = command_line("tommer", __doc__)
    parser.add_argument("--head", type=Path, help="a published head; default: random weights")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.head:
        head = TokenMatching.from_tommer(args.head)
    else:
        head = TokenMatching(WIDTH, RANK, WINDOW)
        torch.nn.init.normal_(head.probe, std=0.02)
    runs = []
    for batch, pieces in SHAPES:
        runs.append(measure(head, batch, pieces, args.repeats))
        print(runs[-1], flush=True)
    rows = [
        (
            f"{r['batch']} x {r['pieces']:,}",
            *(f"{r[key]:,.1f}" for key in ("band_ms", "square_pooled_ms", "square_cumulative_ms")),
            *(f"{r[f'times_faster_than_{way}']:.1f}" for way in ("pooled", "cumulative")),
            f"{r['largest_difference']:.0e}",
        )
        for r in runs
    ]
    header = (
        *("texts x pieces", "band ms", "squares, pooled ms", "squares, cumulative ms"),
        *("times faster than pooled", "times faster than cumulative", "largest difference"),
    )
    results = {
        "threads": args.threads,
        "repeats": args.repeats,
        "head": str(args.head.name) if args.head else f"random, {WIDTH} x {RANK}, window {WINDOW}",
        "runs": runs,
    }
    write("tommer_speed", results, markdown_table(header, rows))
