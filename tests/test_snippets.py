"""README.md and the pages for users: snippets run, and print what the pages say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.snippets import DEFAULT_LLM, ROOT, entities, printed, run_commands, snippets

# Ten steps, and a learning rate that suits them.
SHORT = [
    *("--training.max_steps=10", "--training.eval_frequency=5"),
    "--training.optimizer.learn_rate.warmup_steps=1",
    "--training.optimizer.learn_rate.total_steps=10",
]


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf8").split()) <= 900


@pytest.mark.llm
@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("README.md", "mentions"),
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
    for _, code in steps.values():
        code = code.replace("--build wheel", "--build none")
        run_commands(code, tiny_llm, {"train": SHORT})
    assert Path("visuals", "index.html").is_file()
    assert Path("packages", "en_my_ner-0.1.0", "en_my_ner").is_dir()
