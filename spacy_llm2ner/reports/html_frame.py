"""The frame of our HTML pages: one self-contained file, which loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources


def html_page(
    title: str,
    facts: Iterable[tuple[str, str]],
    body: str,
    *,
    styles: Sequence[str] = (),
    script: str | None = None,
) -> str:
    """A whole HTML document.

    Only its very script may run, and nothing is loaded: escaping has a second line of defence.

    title (str): The title and heading; it is escaped here.
    facts (Iterable[Tuple[str, str]]): Names and values below the heading; escaped here.
    body (str): HTML.
    styles (Sequence[str]): Names of style sheets in this folder, beside page.css.
    script (Optional[str]): The name of a script in this folder.
    RETURNS (str): The document.
    """
    style = "".join(_resource(name) for name in ("page.css", *styles))
    allowed, code = "", ""
    if script is not None:
        source = _resource(script)
        digest = base64.b64encode(hashlib.sha256(source.encode("utf8")).digest()).decode("ascii")
        allowed, code = f"script-src 'sha256-{digest}'; ", f"<script>{source}</script>\n"
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; {allowed}"
        f"base-uri 'none'; form-action 'none'"
    )
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<h1>{escape(title)}</h1>
<dl class="facts">{rows}</dl>
</header>
{body}
</main>
{code}</body>
</html>
"""


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf8")
