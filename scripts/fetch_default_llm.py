"""Make the default LLM's folder: `python scripts/fetch_llm.py smollm2-135m`.

Does nothing for any other folder than the default LLM's (a folder, GGUF file or hub id of the
user).

Usage: python scripts/fetch_default_llm.py [FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fetch_llm import DEFAULT, LLMS, SOURCES, fetch
from wasabi import msg

DEFAULT_FOLDER = LLMS / SOURCES[DEFAULT].folder


def main() -> None:
    """Fetch, check, convert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=DEFAULT_FOLDER)
    folder = parser.parse_args().folder
    if not (folder / "config.json").is_file() and folder.resolve() != DEFAULT_FOLDER.resolve():
        msg.info(f"'{folder}' is not the default LLM: it is looked for when it is first needed")
        return
    fetch(DEFAULT, folder)


if __name__ == "__main__":
    main()
