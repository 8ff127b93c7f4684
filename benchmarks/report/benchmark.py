"""How quick the page of `llm2ner evaluate` is with thousands of texts, in headless Chromium.

python -m benchmarks.report FOLDER [--sentences 5000]

FOLDER contains train.txt and dev.txt of CoNLL-2003. A pipeline whose rules are all entities of
dev.txt is compared with one that has every second of them, on the first sentences of train.txt.
Then a browser opens the page, filters the texts by class of error, searches a word, and shows more
texts; each is timed until the page has changed. Needs Playwright and `chromium` in the PATH.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spacy
from spacy.tokens import DocBin
from typer.testing import CliRunner

from benchmarks.command import command_line
from benchmarks.results import markdown_table, write
from spacy_llm2ner.cli import llm2ner_app
from spacy_llm2ner.corpora import ConllCorpus


def make_input(data: Path, folder: Path, sentences: int) -> None:
    """Write the texts and both pipelines."""
    blank = spacy.blank("en")
    examples = ConllCorpus(data / "train.txt", limit=sentences)(blank)
    DocBin(docs=[example.reference for example in examples]).to_disk(folder / "data.spacy")
    dev = [ent for eg in ConllCorpus(data / "dev.txt")(blank) for ent in eg.reference.ents]
    names = sorted({(ent.text, ent.label_) for ent in dev})
    for name, step in (("model", 1), ("baseline", 2)):
        nlp = spacy.blank("en")
        patterns = [{"pattern": text, "label": label} for text, label in names[::step]]
        nlp.add_pipe("entity_ruler").add_patterns(patterns)  # type: ignore[attr-defined]
        nlp.to_disk(folder / name)


def evaluated(folder: Path) -> Path:
    """Call `evaluate`."""
    page = folder / "page.html"
    paths = [str(folder / name) for name in ("model", "data.spacy", "baseline")]
    command = ["evaluate", *paths[:2], "--baseline", paths[2], "--report", str(page)]
    found = CliRunner().invoke(llm2ner_app, command, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return page


def seconds(act: Callable[[], Any]) -> float:
    """The time of an action."""
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def in_browser(page: Path) -> dict[str, float]:
    """Seconds of each action; a count of texts is read after it, so that the page has changed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        opened = browser.new_page()

        def then(act: Callable[[], Any]) -> Callable[[], Any]:
            return lambda: (act(), opened.inner_text("#filter output"))

        took = {
            "open": seconds(then(lambda: opened.goto(page.as_uri()))),
            "filter by a class of error": seconds(
                then(lambda: opened.check("input[value=label]", force=True))
            ),
            "another class": seconds(then(lambda: opened.check("input[value=missed]", force=True))),
            "search a word": seconds(then(lambda: opened.fill("input[name=words]", "London"))),
            "without the word": seconds(then(lambda: opened.fill("input[name=words]", ""))),
            "50 more texts": seconds(then(lambda: opened.click("#more"))),
        }
        browser.close()
    return took


def main() -> None:
    parser = command_line("report", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sentences", type=int, default=5000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_input(args.folder, folder, args.sentences)
        page = evaluated(folder)
        megabytes = page.stat().st_size / 1e6
        took = in_browser(page)
    rows = [(action, f"{value:.2f}") for action, value in took.items()]
    header = (f"{args.sentences:,} sentences, {megabytes:.1f} MB", "seconds")
    results = {"sentences": args.sentences, "megabytes": megabytes, "seconds": took}
    write("report", results, markdown_table(header, rows))
