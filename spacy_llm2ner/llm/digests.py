"""Digests of files by content."""

from __future__ import annotations

import hashlib
from pathlib import Path

_digests: dict[tuple[str, int, int], str] = {}


def file_digest(path: Path) -> str:
    """sha256 of a file, as hex digits. Remembered per process by path, size and time stamp.

    Weight files in the hub's cache are links to blobs that are *named* by their sha256: those are
    not read again.
    """
    real = path.resolve()
    if real.parent.name == "blobs" and len(real.name) == 64:
        return real.name
    stat = real.stat()
    key = (str(real), stat.st_size, stat.st_mtime_ns)
    if key not in _digests:
        sha = hashlib.sha256()
        with real.open("rb") as file:
            while chunk := file.read(1 << 22):
                sha.update(chunk)
        _digests[key] = sha.hexdigest()
    return _digests[key]
