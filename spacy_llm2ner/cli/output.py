"""What commands do with an output that exists already: refuse it, unless --force is given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import Errors

Force = Annotated[bool, typer.Option("--force", "-F", help="Overwrite existing output")]


def check_free(path: Path | None, force: bool) -> None:
    """Require that a command overwrites nothing, or was told to.

    path (Optional[Path]): The file or folder to write; None for no output. An empty folder is free.
    force (bool): Whether existing output may be overwritten.
    RAISES (FileExistsError): If something is there (E920).
    """
    if path is None or force or not path.exists():
        return
    if path.is_dir() and not any(path.iterdir()):
        return
    raise FileExistsError(Errors.E920.format(path=path))
