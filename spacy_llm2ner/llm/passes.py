"""Passes of the LLM over many texts: windows -> length-sorted batches -> token states."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ..batching import batches_by_length, least_padded
from ..compat import encode_all
from ..errors import Errors, Warnings
from .alignment import PIECES, PoolingPlan, align, plan_pieces, plan_pooling
from .windows import Cut, Windows, cut_windows

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from .loading import LoadedLLM
    from .reading import Reading

_LARGEST_FLOAT16 = 65504.0
# A pass costs, besides its pieces, as much as this part of a full batch: weights are read from
# memory, and kernels are started. See benchmarks/NOTES.md.
_OVERHEAD = 1 / 32
# Where transformers cuts off states itself (T5 and others in float16).
_LIMIT_FLOAT16 = _LARGEST_FLOAT16 - 1000


@dataclass
class Text:
    """A text during reading: its pieces, the pooling plan, and the token states so far."""

    tokens: int  # or pieces, if there is no pooling
    pieces: list[int]
    windows: Windows
    plan: PoolingPlan
    left: int  # windows not read yet
    states: torch.Tensor | None = None  # float16 (tokens * slots, layers, width of one piece)
    units: np.ndarray | None = None  # int (rows, 2): the tokens of each row, where rows are others
    first: int = 0  # first token in `states`; tokens before it were handed out (`read_slices`)

    @cached_property
    def owners(self) -> np.ndarray:
        """The window that each row of the plan comes from, int64 (rows,)."""
        return self.windows.owner[self.plan.piece]

    def rows_from(self, window: int) -> np.ndarray:
        """The rows of the plan that come from a window, in order, int64."""
        order, ends = self._by_window
        return order[ends[window] : ends[window + 1]]

    @cached_property
    def _by_window(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.owners, kind="stable")
        windows = np.arange(len(self.windows.starts) + 1)
        return order, np.searchsorted(self.owners[order], windows)


@dataclass(frozen=True)
class Row:
    """A window of a text, framed: one row of a batch."""

    text: int
    window: int
    length: int


# Preparing texts --------------------------------------------------------------------------


def prepare(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[tuple[str, list[tuple[int, int]]]],
    cut: Cut,
    pooling: str,
    device: str,
) -> list[Text]:
    """Split texts into pieces, cut these into windows, and plan the pooling to token states.

    tokenizer (PreTrainedTokenizerBase): As `load_tokenizer` gives it.
    texts (Sequence): (text, token boundaries) for each text.
    cut (Cut): The way long texts are cut.
    pooling (str): See `alignment.plan_pooling`.
    device (str): The LLM's torch device.
    """
    encoded = encode_all(tokenizer.backend_tokenizer, [text for text, _ in texts], device=device)
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
    """A text cut into windows, with its pooling plan."""
    windows = cut_windows(len(pieces), cut.window, cut.stride, cut.prefer)
    return Text(tokens, pieces, windows, plan, len(windows.starts))


# Batches ----------------------------------------------------------------------------------


def rows_of(reading: Reading, prepared: Sequence[Text]) -> list[Row]:
    """The rows of a pass over texts, longest first."""
    rows = [
        Row(index, window, reading.overhead + reading.copies * int(end - start))
        for index, text in enumerate(prepared)
        for window, (start, end) in enumerate(
            zip(text.windows.starts, text.windows.ends, strict=True)
        )
    ]
    # Long texts first, all windows of a text together: little padding, few unfinished texts.
    return sorted(rows, key=lambda row: (-row.length, row.text, row.window))


def batches_of(rows: Sequence[Row], batch_pieces: int) -> Iterator[list[Row]]:
    """Batches of rows whose padded size stays within the budget, the longest rows first."""
    for batch in batches_by_length([row.length for row in rows], batch_pieces):
        yield [rows[index] for index in batch]


def _little_padded(rows: Sequence[Row], batch_pieces: int) -> Iterator[list[Row]]:
    """Batches of rows within the budget, for passes without gradients: with little padding."""
    overhead = max(1, round(_OVERHEAD * batch_pieces))
    for batch in least_padded([row.length for row in rows], batch_pieces, overhead):
        yield [rows[index] for index in batch]


def pad_rows(
    reading: Reading, prepared: Sequence[Text], batch: Sequence[Row], device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Piece ids and attention mask of a batch: two LongTensors (rows, pieces), padded right."""
    import torch

    longest = max(row.length for row in batch)
    # Padding is masked and its states are not used; 0 is a piece of every vocabulary.
    ids = np.zeros((len(batch), longest), dtype=np.int64)
    mask = np.zeros((len(batch), longest), dtype=np.int64)
    for i, row in enumerate(batch):
        text = prepared[row.text]
        start, end = text.windows.starts[row.window], text.windows.ends[row.window]
        ids[i, : row.length] = reading.frame(text.pieces[start:end])
        mask[i, : row.length] = 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def owned(reading: Reading, text: Text, window: int) -> tuple[np.ndarray, np.ndarray]:
    """The pieces that a window owns and that contribute to its text's token states.

    RETURNS (Tuple[ndarray, ndarray]): Rows of the text's plan; positions of their pieces in the
        window's framed row.
    """
    start, end = text.windows.starts[window], text.windows.ends[window]
    own = text.rows_from(window)
    return own, reading.first(int(end - start)) + text.plan.piece[own] - start


def normalized(states: torch.Tensor) -> torch.Tensor:
    """States divided by their root mean square, over the last dimension."""
    import torch

    return states * torch.rsqrt(states.square().mean(dim=-1, keepdim=True) + 1e-6)


# Running the LLM --------------------------------------------------------------------------


def read_texts(
    model: LoadedLLM,
    prepared: Sequence[Text],
    reading: Reading,
    *,
    layers: Sequence[int],
    normalize: bool,
    batch_pieces: int,
    name: str,
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Run a frozen LLM over texts, with a progress bar if it takes more than a few seconds.

    model (LoadedLLM): The LLM.
    prepared (Sequence[Text]): Output of `prepare` for the texts; consumed by this function.
    reading (Reading): The frame around each window.
    layers (Sequence[int]): The layers to read.
    normalize (bool): Divide each state by its root mean square.
    batch_pieces (int): Padded pieces in one forward pass.
    name (str): Name of the LLM in the progress bar and messages.
    YIELDS (List[Tuple[int, ndarray]]): After each forward pass, the completed texts:
        (index in `prepared`, float16 (tokens, layers, width)). Each text is yielded exactly once.
    """
    passes = _Passes(model, prepared, reading, layers, normalize, name)
    rows = rows_of(reading, prepared)
    finished = [index for index, text in enumerate(prepared) if text.left == 0]
    if finished:
        yield [(index, passes.finish(index)) for index in finished]
    with _progress(rows, name, f"{len(prepared):,} texts") as bar:
        for batch in _little_padded(rows, batch_pieces):
            for part in passes.read(batch):
                bar.update(sum(row.length for row in part))
            finished = sorted({row.text for row in batch if prepared[row.text].left == 0})
            if finished:
                yield [(index, passes.finish(index)) for index in finished]


def read_slices(
    model: LoadedLLM,
    text: Text,
    reading: Reading,
    *,
    layers: Sequence[int],
    normalize: bool,
    batch_pieces: int,
    name: str,
) -> Iterator[np.ndarray]:
    """Run a frozen LLM over one long text; of its states only those in work are in memory.

    text (Text): The text, prepared; consumed by this function. For the others see `read_texts`.
    YIELDS (ndarray): After each forward pass, the states of the tokens that it completed: float16
        (tokens, layers, width). Together the same as from `read_texts`.
    """
    passes = _Passes(model, [text], reading, layers, normalize, name)
    # The windows of a text are of one length, so that rows are in the order of windows.
    rows = rows_of(reading, [text])
    complete, begun = _progress_of_tokens(text)
    with _progress(rows, name, f"a text of {text.tokens:,} tokens") as bar:
        for batch in _little_padded(rows, batch_pieces):
            passes.make_room(text, int(begun[batch[-1].window]))
            for part in passes.read(batch):
                bar.update(sum(row.length for row in part))
            yield passes.take(text, int(complete[batch[-1].window]))
    passes.make_room(text, text.tokens)
    yield passes.take(text, text.tokens)  # a text without pieces, otherwise nothing


def _progress_of_tokens(text: Text) -> tuple[np.ndarray, np.ndarray]:
    """After each window: how many leading tokens are complete, and how many have been begun."""
    count = len(text.windows.starts)
    last = np.zeros(text.tokens, dtype=np.int64)
    np.maximum.at(last, text.plan.token, text.owners)
    complete = np.searchsorted(np.maximum.accumulate(last), np.arange(count), side="right")
    begun = np.zeros(count, dtype=np.int64)
    np.maximum.at(begun, text.owners, text.plan.token + 1)
    return complete, np.maximum(np.maximum.accumulate(begun), complete)


def _progress(rows: Sequence[Row], name: str, what: str) -> tqdm:
    """A progress bar for the pieces of rows."""
    return tqdm(
        total=sum(row.length for row in rows),
        desc=f"{name.rstrip('/').split('/')[-1]} reads {what}",
        unit=" pieces",
        unit_scale=True,
        delay=3.0,
        leave=False,
        disable=None,  # no bar in files and pipes
    )


@dataclass(frozen=True)
class _Passes:
    """Forward passes over one list of texts; arguments as for `read_texts`."""

    model: LoadedLLM
    prepared: Sequence[Text]
    reading: Reading
    layers: Sequence[int]
    normalize: bool
    name: str

    def read(self, batch: Sequence[Row]) -> Iterator[Sequence[Row]]:
        """Add the states of a batch to their texts; halve the batch if the GPU runs out of memory.

        YIELDS (Sequence[Row]): The rows of each forward pass.
        """
        import torch

        parts = [owned(self.reading, self.prepared[row.text], row.window) for row in batch]
        device = self.model.spec.device
        try:
            ids, mask = pad_rows(self.reading, self.prepared, batch, device)
            used = np.concatenate(
                [i * ids.shape[1] + positions for i, (_, positions) in enumerate(parts)]
            )
            states = self.model.hidden_states(
                ids, mask, self.layers, torch.from_numpy(used).to(device)
            )
        except torch.cuda.OutOfMemoryError as error:
            if len(batch) == 1:
                raise torch.cuda.OutOfMemoryError(
                    Errors.E125.format(pieces=batch[0].length, error=error)
                ) from error
            states = None
        if states is None:  # only here, after the handler, is the failed pass out of memory
            torch.cuda.empty_cache()
            middle = len(batch) // 2
            yield from self.read(batch[:middle])
            yield from self.read(batch[middle:])
            return
        self._add(batch, [own for own, _ in parts], states)
        yield batch

    def _add(
        self, batch: Sequence[Row], owned_rows: Sequence[np.ndarray], picked: torch.Tensor
    ) -> None:
        """Add the states of the pieces that windows own to the token states of their texts.

        owned_rows (Sequence[ndarray]): For each window the rows of its text's plan.
        picked (FloatTensor): The states of their pieces, (rows of all plans, layers, width).
        """
        import torch

        picked = picked.float()
        if not bool(torch.isfinite(picked).all()):
            raise ValueError(_overflow(self.model.spec.dtype, self.name))
        if self.model.spec.dtype == "float16":
            self._warn_of_limit(picked, "Set 'dtype' to 'bfloat16' or 'float32'.")
        if self.normalize:
            picked = normalized(picked)
        picked = picked.cpu()
        start = 0
        for row, own in zip(batch, owned_rows, strict=True):
            self._add_row(self.prepared[row.text], own, picked[start : start + len(own)])
            start += len(own)

    def _add_row(self, text: Text, own: np.ndarray, picked: torch.Tensor) -> None:
        """Add the states of the pieces that one window owns."""
        import torch

        plan = text.plan
        weighted = picked * torch.from_numpy(plan.weight[own])[:, None, None]
        self.make_room(text, text.tokens if text.states is None else 0)
        assert text.states is not None
        # Sums within a window are float32; only sums across windows are float16.
        places, which = np.unique(
            (plan.token[own] - text.first) * plan.slots + plan.slot[own], return_inverse=True
        )
        sums = weighted.new_zeros(len(places), *picked.shape[1:])
        sums.index_add_(0, torch.from_numpy(which), weighted)
        if not self.normalize:  # normalised states are small
            self._warn_of_limit(sums, "They are stored as float16: set 'normalize' to true.")
        sums = sums.clamp(-_LARGEST_FLOAT16, _LARGEST_FLOAT16).half()
        text.states.index_add_(0, torch.from_numpy(places), sums)
        text.left -= 1

    def make_room(self, text: Text, end: int) -> None:
        """Extend a text's states with zeros, up to the token before `end`."""
        import torch

        held = 0 if text.states is None else len(text.states) // text.plan.slots
        missing = end - text.first - held
        if text.states is not None and missing <= 0:
            return
        sizes = (max(0, missing) * text.plan.slots, len(self.layers), self._width)
        more = torch.zeros(sizes, dtype=torch.float16)
        text.states = more if text.states is None else torch.cat([text.states, more])

    def take(self, text: Text, end: int) -> np.ndarray:
        """Hand out the states of a text's tokens before `end`, and forget them."""
        assert text.states is not None
        rows = (end - text.first) * text.plan.slots
        part, text.states = text.states[:rows], text.states[rows:].clone()
        text.first = end
        return self._by_token(text, part)

    def _warn_of_limit(self, states: torch.Tensor, advice: str) -> None:
        """Warn of states that float16 cuts off, here or in the LLM."""
        if bool((states.abs() >= _LIMIT_FLOAT16).any()):
            warnings.warn(Warnings.W62.format(name=self.name, advice=advice), stacklevel=2)

    def finish(self, index: int) -> np.ndarray:
        """The states of a completely read text: float16 (tokens, layers, width)."""
        text = self.prepared[index]
        self.make_room(text, text.tokens)
        assert text.states is not None
        states, text.states, text.pieces = text.states, None, []
        return self._by_token(text, states)

    @property
    def _width(self) -> int:
        return int(self.model.model.config.hidden_size)

    def _by_token(self, text: Text, states: torch.Tensor) -> np.ndarray:
        """States by token and slot -> by token, the slots side by side."""
        by_slot = states.view(-1, text.plan.slots, len(self.layers), self._width)
        size = (by_slot.shape[0], by_slot.shape[2], by_slot.shape[1] * by_slot.shape[3])
        return by_slot.transpose(1, 2).reshape(size).numpy()


def _overflow(dtype: str, name: str) -> str:
    """The text of the error about states that are not finite; loading has checked the weights."""
    wider = {"float16": "'bfloat16' or 'float32'", "bfloat16": "'float32'"}
    if dtype in wider:
        return Errors.E126.format(dtype=dtype, name=name, wider=wider[dtype])
    return Errors.E144.format(dtype=dtype, name=name)
