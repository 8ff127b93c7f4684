"""Windows: every piece has one owner that contains it and knows it best, by brute force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_llm2ner.llm.windows import Windows, check_window, cut_windows
from tests.llm.oracle import unhurried


@st.composite
def cuts(draw: st.DrawFn) -> tuple[int, int, int]:
    window = draw(st.integers(1, 20))
    return draw(st.integers(0, 120)), window, draw(st.integers(1, window))


def context(windows: Windows, window: int, piece: int, n_pieces: int, prefer: str) -> int:
    """How much of the text around a piece a window shows; what is not cut does not count."""
    start, end = int(windows.starts[window]), int(windows.ends[window])
    left, right = piece - start, end - 1 - piece
    if prefer == "left":
        return left
    return min(left if start > 0 else n_pieces, right if end < n_pieces else n_pieces)


@pytest.mark.parametrize("prefer", ["left", "center"])
@given(cut=cuts())
@unhurried
def test_every_piece_has_the_best_owner(prefer: str, cut: tuple[int, int, int]):
    n_pieces, window, stride = cut
    windows = cut_windows(n_pieces, window, stride, prefer)
    assert len(windows.owner) == n_pieces
    for piece in range(n_pieces):
        holding = [
            i for i in range(len(windows.starts)) if windows.starts[i] <= piece < windows.ends[i]
        ]
        best = max(context(windows, i, piece, n_pieces, prefer) for i in holding)
        owner = int(windows.owner[piece])
        assert owner in holding
        assert context(windows, owner, piece, n_pieces, prefer) == best


@given(cut=cuts())
@unhurried
def test_windows_cover_the_text_and_are_full(cut: tuple[int, int, int]):
    n_pieces, window, stride = cut
    windows = cut_windows(n_pieces, window, stride, "center")
    sizes = windows.ends - windows.starts
    if n_pieces == 0:
        assert len(sizes) == 0
        return
    assert (windows.starts[0], windows.ends[-1]) == (0, n_pieces)
    assert (sizes == min(window, n_pieces)).all()
    steps = windows.starts[1:] - windows.starts[:-1]
    assert ((steps >= 1) & (steps <= stride)).all()


def test_the_example_of_the_module():
    left = cut_windows(10, 6, 2, "left")
    assert left.starts.tolist() == [0, 2, 4]
    assert left.owner.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2]
    center = cut_windows(10, 6, 2, "center")
    assert center.owner.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("window", "stride", "named"), [(0, 1, "window"), (8, 0, "stride"), (8, 9, "stride")]
)
def test_settings_that_make_no_sense(window: int, stride: int, named: str):
    with pytest.raises(ValueError, match=f"'{named}'"):
        check_window(window, stride)
    with pytest.raises(ValueError, match=f"'{named}'"):
        cut_windows(20, window, stride, "left")
