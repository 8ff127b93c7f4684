"""README.md and docs: links lead somewhere, and blocks for configs fit the configs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from spacy.language import Language
from spacy.util import load_model_from_config, registry
from thinc.api import Config

from spacy_llm2ner.cli.init_config import make_config
from tests.pipeline.sample import examples
from tests.snippets import DEFAULT_LLM, snippets

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCKS = {
    name: block
    for page in PAGES
    for name, block in re.findall(
        r"<!-- run: ([\w-]+) -->\n```ini\n(.*?)```", page.read_text("utf8"), flags=re.S
    )
}


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf8"), flags=re.S)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path).resolve() if path else page
        assert other.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(other), f"{page.name}: {target}"


def without(text: str, *sections: str) -> str:
    """A config without these sections, comments in front of the next one included."""
    for section in sections:
        before, after = text.split(f"[{section}]\n", 1)
        text = before + after[after.index("\n[") + 1 :]
    return text


def model_of(text: str, component: str) -> Any:
    nlp = load_model_from_config(Config().from_str(text), auto_fill=True)
    return nlp.get_pipe(component).model  # type: ignore[attr-defined]


def test_the_tuned_llm_of_taggers_md() -> None:
    text = (ROOT / "configs" / "conll2003_tagger.cfg").read_text(encoding="utf8")
    llm = "components.llm2ner_tagger.model.llm"
    before, after = without(text, f"{llm}.store").split(f"[{llm}]\n", 1)
    rest = after[after.index("\n[") + 1 :]
    model = model_of(f"{before}{BLOCKS['tuned-llm']}\n{rest}", "llm2ner_tagger")
    assert [layer.name for layer in model.layers] == ["tuned_llm", "crf_tagger"]


def test_the_stack_of_llms_md() -> None:
    llm = "components.llm2ner.model.llm"
    text = without(make_config("balanced"), llm, f"{llm}.store")
    found = model_of(f"{text}\n{BLOCKS['stack']}", "llm2ner")
    first, second = (node.shims[0].llm for node in found.layers[0].layers)
    assert (first.layers, second.layers) == ((5, 8, 11, 14), (8, 12, 16, 20))
    assert (first.store, second.store.path) == (None, "training/states")


def test_the_head_of_tommer_md() -> None:
    text = make_config("balanced").replace("layers = [8, 12, 16, 20]", "layers = null")
    model = "components.llm2ner.model"
    text = without(text, "components.llm2ner.loss", model, f"{model}.head")
    before, after = text.split(f"[{model}.llm]\n", 1)
    found = model_of(f"{before}{BLOCKS['tommer']}\n[{model}.llm]\n{after}", "llm2ner")
    assert found.name == "tommer"


def test_the_callback_of_tommer_md() -> None:
    text = make_config("balanced").replace("before_update = null\n", "")
    config = Config().from_str(text + BLOCKS["self-distillation"])["training"]
    assert registry.resolve({"it": config["before_update"]})["it"].epoch == 8


def test_the_callback_of_calibration_md() -> None:
    text = make_config("balanced").replace("before_to_disk = null\n", "")
    config = Config().from_str(text + BLOCKS["calibrate-callback"])["training"]
    assert callable(registry.resolve({"it": config["before_to_disk"]})["it"])


def test_the_python_of_calibration_md(trained: Language) -> None:
    code = snippets("docs/calibration.md")["calibrate-python"][1]
    data = examples(trained)
    exec(compile(code, "calibrate-python", "exec"), {"nlp": trained, "dev_examples": data})
    assert trained.get_pipe("llm2ner").temperature  # type: ignore[attr-defined]


def test_the_python_of_evaluation_md(trained: Language, capsys: pytest.CaptureFixture) -> None:
    code = snippets("docs/evaluation.md")["evaluate-python"][1]
    scope = {"nlp": trained, "examples": examples(trained)}
    more = {"other_nlp": trained, "other_examples": examples(trained)}
    code = code.replace('["text length"]', '["span length"]')  # the sample's texts are all short
    exec(compile(code, "evaluate-python", "exec"), {**scope, **more})
    assert "No difference is shown between nlp and other_nlp: +0.0" in capsys.readouterr().out


def test_the_thresholds_of_calibration_md(trained: Language) -> None:
    code = snippets("docs/calibration.md")["set-threshold"][1]
    exec(compile(code, "set-threshold", "exec"), {"nlp": trained})
    assert trained.get_pipe("llm2ner").threshold == {"PER": 0.9, "LOC": 0.4}  # type: ignore[attr-defined]
    assert trained.config["components"]["llm2ner"]["threshold"] == {"PER": 0.9, "LOC": 0.4}


def test_the_settings_of_llm2ner_md(tiny_llm: Path) -> None:
    code = snippets("docs/llm2ner.md")["settings"][1].replace(DEFAULT_LLM, str(tiny_llm))
    scope: dict[str, Any] = {}
    exec(compile(code, "settings", "exec"), scope)
    assert scope["nlp"].get_pipe("llm2ner").settings["decoding"] == "nested"


def test_the_config_of_few_shot_md(tmp_path: Path) -> None:
    """With an LLM that is not here: its name says which edition of the mention head is meant."""
    elsewhere = tmp_path / "SmolLM2-135M-Instruct"
    text = BLOCKS["few-shot"].replace("assets/llm/SmolLM2-135M-Instruct", str(elsewhere))
    assert model_of(text, "llm2ner_fewshot").name == "span_recognizer"
