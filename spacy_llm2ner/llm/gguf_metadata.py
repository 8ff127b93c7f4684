"""The metadata of a GGUF file: its key-value pairs, read without its tensors.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The reader of the package `gguf`
makes an array per element, which takes half a minute for a vocabulary of 262,144 pieces; this one
takes a second.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

from ..errors import Errors

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
# Value types of the format, as codes of `struct`.
_CODES = {
    **{0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i"},
    **{6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"},
}


def read_metadata(path: Path) -> dict[str, Any]:
    """The key-value pairs of a GGUF file; arrays are lists.

    path (Path): A GGUF file of version 2 or 3, little-endian.
    RETURNS (Dict[str, Any]): e.g. {"general.architecture": "llama", ...}.
    RAISES (ValueError): If it is no such file, or is damaged (E150).
    """
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Pairs(data).read()
        except (ValueError, struct.error, KeyError) as error:
            reason = str(error) or type(error).__name__
            raise ValueError(Errors.E150.format(file=path, error=reason)) from error


class _Pairs:
    """A position within the bytes of a file, moved on by each value that is read."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.position = 0

    def read(self) -> dict[str, Any]:
        """All pairs, from the start of the file."""
        if self._take(4) != _MAGIC:
            raise ValueError("it does not begin with 'GGUF'")
        version = self._number("I")
        if version not in _VERSIONS:
            raise ValueError(f"version {version} of the format is not one of {_VERSIONS}")
        self._number("Q")  # the number of tensors
        return {self._string(): self._value(self._number("I")) for _ in range(self._number("Q"))}

    def _take(self, size: int) -> bytes:
        taken = self.data[self.position : self.position + size]
        if len(taken) < size:
            raise ValueError("it ends within its metadata")
        self.position += size
        return taken

    def _number(self, code: str) -> Any:
        (number,) = struct.unpack("<" + code, self._take(struct.calcsize("<" + code)))
        return number

    def _string(self) -> str:
        return self._take(self._number("Q")).decode("utf8")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._number(_CODES[kind])
        of, length = self._number("I"), self._number("Q")
        if of not in _CODES:
            return [self._value(of) for _ in range(length)]
        codes = f"<{length}{_CODES[of]}"
        return list(struct.unpack(codes, self._take(struct.calcsize(codes))))
