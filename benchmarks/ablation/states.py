"""States for the ablation: a text read in several frames, with six layers kept.

In a causal model the first copy of a text does not attend to the second one, so that one pass over
both copies has the states of both readings: once and twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from spacy.tokens import Doc
from tqdm import tqdm

from spacy_llm2ner.llm.alignment import align
from spacy_llm2ner.llm.frozen import FrozenLLM, FrozenLLMSettings

LAYERS = (4, 8, 12, 16, 20, 24)
BATCH_PIECES = 4096
PARTS = ("last", "first", "mean", "earlier")
# The text before the first copy, and between the copies; None: there is only one copy.
FRAMES: dict[str, tuple[str, str | None]] = {
    "newline": ("", "\n"),
    "blank": ("", " "),
    "question": ("", "\nNames of persons, organizations, places and other things in this text:\n"),
    "task": ("Find the names of persons, organizations and places.\n", "\n"),
    "unmasked": ("", None),
}


@dataclass(frozen=True)
class Read:
    """States of texts: float16 (tokens, layers, width) for each kind of token states.

    lengths (List[int]): Tokens of each text.
    states (Dict[str, ndarray]): "last", "first" and "mean" piece of the last copy, and the last
        piece of the first copy ("earlier"; zeros if there is only one copy).
    """

    lengths: list[int]
    states: dict[str, np.ndarray]


def read(llm_folder: Path, docs: list[Doc], frame: str, cache: Path) -> Read:
    """Read texts, or load their states from the cache."""
    files = {part: cache.with_name(f"{cache.name}-{part}.npy") for part in PARTS}
    if not all(file.is_file() for file in files.values()):
        llm = FrozenLLM(FrozenLLMSettings(name=str(llm_folder), layers=LAYERS, reading="once"))
        for part, array in zip(PARTS, _read(llm, docs, frame), strict=True):
            np.save(files[part], array)
    states = {part: np.load(file, mmap_mode="r") for part, file in files.items()}
    return Read([len(doc) for doc in docs], states)


def _read(llm: FrozenLLM, docs: list[Doc], frame: str) -> np.ndarray:
    """RETURNS: float16 (4, tokens, layers, width), in the order of `PARTS`."""
    before, between = FRAMES[frame]
    tokenizer = llm.tokenizer.backend_tokenizer
    first_ids = [*llm.reading.prefix, *tokenizer.encode(before, add_special_tokens=False).ids]
    middle = tokenizer.encode(between or "", add_special_tokens=False).ids
    encoded = tokenizer.encode_batch([doc.text for doc in docs], add_special_tokens=False)
    starts = np.cumsum([0, *(len(doc) for doc in docs)])
    result = np.zeros((4, starts[-1], len(LAYERS), llm.width), dtype=np.float16)
    order = sorted(range(len(docs)), key=lambda i: -len(encoded[i].ids))
    batches: list[list[int]] = []
    for i in order:
        size = 2 * len(encoded[i].ids) + len(first_ids) + len(middle)
        if not batches or (len(batches[-1]) + 1) * size > BATCH_PIECES * 2:
            batches.append([])
        batches[-1].append(i)
    for batch in tqdm(batches, desc=f"reading, {frame}"):
        rows = []
        for i in batch:
            pieces = encoded[i].ids
            copy = [] if between is None else [*middle, *pieces]
            rows.append([*first_ids, *pieces, *copy])
        states = _forward(llm, rows, unmasked=between is None)
        for row, i in zip(states, batch, strict=True):
            n = len(encoded[i].ids)
            first = row[len(first_ids) :][:n]
            counts = first if between is None else row[len(first_ids) + n + len(middle) :][:n]
            boundaries = [(token.idx, token.idx + len(token)) for token in docs[i]]
            place = align(docs[i].text, encoded[i].offsets, boundaries)
            out = result[:, starts[i] : starts[i + 1]]
            for t in np.flatnonzero(place.touched):
                a, b = place.first[t], place.last[t]
                out[0, t], out[1, t] = counts[b], counts[a]
                out[2, t] = counts[a : b + 1].mean(axis=0)
                out[3, t] = first[b] if between is not None else 0
    return result


def _forward(llm: FrozenLLM, rows: list[list[int]], unmasked: bool) -> list[np.ndarray]:
    """Unit-variance states of each row: (pieces, layers, width)."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    if unmasked:  # a mask with four dimensions replaces the causal mask
        lowest = torch.finfo(torch.float32).min
        mask = (1 - mask)[:, None, None].expand(-1, 1, longest, -1).float() * lowest
    states = llm.model.hidden_states(ids, mask, LAYERS).float()
    states = states * torch.rsqrt(states.square().mean(dim=-1, keepdim=True) + 1e-6)
    return [state[: len(row)].numpy() for state, row in zip(states, rows, strict=True)]
