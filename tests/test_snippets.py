"""README.md and the pages for users: snippets run, and print what the pages say."""

from __future__ import annotations

import logging
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from spacy.language import Language
from spacy.tokens import DocBin

from spacy_llm2ner.heads import TokenMatching
from spacy_llm2ner.pipeline import pretrained_head
from spacy_llm2ner.pipeline.pretrained_head import save_pretrained_head
from spacy_llm2ner.tommer.transfer import load_tommer
from tests.hf.checkpoints import save
from tests.pipeline.sample import DATA, examples
from tests.snippets import DEFAULT_LLM, ROOT, entities, printed, run_commands, snippets
from tests.tommer.test_architecture import published as published  # a fixture

# Ten steps, and a learning rate that suits them.
SHORT = [
    *("--training.max_steps=10", "--training.eval_frequency=5"),
    "--training.optimizer.learn_rate.warmup_steps=1",
    "--training.optimizer.learn_rate.total_steps=10",
]


def test_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf8")
    assert len(re.sub(r"<!--.*?-->", "", text).split()) <= 900


@pytest.mark.llm
@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("README.md", "entities"),
        ("docs/quickstart.md", "entities"),
        ("docs/quickstart.md", "mentions"),
        ("docs/quickstart.md", "few-shot"),
        ("docs/few-shot.md", "names"),
        ("docs/few-shot.md", "words"),
    ],
)
def test_snippets_print_what_the_pages_say(
    page: str,
    name: str,
    default_llm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code = snippets(page)[name][1].replace(DEFAULT_LLM, str(default_llm))
    exec(compile(code, name, "exec"), {})
    found, said = entities(capsys.readouterr().out), entities(printed(page)[name])
    assert [entity[:2] for entity in found] == [entity[:2] for entity in said]
    assert [e[2] for e in found] == pytest.approx([e[2] for e in said], abs=0.02)


def test_train_on_your_own_data(
    tiny_llm: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The README's three commands run, and then the snippet that loads what they made."""
    monkeypatch.chdir(tmp_path)
    lines = (ROOT / "assets" / "sample" / "dev.conll").read_text("utf8").splitlines()[:300]
    Path("my").mkdir()
    for part in ("train", "dev"):
        Path("my", f"{part}.conll").write_text("\n".join(lines) + "\n", encoding="utf8")
    run_commands(snippets("README.md")["train"][1], tiny_llm, {"train": SHORT})
    capsys.readouterr()
    exec(compile(snippets("README.md")["sample"][1], "sample", "exec"), {})
    assert all(len(entity) == 3 for entity in entities(capsys.readouterr().out))
    assert len(entities(printed("README.md")["sample"])) == 4


@pytest.mark.llm
@pytest.mark.filterwarnings("ignore")  # of spaCy's `package`, in this process
def test_the_tutorial(
    tiny_llm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, default_llm: Path
) -> None:
    """Its commands run one after the other; the wheel is not built."""
    monkeypatch.chdir(tmp_path)
    sample = Path("assets", "sample")
    sample.mkdir(parents=True)
    lines = (ROOT / "assets" / "sample" / "dev.conll").read_text("utf8").splitlines()[:300]
    for part in ("train", "dev", "test"):
        (sample / f"{part}.conll").write_text("\n".join(lines) + "\n", encoding="utf8")
    steps = snippets("docs/tutorial.md")
    code = steps.pop("candidates")[1].replace(DEFAULT_LLM, str(default_llm))
    exec(compile(code, "candidates", "exec"), {})
    first = Path("candidates.jsonl").read_text(encoding="utf8").splitlines()[0]
    assert '"MALMO"' in first and '"spans":[[0,1,"MENTION"]' in first
    steps.pop("elsewhere")
    for _, code in steps.values():
        code = code.replace("--build wheel", "--build none")
        run_commands(code, tiny_llm, {"train": SHORT})
    assert Path("visuals", "index.html").is_file()
    assert Path("packages", "en_my_ner-0.1.0", "en_my_ner").is_dir()


@pytest.fixture
def workplace(
    trained_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_llm: Path
) -> Path:
    """A folder with what the pages take for granted: a corpus and trained pipelines."""
    monkeypatch.chdir(tmp_path)
    nlp = spacy.blank("en")
    docs = [example.reference for example in examples(nlp)]
    Path("corpus").mkdir()
    for part in ("train", "dev", "test"):
        DocBin(docs=docs).to_disk(f"corpus/{part}.spacy")
    for folder in ("training/model-best", "en_my_ner", "MODEL"):
        shutil.copytree(trained_folder, folder)
    return tmp_path


def run_python(page: str, name: str, scope: dict[str, Any] | None = None, **old_new: str) -> Any:
    """Run a Python snippet with some strings replaced; its variables are returned."""
    code = snippets(page)[name][1]
    for old, new in old_new.values():
        assert old in code
        code = code.replace(old, new)
    scope = dict(scope or {})
    exec(compile(code, f"{page}: {name}", "exec"), scope)
    return scope


def test_commands_on_a_trained_pipeline(workplace: Path, tiny_llm: Path) -> None:
    for page, name in (
        ("docs/calibration.md", "calibrate"),
        ("docs/llm2ner.md", "explain"),
        ("docs/tommer.md", "explain"),
        ("docs/training.md", "after"),
        ("docs/evaluation.md", "evaluate"),
        ("docs/evaluation.md", "evaluate-meta"),
        ("docs/evaluation.md", "evaluate-page"),
        ("docs/evaluation.md", "fail-under"),
    ):
        run_commands(snippets(page)[name][1], tiny_llm, {"calibrate": ["--folds", "0"]})
        if name == "explain":
            Path("page.html").unlink()
    for made in ("calibrated/config.cfg", "careful/config.cfg", "visuals/index.html"):
        assert Path(made).is_file()


def test_a_search(workplace: Path, tiny_llm: Path) -> None:
    pytest.importorskip("optuna", reason="needs optuna: extra `search`")
    short = {"search": ["--trials", "1", "--epochs", "1"], "train": SHORT}
    run_commands(snippets("docs/search.md")["search"][1], tiny_llm, short)
    assert Path("training", "model-last").is_dir()


def test_thresholds_given_at_load(workplace: Path) -> None:
    scope = {"spacy": spacy}
    nlp = run_python("docs/calibration.md", "load-threshold", scope)["nlp"]
    assert nlp.get_pipe("llm2ner").settings["threshold"] == {"PER": 0.9, "LOC": 0.4}  # type: ignore[attr-defined]


def test_commands_that_train(workplace: Path, tiny_llm: Path) -> None:
    for page, name in (
        ("docs/training.md", "config"),
        ("docs/troubleshooting.md", "questions"),
        ("docs/training.md", "nested"),
        ("docs/calibration.md", "train-threshold"),
    ):
        run_commands(snippets(page)[name][1], tiny_llm, {"train": SHORT})
        if name == "nested":
            config = spacy.load("training/model-last").get_pipe_config("llm2ner")
            assert (config["decoding"], config["annotate"]) == ("all", "spans")


@pytest.mark.filterwarnings("ignore:.*L2N-W43")  # training steps do nothing
def test_few_shot_by_spacy_train(
    workplace: Path, trained: Language, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tiny head in the place of the shipped one."""
    pipe = trained.get_pipe("llm2ner")
    head = trained.config["components"]["llm2ner"]["model"]["head"]
    save_pretrained_head(workplace / "shelf" / "mentions", pipe.model, head, list(pipe.labels))  # type: ignore[attr-defined]
    monkeypatch.setattr(pretrained_head, "FOLDER", workplace / "shelf")
    page = snippets("docs/few-shot.md")
    config = page["few-shot"][1].replace(f'"{DEFAULT_LLM}"', f'"{tiny_llm}"\nlayers = [1, 3]')
    Path("base.cfg").write_text(config, encoding="utf8")
    run_commands(page["train"][1], tiny_llm, {})
    nlp = spacy.load("training/few-shot/model-best")
    assert set(nlp.get_pipe("llm2ner_fewshot").labels) == {"PER", "LOC", "ORG"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("docs/llms.md", "elsewhere"),
        ("docs/llms.md", "from-pretrained"),
        ("docs/tutorial.md", "elsewhere"),
        ("docs/quickstart.md", "trained"),
    ],
)
def test_trained_pipelines_in_python(page: str, name: str, workplace: Path, tiny_llm: Path) -> None:
    replaced = (
        {} if name == "trained" else {"llm": ("/models/SmolLM2-135M-Instruct", str(tiny_llm))}
    )
    nlp = run_python(page, name, **replaced)["nlp"]
    assert [ent.text for ent in nlp(DATA[0][0]).ents] == ["Ada Lovelace", "Charles Babbage"]


def test_a_checkpoint_of_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = save(tmp_path / "checkpoint", "wordpiece")
    code = snippets("docs/hf-checkpoints.md")["import"][1]
    run_commands(code.replace("dslim/bert-base-NER", str(checkpoint)), checkpoint, {})
    capsys.readouterr()
    run_python("docs/hf-checkpoints.md", "use")
    (found,) = entities(capsys.readouterr().out)
    assert all(len(entity) == 3 for entity in found)


def test_silencing_warnings_and_the_log() -> None:
    log = logging.getLogger("spacy.llm2ner")
    before = log.level
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        run_python("docs/warnings.md", "silence")
        warnings.warn("[L2N-W03] one", stacklevel=1)
        warnings.warn("[L2N-W04] other", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["[L2N-W04] other"]
    try:
        run_python("docs/warnings.md", "log")
        assert not log.isEnabledFor(logging.INFO)
    finally:
        log.setLevel(before)


def test_tommer_heads_in_python(
    published: Path, tmp_path: Path, tiny_llm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nlp = load_tommer(published, tiny_llm, label="PER")
    run_python("docs/tommer.md", "publish", {"nlp": nlp})
    scope = {"FOLDER": "my-head", "states": torch.ones(1, 4, 32), "lengths": torch.tensor([4])}
    logits = run_python("docs/tommer.md", "without-a-pipeline", scope)["logits"]
    head = TokenMatching.from_tommer(published)
    assert torch.equal(logits, head(scope["states"], scope["lengths"]))


@pytest.mark.llm
def test_the_mention_head_of_tommer_md(default_llm: Path) -> None:
    nlp = spacy.blank("en")
    run_python("docs/tommer.md", "mentions", {"nlp": nlp, "FOLDER": str(default_llm)})
    assert nlp.get_pipe("llm2ner").labels == ("MENTION",)  # type: ignore[attr-defined]


# Not run: blocks that need what a test cannot have. The page has the reason in a comment.
NOT_RUN = {
    "README.md": 2,
    "docs/accuracy.md": 1,
    "docs/adapters.md": 3,
    "docs/annotate.md": 3,
    "docs/few-shot.md": 1,
    "docs/formats.md": 1,
    "docs/llms.md": 5,
    "docs/prompted.md": 2,
    "docs/quickstart.md": 2,
    "docs/serve.md": 4,
    "docs/taggers.md": 1,
    "docs/tommer.md": 2,
    "docs/training.md": 4,
    "docs/tutorial.md": 1,
    "docs/workflow.md": 1,
}


def test_every_snippet_is_run_or_says_why_not() -> None:
    """A block is marked, and a test names it; what cannot be run is counted above."""
    sources = "".join(path.read_text("utf8") for path in (ROOT / "tests").glob("test_*.py"))
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    not_run = {}
    for path in pages:
        page, text = path.relative_to(ROOT).as_posix(), path.read_text("utf8")
        blocks = re.findall(r"^(.*)\n(?:\n)?```(python|bash|ini)$", text, flags=re.M)
        for before, language in blocks:
            assert re.fullmatch(r"<!-- (run: [\w-]+|not run: .{10,}) -->", before), (
                f"{page}: mark the {language} block after {before!r}"
            )
        reasons = [before for before, _ in blocks if before.startswith("<!-- not run: ")]
        if reasons:
            not_run[page] = len(reasons)
        for name in snippets(page):
            # The tutorial's are run in a loop, and those of migrate.md have a test of their own.
            named = f'"{name}"' in sources or f"['{name}']" in sources
            assert page == "docs/tutorial.md" or named, f"{page}: {name}"
    assert not_run == NOT_RUN
