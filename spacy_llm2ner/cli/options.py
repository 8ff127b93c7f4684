"""Options of several commands that mean what they mean in spaCy's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

_CODE = "Python file with registered functions"

Code = Annotated[Optional[Path], typer.Option("--code", "-c", help=_CODE)]
"""For commands that load a config or a pipeline; the file goes to `import_code`."""

LongCode = Annotated[Optional[Path], typer.Option("--code", help=_CODE)]
"""The same, where -c is the former name of another option."""

GpuId = Annotated[int, typer.Option("--gpu-id", "-g", help="GPU ID, or -1 for CPU")]
