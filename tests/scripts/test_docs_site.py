"""scripts/docs_site.py: links of the site, API pages, and docstrings as Markdown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts import docs_site


@pytest.mark.parametrize(
    ("page", "link", "expected"),
    [
        ("index.md", "docs/accuracy.md#what-helps", "accuracy.md#what-helps"),
        ("accuracy.md", "../README.md", "index.md"),
        ("accuracy.md", "few-shot.md", "few-shot.md"),
        ("developers/contract.md", "../../setup.cfg", "../repository/setup.cfg"),
        ("developers/contributing.md", "docs/accuracy.md", "../accuracy.md"),
        ("benchmarks.md", "../docs/reference.md", "reference.md"),
        ("accuracy.md", "https://spacy.io", "https://spacy.io"),
        ("accuracy.md", "no-such-page.md", "no-such-page.md"),  # mkdocs reports it
    ],
)
def test_links_lead_to_what_the_site_has(page: str, link: str, expected: str) -> None:
    text, _ = docs_site.rewritten(f"See [a `page`]({link}).\n", page)
    assert text == f"See [a `page`]({expected}).\n"


def test_links_in_code_stay() -> None:
    text = "```text\n[a](../README.md)\n```\n[b](../setup.cfg)\n"
    made, linked = docs_site.rewritten(text, "accuracy.md")
    assert made == "```text\n[a](../README.md)\n```\n[b](repository/setup.cfg)\n"
    assert linked == {"repository/setup.cfg"}


def test_every_entry_point_and_documented_import_has_its_place() -> None:
    pages = docs_site.api_pages()
    text = "\n".join(pages.values())
    points = docs_site.entry_points()
    listed = {name for names in points.values() for name in names} - set(points["spacy_cli"])
    for name in listed | {name for names in docs_site.PYTHON.values() for name in names}:
        assert f"heading: {name}\n" in text
        assert f"[`{name}`](" in pages["api/index.md"]
    assert "::: spacy_llm2ner.pipeline.span_recognizer.SpanRecognizer\n" in text
    assert "### L2N-E001\n\n```text\n{component}: the setting" in pages["api/errors.md"]
    assert docs_site.home_of("spacy_llm2ner.heads.TokenMatching") == (
        "spacy_llm2ner.tommer.token_matching.TokenMatching"
    )


DOCSTRING = """Read files.

Each of them once.

    example

path (Path): The file,
    or a folder.
*more (int): Others.
limit: docs to read
Note: this is text.
RETURNS (List[Doc]): The docs.
RAISES: ValueError if there are none.

DOCS: https://spacy.io/api
"""

EXPECTED = """Read files.

Each of them once.

    example

Note: this is text.

**Arguments**

- `path` (`Path`): The file, or a folder.
- `*more` (`int`): Others.
- `limit`: docs to read

**Returns** (`List[Doc]`): The docs.

**Raises**: ValueError if there are none.

See <https://spacy.io/api>.
"""


def test_docstrings_become_markdown() -> None:
    made = docs_site.markdown_of(DOCSTRING, {"path", "more", "limit"})
    assert "\n".join(line for line in made.splitlines() if line) == "\n".join(
        line for line in EXPECTED.splitlines() if line
    )


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://example.org/a.js"></script>',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        "<style>@font-face { src: url(//example.org/a.woff2) }</style>",
    ],
)
def test_a_site_that_fetches_from_elsewhere_is_refused(tmp_path: Path, text: str) -> None:
    page = tmp_path / "a.html"
    page.write_text('<a href="https://example.org">a link</a><img src="a.png">', encoding="utf8")
    docs_site.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))
    page.write_text(text, encoding="utf8")
    with pytest.raises(SystemExit, match=r"a\.html fetches"):
        docs_site.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))
