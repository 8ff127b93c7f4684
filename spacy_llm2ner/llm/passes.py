"""One pass of the LLM over many texts: windows -> length-sorted batches -> token states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from tqdm import tqdm

from .alignment import PIECES, PoolingPlan, align, plan_pieces, plan_pooling
from .windows import Windows, cut_windows

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from .frozen import FrozenLLM
    from .reading import Reading

_LARGEST_FLOAT16 = 65504.0


@dataclass
class Text:
    """A text on its way: its pieces, how they become token states, and the states so far."""

    tokens: int  # or pieces, if there is no pooling
    pieces: list[int]
    windows: Windows
    plan: PoolingPlan
    left: int  # windows not read yet
    states: torch.Tensor | None = None  # float16 (tokens * slots, layers, width of one piece)
    units: np.ndarray | None = None  # int (rows, 2): the tokens of each row, if these are others


@dataclass(frozen=True)
class Row:
    """A window of a text, framed: one row of a batch."""

    text: int
    window: int
    length: int


def read_texts(
    llm: FrozenLLM, texts: Sequence[tuple[str, list[tuple[int, int]]]]
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Run the LLM over texts, with a progress bar if it takes more than a few seconds.

    llm (FrozenLLM): The LLM and its settings.
    texts (Sequence): (text, token boundaries) for each text; at least one token each.
    YIELDS (List[Tuple[int, ndarray]]): After each forward pass, the texts that are complete:
        (index in `texts`, float16 (tokens, layers, width)). Every text comes exactly once.
    """
    prepared = _prepare(llm, texts)
    rows = rows_of(llm.reading, prepared)
    total = sum(row.length for row in rows)
    finished = [index for index, text in enumerate(prepared) if text.left == 0]
    if finished:
        yield [(index, _finish(llm, prepared[index])) for index in finished]
    name = llm.settings.name.rstrip("/").split("/")[-1]
    with tqdm(
        total=total,
        desc=f"{name} reads {len(texts):,} texts",
        unit=" pieces",
        unit_scale=True,
        delay=3.0,
        leave=False,
        disable=None,  # no bar in files and pipes
    ) as bar:
        for batch in batches_of(rows, llm.settings.batch_pieces):
            for part in _forward(llm, prepared, batch):
                bar.update(sum(row.length for row in part))
            finished = sorted({row.text for row in batch if prepared[row.text].left == 0})
            if finished:
                yield [(index, _finish(llm, prepared[index])) for index in finished]


def _prepare(llm: FrozenLLM, texts: Sequence[tuple[str, list[tuple[int, int]]]]) -> list[Text]:
    left_only = llm.model.is_causal and llm.reading.copies == 1
    cut = Cut(llm.window, llm.stride, "left" if left_only else "center")
    return prepare(llm.tokenizer, texts, cut, llm.settings.pooling)


@dataclass(frozen=True)
class Cut:
    """How long texts are cut: see `windows.cut_windows`."""

    window: int
    stride: int
    prefer: Literal["left", "center"]


def prepare(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[tuple[str, list[tuple[int, int]]]],
    cut: Cut,
    pooling: str,
) -> list[Text]:
    """Cut texts into pieces and these into windows, and say how pieces become token states.

    tokenizer (PreTrainedTokenizerBase): As `load_tokenizer` gives it.
    texts (Sequence): (text, token boundaries) for each text.
    cut (Cut): How long texts are cut.
    pooling (str): See `alignment.plan_pooling`.
    """
    # The library's own tokenizer, as `load_tokenizer` has set it: no thread changes it here.
    encoded = tokenizer.backend_tokenizer.encode_batch(
        [text for text, _ in texts], add_special_tokens=False
    )
    prepared = []
    for (text, boundaries), encoding in zip(texts, encoded, strict=True):
        n_pieces = len(encoding.ids)
        if pooling == PIECES:
            prepared.append(planned(n_pieces, encoding.ids, plan_pieces(n_pieces), cut))
            continue
        alignment = align(text, encoding.offsets, boundaries)
        plan = plan_pooling(alignment, pooling)
        prepared.append(planned(len(boundaries), encoding.ids, plan, cut))
    return prepared


def planned(tokens: int, pieces: list[int], plan: PoolingPlan, cut: Cut) -> Text:
    """A text of so many tokens, whose states are made of its pieces as `plan` says."""
    windows = cut_windows(len(pieces), cut.window, cut.stride, cut.prefer)
    return Text(tokens, pieces, windows, plan, len(windows.starts))


def rows_of(reading: Reading, prepared: Sequence[Text]) -> list[Row]:
    """The rows of a pass over texts, longest first."""
    rows = [
        Row(index, window, reading.overhead + reading.copies * int(end - start))
        for index, text in enumerate(prepared)
        for window, (start, end) in enumerate(
            zip(text.windows.starts, text.windows.ends, strict=True)
        )
    ]
    # Long texts first, all windows of a text together: little padding, little held in memory.
    return sorted(rows, key=lambda row: (-row.length, row.text, row.window))


def batches_of(rows: Sequence[Row], batch_pieces: int) -> Iterator[list[Row]]:
    """Consecutive rows whose padded size stays within the budget."""
    batch: list[Row] = []
    for row in rows:
        # Rows come by falling length, so the first one says how wide the batch is.
        if batch and (len(batch) + 1) * batch[0].length > batch_pieces:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _forward(
    llm: FrozenLLM, prepared: Sequence[Text], batch: Sequence[Row]
) -> Iterator[Sequence[Row]]:
    """Run a batch and add its states to their texts; in halves if the GPU's memory is too small."""
    import torch

    try:
        states = _run(llm, prepared, batch)
    except torch.cuda.OutOfMemoryError as error:
        if len(batch) == 1:
            raise torch.cuda.OutOfMemoryError(
                f"llm2ner: the GPU's memory is too small for even one window of "
                f"{batch[0].length:,} pieces. Set 'window' of the LLM lower, or 'dtype' to a "
                f"smaller type, or 'device' to 'cpu'. ({error})"
            ) from error
        states = None
    if states is None:  # only here, behind the handler, is the failed pass out of memory
        torch.cuda.empty_cache()
        middle = len(batch) // 2
        yield from _forward(llm, prepared, batch[:middle])
        yield from _forward(llm, prepared, batch[middle:])
        return
    for row, row_states in zip(batch, states, strict=True):
        _add_window(llm, prepared[row.text], row.window, row_states)
    yield batch


def _run(llm: FrozenLLM, prepared: Sequence[Text], batch: Sequence[Row]) -> torch.Tensor:
    ids, mask = pad_rows(llm.reading, prepared, batch, llm.model.spec.device)
    return llm.model.hidden_states(ids, mask, llm.layers)


def pad_rows(
    reading: Reading, prepared: Sequence[Text], batch: Sequence[Row], device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Piece ids and attention mask of a batch: two LongTensors (rows, pieces), padded right."""
    import torch

    longest = max(row.length for row in batch)
    # What stands in the padding is masked and never read; 0 is a piece of every vocabulary.
    ids = np.zeros((len(batch), longest), dtype=np.int64)
    mask = np.zeros((len(batch), longest), dtype=np.int64)
    for i, row in enumerate(batch):
        text = prepared[row.text]
        start, end = text.windows.starts[row.window], text.windows.ends[row.window]
        ids[i, : row.length] = reading.frame(text.pieces[start:end])
        mask[i, : row.length] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def owned(reading: Reading, text: Text, window: int) -> tuple[np.ndarray, np.ndarray]:
    """What a window gives to its text's token states.

    RETURNS (Tuple[ndarray, ndarray]): Rows of the text's plan; the places of their pieces in the
        window's framed row.
    """
    start, end = text.windows.starts[window], text.windows.ends[window]
    own = np.flatnonzero(text.windows.owner[text.plan.piece] == window)
    return own, reading.first(int(end - start)) + text.plan.piece[own] - start


def _add_window(llm: FrozenLLM, text: Text, window: int, row_states: torch.Tensor) -> None:
    """Add what a window owns to its text's token states.

    row_states (FloatTensor): (padded pieces, layers, width).
    """
    import torch

    plan = text.plan
    own, positions = owned(llm.reading, text, window)
    picked = row_states[torch.from_numpy(positions).to(row_states.device)].float()
    if not bool(torch.isfinite(picked).all()):
        raise ValueError(
            f"llm2ner: with dtype '{llm.settings.dtype}' the states of the LLM "
            f"{llm.settings.name} are not finite (overflow, or damaged weights). "
            f"Set 'dtype' to 'bfloat16' or 'float32'."
        )
    if llm.settings.normalize:
        picked = picked * torch.rsqrt(picked.square().mean(dim=-1, keepdim=True) + 1e-6)
    weighted = picked.cpu() * torch.from_numpy(plan.weight[own])[:, None, None]
    if text.states is None:
        text.states = torch.zeros(text.tokens * plan.slots, *picked.shape[1:], dtype=torch.float16)
    # Summed in float32; only what a token gets from another window is added in float16.
    places, which = np.unique(plan.token[own] * plan.slots + plan.slot[own], return_inverse=True)
    sums = weighted.new_zeros(len(places), *picked.shape[1:])
    sums.index_add_(0, torch.from_numpy(which), weighted)
    sums = sums.clamp(-_LARGEST_FLOAT16, _LARGEST_FLOAT16).half()
    text.states.index_add_(0, torch.from_numpy(places), sums)
    text.left -= 1


def _finish(llm: FrozenLLM, text: Text) -> np.ndarray:
    n_layers = len(llm.layers)
    if text.states is None:
        return np.zeros((text.tokens, n_layers, llm.width), dtype=np.float16)
    by_slot = text.states.view(text.tokens, text.plan.slots, n_layers, -1)
    text.states, text.pieces = None, []
    return by_slot.transpose(1, 2).reshape(text.tokens, n_layers, -1).numpy()
