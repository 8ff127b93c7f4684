"""The frame of the HTML pages: nothing is loaded, nothing but our own script runs."""

from __future__ import annotations

import base64
import hashlib
import re

from spacy_llm2ner.reports.html_frame import html_page

HOSTILE = "</title><script>alert(1)</script>"


def test_title_and_facts_are_escaped():
    html = html_page(HOSTILE, [(HOSTILE, HOSTILE)], "<p>body</p>")
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(1)") == 4
    assert "<p>body</p>" in html


def test_without_a_script_none_may_run():
    html = html_page("a", [], "", styles=["explain.css"])
    assert "script-src" not in html
    assert "default-src 'none'" in html
    assert "http" not in html.replace("http-equiv", "")


def test_only_the_own_script_may_run():
    html = html_page("a", [], "", script="page.js")
    (source,) = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    digest = base64.b64encode(hashlib.sha256(source.encode("utf8")).digest()).decode("ascii")
    assert f"script-src 'sha256-{digest}'; base-uri 'none'" in html
