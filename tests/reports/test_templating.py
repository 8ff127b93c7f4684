"""The frame of the HTML pages: nothing is loaded, nothing but the page's own script runs."""

from __future__ import annotations

import base64
import hashlib
import re
from types import SimpleNamespace

import pytest
from jinja2 import UndefinedError

from spacy_llm2ner.reports.templating import render

HOSTILE = "</title><script>alert(1)</script>"


def base(title: str = "Title", **data) -> str:
    page = SimpleNamespace(title=title, facts=data.pop("facts", []))
    return render("base.html.jinja", page=page, **data)


def test_title_and_facts_are_escaped():
    html = base(HOSTILE, facts=[(HOSTILE, HOSTILE)])
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(1)") == 4


def test_without_a_script_none_may_run():
    html = base(styles=["explanation.css"])
    assert ".bandbox" in html
    assert "script-src" not in html
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "")


def test_only_the_own_script_may_run():
    html = base(script="texts.js")
    (source,) = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(source.encode("utf8")).digest()).decode("ascii")
    assert f"script-src 'sha256-{digest}'; base-uri 'none'" in html


def test_a_variable_that_is_missing_is_an_error_and_not_a_gap():
    with pytest.raises(UndefinedError, match="'page' is undefined"):
        render("base.html.jinja")
