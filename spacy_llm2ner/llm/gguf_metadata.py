"""The header of a GGUF file: its key-value pairs and the list of its tensors, without their data.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The reader of the package `gguf`
makes an array per element, which takes half a minute for a vocabulary of 262,144 pieces; this one
takes a second.
"""

from __future__ import annotations

import math
import mmap
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
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
# Data of tensors begin at multiples of this number, if `general.alignment` names no other.
_ALIGNMENT = 32
_FLOAT32 = 0


@dataclass(frozen=True)
class GGUFTensor:
    """A tensor of a GGUF file.

    shape (Tuple[int, ...]): Its sizes, the outermost first, as in torch.
    kind (int): The number of its quantisation; 0 is float32.
    offset (int): Where its data begin, counted from the start of all data.
    """

    shape: tuple[int, ...]
    kind: int
    offset: int

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class GGUFHeader:
    """What a GGUF file says before its data.

    file (Path): The file.
    version (int): The version of the format.
    metadata (Dict[str, Any]): The key-value pairs; arrays are lists.
    places (Dict[str, Tuple[int, int]]): Where the bytes of each pair begin and end.
    tensors (Dict[str, GGUFTensor]): The tensors, by name, in the order of the file.
    tensor_places (Tuple[int, int]): Where the list of tensors begins and ends.
    """

    file: Path
    version: int
    metadata: dict[str, Any]
    places: dict[str, tuple[int, int]] = field(repr=False)
    tensors: dict[str, GGUFTensor] = field(repr=False)
    tensor_places: tuple[int, int]

    @property
    def architecture(self) -> str:
        """The architecture of the model, in the words of llama.cpp; "" if the file has none."""
        return str(self.metadata.get("general.architecture", ""))

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `ARCHITECTURE.KEY`."""
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def floats(self, name: str) -> list[float] | None:
        """The values of a tensor of float32; None if the file has no tensor of this name.

        RAISES (ValueError): If it has other values, or the file ends within them (E150).
        """
        tensor = self.tensors.get(name)
        if tensor is None:
            return None
        size = 4 * tensor.size
        with self.file.open("rb") as file:
            file.seek(self.data_start + tensor.offset)
            data = file.read(size)
        if tensor.kind != _FLOAT32 or len(data) < size:
            error = f"its tensor '{name}' has no values of float32"
            raise ValueError(Errors.E150.format(file=self.file, error=error))
        return list(struct.unpack(f"<{size // 4}f", data))

    @property
    def data_start(self) -> int:
        """Where the data of the tensors begin in the file."""
        return self._aligned(self.tensor_places[1])

    @property
    def parameters(self) -> int:
        """How many weights the tensors have, without tables of factors for rotary positions."""
        return sum(
            tensor.size for name, tensor in self.tensors.items() if not name.startswith("rope_")
        )

    def write_without(self, path: Path, is_left_out: Callable[[str], bool]) -> None:
        """Write the file once more, without some of its key-value pairs; all else is the same.

        path (Path): The new file.
        is_left_out (Callable[[str], bool]): Whether the pair with this key is left out.
        """
        kept = [place for key, place in self.places.items() if not is_left_out(key)]
        with self.file.open("rb") as old, path.open("wb") as new:
            new.write(_MAGIC + struct.pack("<IQQ", self.version, len(self.tensors), len(kept)))
            for begin, end in [*kept, self.tensor_places]:
                old.seek(begin)
                new.write(old.read(end - begin))
            new.write(bytes(self._aligned(new.tell()) - new.tell()))
            old.seek(self.data_start)
            shutil.copyfileobj(old, new, 1 << 22)

    def _aligned(self, position: int) -> int:
        alignment = self.metadata.get("general.alignment", _ALIGNMENT)
        return -(-position // alignment) * alignment


def read_header(path: Path) -> GGUFHeader:
    """The key-value pairs of a GGUF file, and the list of its tensors.

    path (Path): A GGUF file of version 2 or 3, little-endian.
    RETURNS (GGUFHeader): With metadata such as {"general.architecture": "llama", ...}.
    RAISES (ValueError): If it is no such file, or is damaged (E150).
    """
    with path.open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data).read(path)
        except (ValueError, struct.error, KeyError) as error:
            reason = str(error) or type(error).__name__
            raise ValueError(Errors.E150.format(file=path, error=reason)) from error


def read_metadata(path: Path) -> dict[str, Any]:
    """The key-value pairs of a GGUF file; see `read_header`."""
    return read_header(path).metadata


class _Reader:
    """A position within the bytes of a file, moved on by each value that is read."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.position = 0

    def read(self, path: Path) -> GGUFHeader:
        """The whole header, from the start of the file."""
        if self._take(4) != _MAGIC:
            raise ValueError("it does not begin with 'GGUF'")
        version = self._number("I")
        if version not in _VERSIONS:
            raise ValueError(f"version {version} of the format is not one of {_VERSIONS}")
        n_tensors, n_pairs = self._number("Q"), self._number("Q")
        metadata, places = {}, {}
        for _ in range(n_pairs):
            begin, key = self.position, self._string()
            metadata[key] = self._value(self._number("I"))
            places[key] = begin, self.position
        begin = self.position
        tensors = {self._string(): self._tensor() for _ in range(n_tensors)}
        return GGUFHeader(path, version, metadata, places, tensors, (begin, self.position))

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

    def _tensor(self) -> GGUFTensor:
        sizes = [self._number("Q") for _ in range(self._number("I"))]  # the innermost first
        return GGUFTensor(tuple(sizes[::-1]), self._number("I"), self._number("Q"))
