"""A headless browser for tests of the page: the distribution's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; the test is skipped where there is none."""
    sync = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


class Tab:
    """A page of the server in a browser, and what went wrong in it.

    page (Page): Playwright's page.
    faults (List[str]): Errors of scripts, messages of the console, requests to other hosts.
    """

    def __init__(self, context: Any, address: str) -> None:
        self.faults: list[str] = []
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self._dialog(dialog))
        self.page.on("console", self._message)
        self.page.on("request", lambda request: self._request(request, address))
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def _dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _message(self, message: Any) -> None:
        # An answer with an error status is one; the page shows it.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def _request(self, request: Any, address: str) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            self.faults.append(f"a request to {request.url}")

    def run(self, text: str) -> None:
        """Type a text, and wait for its annotation."""
        self.page.fill("#text", text)
        with self.page.expect_response("**/v1/annotate"):
            self.page.press("#text", "Control+Enter")
        self.idle()

    def shows(self, selector: str, text: str) -> None:
        """Wait until an element has a text."""
        from playwright.sync_api import expect

        expect(self.page.locator(selector)).to_contain_text(text, timeout=60_000)

    def idle(self) -> None:
        """Wait until no request is under way."""
        self.page.wait_for_selector("#view-text:not([aria-busy])", state="attached")

    def marks(self) -> list[tuple[str, str]]:
        """Text and label of the boxes, which are there when no two spans overlap."""
        return [
            tuple(pair)
            for pair in self.page.eval_on_selector_all(
                "mark", "all => all.map(m => [m.firstChild.data, m.lastChild.textContent])"
            )
        ]

    def listed(self) -> list[list[str]]:
        """The rows of the list."""
        self.page.check("input[value=list]", force=True)
        found = self.page.eval_on_selector_all(
            "#view-list tbody tr", "rows => rows.map(r => [...r.cells].map(c => c.textContent))"
        )
        self.page.check("input[value=text]", force=True)
        return found

    def slide(self, label: str, value: float) -> None:
        """Move the threshold of a label."""
        self.page.eval_on_selector_all(
            "#labels li",
            """(rows, [label, value]) => {
                const row = rows.find(r => r.dataset.label === label);
                const range = row.querySelector("[type=range]");
                range.value = value;
                range.dispatchEvent(new Event("input", {bubbles: true}));
            }""",
            [label, value],
        )
