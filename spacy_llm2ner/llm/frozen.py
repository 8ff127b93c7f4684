"""FrozenLLM: docs -> hidden states. The only door that the rest of the package uses."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.attrs import IDX, LENGTH
from spacy.tokens import Doc
from thinc.api import get_torch_default_device

from .frozen_settings import FrozenLLMSettings
from .reading import Reading, make_reading
from .source import identity, resolve, write_identity
from .store import StateStore, state_key
from .windows import check_window

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from .loading import LoadedLLM, LoadSpec

# A text and the character ranges of its tokens.
_TextAndTokens = tuple[str, list[tuple[int, int]]]
# Changes when the meaning of remembered states changes, so that old stores miss.
_FORMAT = 1
_DEFAULT_WINDOW = 512
_DEFAULT_LAYERS = (0.27, 0.4, 0.53, 0.67)
# RoBERTa and its kin: the first position is pad_token_id + 1, so that a table of 514 holds 512.
# fmt: off
_POSITIONS_AFTER_PAD = {
    "camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}
# fmt: on

# Two components of a pipeline that read the same LLM in the same way share one pass per text.
_recent = StateStore(ram_mb=128)
# Where states are remembered while training if the config names no store.
_training = StateStore(ram_mb=2048)


class FrozenLLM:
    """Reads texts with a pretrained LLM that is never changed.

    Cheap to make: the configuration, the tokenizer and the model are each loaded when first needed.
    A text's states are a pure function of the text, its token boundaries and the fingerprint.

    settings (FrozenLLMSettings): What to read and how.
    store (Optional[StateStore]): Where states are remembered while training.
    """

    def __init__(self, settings: FrozenLLMSettings, store: StateStore | None = None) -> None:
        self.settings = settings
        self.store = store
        self.remembering = store is not None and store.serve
        # For the log: different texts asked for, texts read, seconds that the LLM took for them.
        self.texts_asked, self.texts_read, self.seconds = 0, 0, 0.0
        self._bundle: Path | None = None
        self._forget_lazy()

    def _forget_lazy(self) -> None:
        self._folder: Path | None = None
        self._config: PretrainedConfig | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._reading: Reading | None = None
        self._fingerprint: str | None = None
        self._loaded: LoadedLLM | None = None

    def __getstate__(self) -> dict[str, Any]:
        lazy = ("_folder", "_config", "_tokenizer", "_reading", "_fingerprint", "_loaded")
        return {key: value for key, value in vars(self).items() if key not in lazy}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget_lazy()

    # What it is -------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The local folder of the model."""
        if self._folder is None:
            chosen = self.settings
            self._folder = self._bundle or resolve(
                chosen.name,
                revision=chosen.revision,
                trust_remote_code=chosen.trust_remote_code,
            )
        return self._folder

    @property
    def config(self) -> PretrainedConfig:
        """The model's configuration, uncut."""
        if self._config is None:
            from .loading import load_config

            self._config = load_config(
                self.folder, trust_remote_code=self.settings.trust_remote_code
            )
        return self._config

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's fast tokenizer."""
        if self._tokenizer is None:
            from .loading import load_tokenizer

            self._tokenizer = load_tokenizer(
                self.folder, trust_remote_code=self.settings.trust_remote_code
            )
        return self._tokenizer

    @property
    def reading(self) -> Reading:
        """The frame of special pieces and copies around a text."""
        if self._reading is None:
            self._reading = make_reading(
                self.settings.reading,
                self.tokenizer,
                needs_prefix=not self.config.is_encoder_decoder,
            )
        return self._reading

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose states are given, in order."""
        if self.settings.layers is not None:
            return self.settings.layers
        total = self.config.num_hidden_layers
        return tuple(sorted({max(1, round(share * total)) for share in _DEFAULT_LAYERS}))

    @property
    def width(self) -> int:
        """The size of a token's state in one layer."""
        slots = 2 if self.settings.pooling == "first+last" else 1
        return int(self.config.hidden_size) * slots

    @property
    def window(self) -> int:
        """The longest window, in pieces of the text (not counting copies and special pieces).

        RAISES: ValueError if the setting is larger than what the model has positions for.
        """
        limit = self._max_positions()
        most = None if limit is None else (limit - self.reading.overhead) // self.reading.copies
        if most is not None and most < 1:
            raise ValueError(
                f"llm2ner: the LLM {self.settings.name} has {limit} positions: too few for even "
                f"one piece of text with reading '{self.settings.reading}'."
            )
        if self.settings.window is None:
            return _DEFAULT_WINDOW if most is None else min(_DEFAULT_WINDOW, most)
        if most is not None and self.settings.window > most:
            raise ValueError(
                f"llm2ner: the setting 'window' of the LLM is {self.settings.window} pieces, but "
                f"with reading '{self.settings.reading}' the LLM {self.settings.name} has "
                f"positions for {most} ({limit} in all). Give at most that, or null."
            )
        return self.settings.window

    @property
    def stride(self) -> int:
        """The distance of window starts, in pieces."""
        if self.settings.stride is not None:
            check_window(self.window, self.settings.stride)
            return self.settings.stride
        return max(1, self.window // 2)

    def _max_positions(self) -> int | None:
        """The most pieces of one row, None if the model sets no limit."""
        limit = getattr(self.config, "max_position_embeddings", None)
        if limit is None or limit < 1:
            return None
        if self.config.model_type in _POSITIONS_AFTER_PAD:
            limit -= (self.config.pad_token_id or 0) + 1
        return min(limit, self.tokenizer.model_max_length)

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that the states depend on, beside the text."""
        return {
            **identity(self.folder),
            "layers": list(self.layers),
            "reading": self.settings.reading,
            "frame": self.reading.frame([]),  # the special pieces around a text
            "window": self.window,
            "stride": self.stride,
            "pooling": self.settings.pooling,
            "normalize": self.settings.normalize,
            "dtype": self.settings.dtype,
            "format": _FORMAT,
        }

    @property
    def fingerprint(self) -> str:
        """sha256 over `identity`, as hex digits."""
        if self._fingerprint is None:
            text = json.dumps(self.identity, sort_keys=True)
            self._fingerprint = hashlib.sha256(text.encode("utf8")).hexdigest()
        return self._fingerprint

    @property
    def spec(self) -> LoadSpec:
        """What must be equal for two components to share one model in memory."""
        from .loading import LoadSpec

        device = self.settings.device or str(get_torch_default_device())
        chosen = self.settings
        return LoadSpec(
            self.folder.resolve(), chosen.dtype, device, chosen.attention, chosen.trust_remote_code
        )

    @property
    def model(self) -> LoadedLLM:
        """The cut model, loaded on first use.

        RAISES: ValueError if it cannot be loaded, or has too few blocks for the setting 'layers'.
        """
        if self._loaded is None:
            from .loading import load

            self._loaded = load(self.spec, max(*self.layers, 1))
        return self._loaded

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._loaded is not None

    # What it does -----------------------------------------------------------------------------

    def states(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """The states of each doc's tokens, remembered or read.

        docs (Sequence[Doc]): Any docs; the text is `doc.text`, character for character.
        RETURNS (List[ndarray]): For each doc, float16 (tokens, layers, width), read-only. Zeros for
            white space and for tokens that no piece of the LLM touches.
        """
        store = self._store()
        keys, texts = self._addressed(docs)
        self.texts_asked += len(texts)
        found = self._without_tokens(texts)
        missing = {}
        for key, text in texts.items():
            if key in found:
                continue
            remembered = store.get(key)
            if remembered is None:
                missing[key] = text
            else:
                found[key] = remembered
        for done in self._read(missing):
            store.put_many(done)
            found.update(done)
        return [found[key] for key in keys]

    def _addressed(self, docs: Sequence[Doc]) -> tuple[list[bytes], dict[bytes, _TextAndTokens]]:
        """The address of each doc's states, and what is to be read there: equal docs once."""
        texts = [(doc.text, token_boundaries(doc)) for doc in docs]
        keys = [state_key(self.fingerprint, text, boundaries) for text, boundaries in texts]
        return keys, dict(zip(keys, texts, strict=True))

    def _without_tokens(self, texts: dict[bytes, _TextAndTokens]) -> dict[bytes, np.ndarray]:
        nothing = np.zeros((0, len(self.layers), self.width), dtype=np.float16)
        nothing.flags.writeable = False
        return {key: nothing for key, (_, boundaries) in texts.items() if not boundaries}

    def _read(self, texts: dict[bytes, _TextAndTokens]) -> Iterator[list[tuple[bytes, np.ndarray]]]:
        if texts:
            from .passes import read_texts

            keys = list(texts)
            self.texts_read += len(keys)
            started = time.perf_counter()
            for done in read_texts(self, list(texts.values())):
                batch = []
                for index, states in done:
                    states.flags.writeable = False
                    batch.append((keys[index], states))
                self.seconds += time.perf_counter() - started
                yield batch
                started = time.perf_counter()

    def read(self, docs: Sequence[Doc]) -> list[np.ndarray]:
        """The states of each doc's tokens, read anew: no memory is asked, and none is filled.

        docs (Sequence[Doc]): Any docs. Equal ones are read once.
        RETURNS (List[ndarray]): As `states`.
        """
        keys, texts = self._addressed(docs)
        found = self._without_tokens(texts)
        for done in self._read({key: text for key, text in texts.items() if key not in found}):
            found.update(done)
        return [found[key] for key in keys]

    def remember(self, on: bool = True) -> None:
        """From now on, keep states in the store: a training, an evaluation or a search runs.

        on (bool): False: no longer, unless the store serves loaded pipelines too.
        """
        self.remembering = on or (self.store is not None and self.store.serve)

    def _store(self) -> StateStore:
        if not self.remembering:
            return _recent
        return self.store if self.store is not None else _training

    def has_room(self) -> bool:
        """Whether reading ahead pays: what is read now will still be remembered later."""
        store = self._store()
        return store.path is not None or store.bytes_in_ram < 0.9 * store.ram_mb * 2**20

    def tokens_at_once(self) -> int:
        """Tokens whose states fill half of the memory of recent texts, which components share."""
        return max(1, int(_recent.ram_mb * 2**19) // (2 * len(self.layers) * self.width))

    def summary(self) -> str:
        """One line for the log: how many texts were remembered, how many the LLM read."""
        return self._store().summary()

    # Going along with a pipeline --------------------------------------------------------------

    def save_bundle(self, folder: Path) -> None:
        """Write the cut model and its tokenizer, so that a pipeline can carry its LLM along."""
        from .loading import save_tokenizer

        folder.mkdir(parents=True, exist_ok=True)
        self.model.save(folder, max(*self.layers, 1))
        save_tokenizer(self.tokenizer, folder)
        write_identity(folder, identity(self.folder))

    def use_bundle(self, folder: Path) -> None:
        """Read the model from a folder that `save_bundle` wrote, whatever `name` says."""
        self._bundle = folder
        self._forget_lazy()


def token_boundaries(doc: Doc) -> list[tuple[int, int]]:
    """Character ranges (start, end) of a doc's tokens."""
    array = doc.to_array([IDX, LENGTH]).astype(np.int64).reshape(-1, 2)
    return list(zip(array[:, 0].tolist(), array.sum(axis=1).tolist(), strict=True))
