"""States of texts that an LLM reads in a frame of its own: more copies, or label names in front.

copies = 3, before = "person, place\n"

[prefix] person, place \n  t1 t2 t3 \n t1 t2 t3 \n t1 t2 t3
                           ^ first              ^ last
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from spacy.tokens import Doc
from tqdm import tqdm

from benchmarks.paths import LLM
from spacy_llm2ner.llm.alignment import align
from spacy_llm2ner.llm.frozen import FrozenLLM, FrozenLLMSettings

_BATCH_PIECES = 2048


@dataclass(frozen=True)
class Source:
    """An LLM and how it reads a text.

    llm (str): A folder in assets/llm.
    layers (Tuple[int, ...]): The layers.
    copies (int): How often the text is fed.
    names (bool): Whether the corpus's label names come first.
    copy (str): "last" or "first": the copy whose states are used. In a causal model the states of
        the first copy are those of a text that is read once.
    """

    llm: str
    layers: tuple[int, ...]
    copies: int = 2
    names: bool = False
    copy: str = "last"

    @property
    def key(self) -> str:
        """A name for files."""
        names = "-names" if self.names else ""
        return f"{self.llm}-{self.copies}{names}-{self.copy}-{'-'.join(map(str, self.layers))}"


def states(source: Source, docs: Sequence[Doc], names: str, file: Path) -> np.ndarray:
    """The states of all tokens: float16 (tokens, layers, width), memory-mapped.

    source (Source): What reads them.
    docs (Sequence[Doc]): The texts.
    names (str): The label names to put in front, if the source has any.
    file (Path): Where they are kept, without suffix.
    """
    path = file.with_name(f"{file.name}-{source.key}.npy")
    if not path.is_file():
        settings = FrozenLLMSettings(
            name=str(LLM.parent / source.llm),
            layers=source.layers,
            reading="once",
            dtype="bfloat16",
        )
        found = _read(FrozenLLM(settings), source, docs, names if source.names else "")
        part = path.with_suffix(".part.npy")
        np.save(part, found)
        part.rename(path)
    return np.load(path, mmap_mode="r")


def _read(llm: FrozenLLM, source: Source, docs: Sequence[Doc], before: str) -> np.ndarray:
    tokenizer = llm.tokenizer.backend_tokenizer

    def pieces_of(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    front, between = [*llm.reading.prefix, *pieces_of(before)], pieces_of("\n")
    encoded = tokenizer.encode_batch([doc.text for doc in docs], add_special_tokens=False)
    starts = np.cumsum([0, *map(len, docs)])
    result = np.zeros((starts[-1], len(source.layers), llm.width), dtype=np.float16)
    sizes = [
        len(front) + source.copies * (len(text.ids) + len(between)) - len(between)
        for text in encoded
    ]
    for batch in tqdm(_batches(sizes), desc=f"reading, {source.key}"):
        rows, used, tokens = [], [], []
        longest = max(sizes[i] for i in batch)
        for number, i in enumerate(batch):
            copy = encoded[i].ids
            row = [*front, *copy, *(source.copies - 1) * [*between, *copy]]
            skipped = len(row) - len(copy) if source.copy == "last" else len(front)
            place = align(
                docs[i].text,
                encoded[i].offsets,
                [(token.idx, token.idx + len(token)) for token in docs[i]],
            )
            touched = np.flatnonzero(place.touched)
            used.append(number * longest + skipped + np.asarray(place.last)[touched])
            tokens.append(starts[i] + touched)
            rows.append(row)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = torch.tensor(row)
            mask[number, : len(row)] = 1
        indices = torch.from_numpy(np.concatenate(used))
        found = llm.model.hidden_states(ids, mask, source.layers, indices).float()
        found = found * torch.rsqrt(found.square().mean(dim=-1, keepdim=True) + 1e-6)
        result[np.concatenate(tokens)] = found.numpy()
    return result


def _batches(sizes: Sequence[int]) -> list[list[int]]:
    """Texts of similar length in batches of at most `_BATCH_PIECES` pieces."""
    batches: list[list[int]] = []
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        full = batches and (len(batches[-1]) + 1) * sizes[batches[-1][0]] > _BATCH_PIECES
        if not batches or full:
            batches.append([])
        batches[-1].append(i)
    return batches
