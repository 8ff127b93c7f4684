"""docs/developers/contract.md names tests; they must exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "developers" / "contract.md"


def test_every_named_test_exists():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE.read_text("utf8"))
    assert len(named) > 90
    lost = [
        f"{path}::{name}"
        for path, name in named
        if f"\ndef {name}(" not in (TESTS / path).read_text("utf8")
    ]
    assert not lost


def test_every_ticked_box_names_a_test():
    boxes = re.split(r"\n(?=- \[)", PAGE.read_text("utf8"))[1:]
    bare = [box for box in boxes if box.startswith("- [x]") and "::" not in box]
    assert [box.splitlines()[0] for box in bare] == [
        "- [x] Warnings of this package are errors in its tests, wherever they are not expected "
        "(pyproject.toml)."
    ]
