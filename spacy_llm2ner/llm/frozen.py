"""FrozenLLM: docs -> hidden states. The entry point to a frozen LLM for the whole package."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from spacy.tokens import Doc

from ..compat import save_tokenizer
from ..errors import Warnings
from .alignment import PIECES, token_boundaries, without_blanks
from .bundle import ORIGINAL, copy_bundle
from .checkpoint import Checkpoint, attention_reach, is_bundle, write_identity
from .extraction import Extraction, FrozenLLMSettings
from .loading import LoadedLLM, load
from .passes import Text, prepare, read_slices, read_texts
from .recent import Reader, RecentStates
from .store import Origin, StateStore, state_key

# A text and the character ranges of its tokens.
_TextAndTokens = tuple[str, list[tuple[int, int]]]

# Tokens of texts that are read at once, at least. Padding adds 3 % to the pieces of 4,096 tokens of
# sentences; with 1,024 tokens it adds 6 %, with 14,000 it adds 1 % (benchmarks/NOTES.md).
TOKENS_AHEAD = 4096
# Two components of a pipeline that read the same LLM in the same way share one pass per text.
_recent = RecentStates(ram_mb=128)
# Where states are remembered while training if the config names no store.
_training = StateStore(ram_mb=2048)


class FrozenLLM(Extraction):
    """Reads texts with a pretrained LLM whose weights never change.

    Cheap to construct: configuration, tokenizer and model are each loaded on first use.
    A text's states are a pure function of the text, its token boundaries and the fingerprint.

    settings (FrozenLLMSettings): What to read and how.
    store (Optional[StateStore]): Where states are remembered while training.
    """

    def __init__(self, settings: FrozenLLMSettings, store: StateStore | None = None) -> None:
        super().__init__(settings)
        self.store = store
        self.remembering = store is not None and store.serve
        # For the log: different texts asked for, texts read, seconds that the LLM took for them.
        self.texts_asked, self.texts_read, self.seconds = 0, 0, 0.0
        self._loaded: LoadedLLM | None = None
        self._warned = False
        self._reader = Reader()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_loaded": None}

    @property
    def model(self) -> LoadedLLM:
        """The cut model, loaded on first use.

        RAISES (ValueError): If it cannot be loaded, or has too few blocks for the setting 'layers'.
        """
        if self._loaded is None:
            self._loaded = load(self.spec, self.depth)
        return self._loaded

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._loaded is not None

    # States -----------------------------------------------------------------------------------

    def states(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """The states of each doc's tokens, from the store or from the LLM.

        Without a store, a component that shares the LLM may have read the texts just before. The
        same text is never answered twice without the LLM.

        docs (Sequence[Doc]): Any docs; the text is `doc.text`, character for character.
        RETURNS (List[ndarray]): For each doc, float16 (tokens, layers, width), read-only. Zeros for
            blank tokens (see `alignment.is_blank`) and for those that no piece of the LLM touches.
        """
        keys, texts = self._addressed(docs)
        self.texts_asked += len(texts)
        found = self._without_tokens(texts)
        missing = {}
        for key, text in texts.items():
            if key in found:
                continue
            remembered = self._recall(key)
            if remembered is None:
                missing[key] = text
            else:
                found[key] = self._as_read_now(remembered, text)
        if self.remembering and len(missing) < len(texts):
            self._memory.note_use(self._origin)
        for done in self._read(missing):
            self._keep(done)
            found.update(done)
        return [found[key] for key in keys]

    def state_slices(self, doc: Doc) -> Iterator[np.ndarray]:
        """The states of one doc's tokens, a part at a time.

        Of a doc whose states exceed the memory of recent texts, they are computed window by window
        and not kept, so that memory does not grow with the doc; unless they are remembered, which
        needs them as a whole. They are the same as those of `states`.

        doc (Doc): The doc.
        YIELDS (ndarray): Consecutive parts of the result of `states`: (some tokens, layers, width).
        """
        if self.remembering or len(doc) <= self.tokens_at_once():
            yield self.states([doc])[0]
            return
        self.texts_asked += 1
        self.texts_read += 1
        (prepared,) = self._prepare([(doc.text, token_boundaries(doc))])
        parts = read_slices(
            self.model,
            prepared,
            self.reading,
            layers=self.layers,
            normalize=self.settings.normalize,
            batch_pieces=self.batch_pieces,
            name=self.settings.name,
        )
        started = time.perf_counter()
        for part in parts:
            self.seconds += time.perf_counter() - started
            yield part
            started = time.perf_counter()

    def read(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """The states of each doc's tokens, computed by the LLM without using any store.

        docs (Sequence[Doc]): Any docs. Equal ones are read once.
        RETURNS (List[ndarray]): As `states`.
        """
        keys, texts = self._addressed(docs)
        found = self._without_tokens(texts)
        for done in self._read({key: text for key, text in texts.items() if key not in found}):
            found.update(done)
        return [found[key] for key in keys]

    def _addressed(self, docs: Sequence[Doc]) -> tuple[list[bytes], dict[bytes, _TextAndTokens]]:
        """The store key of each doc, and the text and tokens by key: equal docs once."""
        texts = [(doc.text, token_boundaries(doc)) for doc in docs]
        keys = [state_key(self.fingerprint, text, boundaries) for text, boundaries in texts]
        return keys, dict(zip(keys, texts, strict=True))

    def _without_tokens(self, texts: dict[bytes, _TextAndTokens]) -> dict[bytes, np.ndarray]:
        nothing = np.zeros((0, len(self.layers), self.width), dtype=np.float16)
        nothing.flags.writeable = False
        return {key: nothing for key, (_, boundaries) in texts.items() if not boundaries}

    def _as_read_now(self, states: np.ndarray, text: _TextAndTokens) -> np.ndarray:
        """Remembered states, as this version computes them."""
        return states if self.settings.pooling == PIECES else without_blanks(states, *text)

    def _read(self, texts: dict[bytes, _TextAndTokens]) -> Iterator[list[tuple[bytes, np.ndarray]]]:
        """Run the LLM over texts; yield, after each pass, the states of completed texts."""
        if not texts:
            return
        keys = list(texts)
        self.texts_read += len(keys)
        started = time.perf_counter()
        passes = read_texts(
            self.model,
            self._prepare(list(texts.values())),
            self.reading,
            layers=self.layers,
            normalize=self.settings.normalize,
            batch_pieces=self.batch_pieces,
            name=self.settings.name,
        )
        for done in passes:
            batch = []
            for index, states in done:
                states.flags.writeable = False
                batch.append((keys[index], states))
            self.seconds += time.perf_counter() - started
            yield batch
            started = time.perf_counter()

    def _prepare(self, texts: Sequence[_TextAndTokens]) -> list[Text]:
        cut = self.cut(is_causal=self.model.is_causal)
        prepared = prepare(self.tokenizer, texts, cut, self.settings.pooling, self.spec.device)
        self._warn_of_reach(max((len(text.pieces) for text in prepared), default=0))
        return prepared

    def _warn_of_reach(self, pieces: int) -> None:
        """Warn of windows in which a second copy does not see all of the first one."""
        reach = attention_reach(self.config, self.depth)
        read = min(pieces, self.window)
        if self._warned or reach is None or self.reading.copies == 1 or read <= reach:
            return
        self._warned = True
        warnings.warn(
            Warnings.W67.format(
                pieces=pieces,
                name=self.settings.name,
                window=self.window,
                reach=reach,
                most=max(1, reach - len(self.reading.separator)),
            ),
            stacklevel=2,
        )

    # Memory -----------------------------------------------------------------------------------

    def remember(self, on: bool = True) -> None:
        """Start keeping states in the store, for training, evaluation or a search.

        on (bool): False stops it, unless the store also serves loaded pipelines.
        """
        self.remembering = on or (self.store is not None and self.store.serve)

    @property
    def _memory(self) -> StateStore:
        """The store of everything that is remembered."""
        return self.store if self.store is not None else _training

    @property
    def _origin(self) -> Origin:
        layers = " ".join(map(str, self.layers))
        name, reading = self.settings.name.rstrip("/").split("/")[-1], self.settings.reading
        parts = [name, f"layers {layers}", reading, self.settings.pooling, self.dtype]
        return Origin(self.fingerprint, ", ".join(parts))

    def _recall(self, key: bytes) -> np.ndarray | None:
        return self._memory.get(key) if self.remembering else _recent.get(key, self._reader)

    def _keep(self, entries: list[tuple[bytes, np.ndarray]]) -> None:
        if self.remembering:
            self._memory.put_many(entries, self._origin)
        else:
            _recent.put_many(entries, self._reader)

    def has_room(self) -> bool:
        """Whether reading ahead pays: the store has room to keep the states until they are used."""
        store = self._memory
        return store.path is not None or store.bytes_in_ram < 0.9 * store.ram_mb * 2**20

    def tokens_at_once(self) -> int:
        """Tokens whose states fill half of the memory of recent texts, which components share."""
        return max(1, int(_recent.ram_mb * 2**19) // (2 * len(self.layers) * self.width))

    def tokens_ahead(self) -> int:
        """Tokens of texts to read at once, where memory allows: enough for several passes."""
        return max(TOKENS_AHEAD, self.batch_pieces)

    def summary(self) -> str:
        """One line for the log: how many texts were remembered, how many the LLM read."""
        return self._memory.summary()

    # Bundling with a pipeline -----------------------------------------------------------------

    def save_bundle(
        self, folder: Path, precision: str = ORIGINAL, *, depth: int | None = None
    ) -> None:
        """Write the cut model and its tokenizer, so that a pipeline can include its LLM.

        A bundle that is in use is copied as it is, unless another precision is asked for.

        folder (Path): The folder to write to.
        precision (str): "original": exactly; "float16"; "4bit".
        depth (Optional[int]): The number of blocks. None: those that `layers` needs.
        RAISES (ValueError): If the weights cannot be stored like that (E136, E137).
        """
        source = self.checkpoint.folder
        if precision == ORIGINAL and is_bundle(source):
            copy_bundle(source, folder)
            return
        folder.mkdir(parents=True, exist_ok=True)
        exact = self.model.save(folder, depth or self.depth, precision)
        save_tokenizer(self.tokenizer, folder)
        rounded = {} if exact else {"storage": precision}
        write_identity(folder, {**self.checkpoint.identity, **rounded})

    @property
    def bundle(self) -> Path | None:
        """The folder of the bundle that replaces `name`; None if none does."""
        return self.checkpoint.known_folder

    def use_bundle(self, folder: Path) -> None:
        """Read the model from a folder that `save_bundle` wrote, instead of from `name`."""
        chosen = self.settings
        self._use(
            Checkpoint(chosen.name, trust_remote_code=chosen.trust_remote_code, folder=folder)
        )
        self._loaded = None
