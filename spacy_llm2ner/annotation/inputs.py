"""The files of an input, which is a path, a folder or a glob; and their format."""

from __future__ import annotations

from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Literal

from ..errors import Errors

Format = Literal["parquet", "arrow", "jsonl", "csv", "text", "spacy"]

SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "text",
    ".spacy": "spacy",
}
"""Suffix of a file -> its format."""


def find_files(given: str, out: Path) -> list[Path]:
    """Find the files of an input, in an order that does not depend on the machine.

    given (str): A file; a folder, whose files of a known format are taken with those of its
        folders, but no hidden ones; or a glob, in which "**" stands for any folders.
    out (Path): The output folder, which must not be within the input.
    RETURNS (List[Path]): The files, at least one, sorted by path.
    RAISES (FileNotFoundError): If there is no such file or folder (E850), or none of a known
        format (E851).
    RAISES (ValueError): If the output folder is within the input folder (E852).
    """
    path = Path(given)
    if path.is_dir():
        if out.resolve().is_relative_to(path.resolve()):
            raise ValueError(Errors.E852.format(out=out, given=given))
        found = [file for file in path.rglob("*") if not _is_hidden(file.relative_to(path))]
        files = [file for file in found if file.suffix.lower() in SUFFIXES and file.is_file()]
    elif path.exists():
        return [path]
    elif has_magic(given):
        names = glob(given, recursive=True)  # noqa: PTH207 - a Path takes no absolute pattern
        files = [Path(name) for name in names if Path(name).is_file()]
        inside = [file for file in files if file.resolve().is_relative_to(out.resolve())]
        if inside:
            raise ValueError(Errors.E852.format(out=out, given=given))
    else:
        raise FileNotFoundError(Errors.E850.format(given=given))
    if not files:
        raise FileNotFoundError(Errors.E851.format(given=given, suffixes=", ".join(SUFFIXES)))
    return sorted(files)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def common_format(files: Sequence[Path]) -> Format:
    """Find the format of all files.

    files (Sequence[Path]): The files, at least one.
    RETURNS (str): Their format, by suffix.
    RAISES (ValueError): If a suffix is not known (E853), or if the formats differ (E854).
    """
    formats: dict[Format, Path] = {}
    for file in files:
        suffix = file.suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(Errors.E853.format(path=file, suffixes=", ".join(SUFFIXES)))
        formats.setdefault(SUFFIXES[suffix], file)
    if len(formats) > 1:
        first, second = list(formats.values())[:2]
        raise ValueError(Errors.E854.format(first=first, second=second))
    return next(iter(formats))
