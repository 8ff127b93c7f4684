"""The LLMs of a run of `python -m benchmarks.accuracy`, and how they are read."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.paths import LLM

Block = dict[str, Any]


@dataclass(frozen=True)
class Reader:
    """An LLM and how it is read.

    name (str): Model folder, GGUF file or hub id.
    layers (Optional[Tuple[int, ...]]): The layers; None for those of the preset, by depth.
    reading (Optional[str]): The reading; None for that of the preset.
    window (Optional[int]): Pieces that are read at once, with half of them as stride; None for
        those of the corpus.
    """

    name: str = str(LLM)
    layers: tuple[int, ...] | None = None
    reading: str | None = None
    window: int | None = None

    def changed(self, block: Block) -> Block:
        """The section of a preset for this LLM, with the layers and the reading asked for."""
        layers = {} if self.layers is None else {"layers": list(self.layers)}
        reading = {} if self.reading is None else {"reading": self.reading}
        window = self.window
        size = {} if window is None else {"window": window, "stride": window // 2}
        return {**block, **layers, **reading, **size}

    @property
    def label(self) -> str:
        """A short name, for file names and tables."""
        layers = "" if self.layers is None else "layers " + " ".join(map(str, self.layers))
        window = "" if self.window is None else f"window {self.window}"
        parts = (Path(self.name).name.removesuffix(".gguf"), layers, self.reading or "", window)
        return " ".join(filter(None, parts))


DEFAULT = (Reader(),)


def add_options(parser: ArgumentParser) -> None:
    """Add the options --llm, --layers, --reading and --window."""
    parser.add_argument(
        "--llm",
        nargs="+",
        default=[str(LLM)],
        metavar="NAME_OR_FOLDER",
        help="the LLM, or several for a stack: a folder, a name in assets/llm, or a hub id",
    )
    parser.add_argument(
        "--layers",
        type=int,
        nargs="+",
        action="append",
        help="layers to read, instead of the preset's; once for all LLMs, or once per LLM",
    )
    parser.add_argument(
        "--reading", nargs="+", help="instead of the preset's: one for all LLMs, or one per LLM"
    )
    parser.add_argument(
        "--window", type=int, nargs="+", help="pieces read at once: one for all LLMs, or one each"
    )


def readers_of(args: Namespace) -> tuple[Reader, ...]:
    """The LLMs that the options name.

    RAISES (SystemExit): If there are neither one nor as many values as LLMs.
    """
    names = [_path_of(name) for name in args.llm]
    layers = _one_each("--layers", args.layers, len(names))
    readings = _one_each("--reading", args.reading, len(names))
    windows = _one_each("--window", args.window, len(names))
    return tuple(
        Reader(name, None if of is None else tuple(of), reading, window)
        for name, of, reading, window in zip(names, layers, readings, windows, strict=True)
    )


def label_of(readers: Sequence[Reader]) -> str:
    """A short name of some LLMs; empty for the default LLM as the presets read it."""
    return "" if tuple(readers) == DEFAULT else " + ".join(reader.label for reader in readers)


def suffix_of(args: Namespace) -> str:
    """The part of file names that tells the LLMs: empty for the default LLM."""
    label = label_of(readers_of(args)).replace(" + ", "+").replace(" ", "-")
    return f"-{label}" if label else ""


def llm_block(readers: Sequence[Reader], preset_block: Callable[[str], Block]) -> Block:
    """The section [components.llm2ner.model.llm].

    readers (Sequence[Reader]): The LLMs.
    preset_block (Callable): The name of an LLM -> the preset's section for it.
    RETURNS (Dict): The section; of several LLMs a `StackedLLM.v1`.
    """
    blocks = [reader.changed(preset_block(reader.name)) for reader in readers]
    if len(blocks) == 1:
        return blocks[0]
    names = [re.sub(r"[^A-Za-z0-9_-]", "-", reader.label) for reader in readers]
    if len(set(names)) < len(names):
        raise SystemExit("an LLM that is given twice needs different --reading or --layers")
    llms = dict(zip(names, blocks, strict=True))
    return {"@architectures": "spacy_llm2ner.StackedLLM.v1", "llms": llms}


def _one_each(option: str, values: Sequence[Any] | None, n_llms: int) -> list[Any]:
    values = list(values or [None])
    if len(values) == 1:
        return values * n_llms
    if len(values) != n_llms:
        raise SystemExit(f"{option} was given {len(values)} times for {n_llms} LLMs")
    return values


def _path_of(name: str) -> str:
    shipped = LLM.parent / name
    if Path(name).exists():
        return str(Path(name).absolute())
    return str(shipped) if shipped.exists() else name
