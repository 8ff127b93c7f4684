"""`python -m spacy llm2ner store`: look into a store of states, and remove what is in it."""

from __future__ import annotations

import math
import time
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer
from wasabi import Printer

from ..errors import Errors

_DAY = 24 * 60 * 60


class Action(str, Enum):
    """What to do with a store."""

    info = "info"
    prune = "prune"
    clear = "clear"


def store(
    action: Annotated[
        Action,
        typer.Argument(help="info: list the LLMs; prune: remove some states; clear: remove all"),
    ],
    path: Annotated[Path, typer.Argument(help="Folder of the store, such as training/states")],
    max_gb: Annotated[
        Optional[float],
        typer.Option("--max-gb", help="prune: size to keep, in GB; the LLM used least goes first"),
    ] = None,
    llm: Annotated[
        Optional[str],
        typer.Option(
            "--llm",
            help='prune: remove an LLM, by the start of its fingerprint, or "unknown"',
        ),
    ] = None,
    older_than: Annotated[
        Optional[float],
        typer.Option("--older-than", help="prune: remove states written before that many days"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-F", help="clear: delete the store")] = False,
) -> None:
    """
    List, shrink or delete a store of states.

    A training remembers the states of an LLM on disk. Removed states are computed again when they
    are needed.

    Example:

        python -m spacy llm2ner store info training/states

    DOCS: docs/cli.md#store
    """
    msg = Printer()
    try:
        if action is Action.info:
            _print_contents(msg, path)
        elif action is Action.prune:
            _prune(msg, path, max_gb, llm, older_than)
        else:
            _clear(msg, path, force)
    except (ValueError, OSError) as error:
        msg.fail(f"Can't {action.value} {path}", str(error), exits=1)


def _print_contents(msg: Printer, path: Path) -> None:
    from ..llm.store_contents import contents

    found = contents(path)
    texts = sum(llm.texts for llm in found.llms)
    msg.info(f"State store {path}: {_texts(texts)}, {_size(found.file_bytes)}")
    rows = [
        (
            llm.fingerprint[:12] or "unknown",
            llm.description or "-",
            f"{llm.texts:,}",
            _size(llm.size),
            "-" if llm.written is None else f"{_day(llm.written[0])} to {_day(llm.written[1])}",
            "-" if llm.used is None else _day(llm.used),
        )
        for llm in found.llms
    ]
    header = ("fingerprint", "LLM", "texts", "size", "written", "last used")
    if rows:
        msg.table(rows, header=header, divider=True, aligns=("l", "l", "r", "r", "l", "l"))


def _prune(
    msg: Printer, path: Path, max_gb: float | None, llm: str | None, older_than: float | None
) -> None:
    from ..llm.store_contents import prune

    if max_gb is None and llm is None and older_than is None:
        raise ValueError(Errors.E952)
    for option, value in (("--max-gb", max_gb), ("--older-than", older_than)):
        if value is not None and not 0 <= value < math.inf:
            raise ValueError(Errors.E953.format(option=option, value=value))
    removal = prune(
        path,
        most_bytes=math.inf if max_gb is None else max_gb * 2**30,
        fingerprint=llm,
        written_before=None if older_than is None else time.time() - older_than * _DAY,
    )
    msg.good(
        f"Removed the states of {_texts(removal.texts)}: {_size(removal.before)} before, "
        f"{_size(removal.after)} now"
    )
    if not removal.shrunk:
        msg.warn(
            "The file keeps its size while another process has the store open",
            "New states fill the free space. To shrink the file, run the command again later.",
        )


def _clear(msg: Printer, path: Path, force: bool) -> None:
    from ..llm.store_contents import clear, contents

    if not force:
        found = contents(path)
        texts = sum(llm.texts for llm in found.llms)
        raise ValueError(Errors.E954.format(texts=_texts(texts), size=_size(found.file_bytes)))
    removal = clear(path)
    msg.good(f"Deleted {path}: {_texts(removal.texts)}, {_size(removal.before)}")


def _texts(number: int) -> str:
    return f"{number:,} {'text' if number == 1 else 'texts'}"


def _size(n_bytes: float) -> str:
    if n_bytes >= 2**30:
        return f"{n_bytes / 2**30:.2f} GB"
    return f"{n_bytes / 2**20:.1f} MB"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))
