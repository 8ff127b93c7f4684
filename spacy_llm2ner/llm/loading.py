"""A model folder -> a cut, frozen `transformers` model and its fast tokenizer, one per process.

"Cut": a head that reads layers 8, 12 and 16 of a model of 30 blocks needs 16 blocks. The others are
never read into memory, and neither is the LM head. The states are taken at the blocks themselves
(by hooks), and the pass ends at the highest block that is asked for: the final norm, which belongs
to the last layer only, is never in the way, and neither is the decoder behind an encoder.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from .cutting import (
    check_weights,
    cut_config,
    find_blocks,
    is_cuttable,
    needed_weights,
    nested_prefix,
    translate_rope,
)
from .source import weight_files

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_DTYPES = ("float32", "float16", "bfloat16")

_loaded: WeakValueDictionary[LoadSpec, LoadedLLM] = WeakValueDictionary()
_loading = threading.Lock()
_quiet = threading.RLock()


@dataclass(frozen=True)
class LoadSpec:
    """What two components must agree on to share one model in memory.

    folder (Path): The model folder.
    dtype (str): "float32", "float16" or "bfloat16": the precision of weights and computation.
    device (str): A torch device, e.g. "cpu" or "cuda:0".
    attention (Optional[str]): `attn_implementation` of transformers; None = its default.
    trust_remote_code (bool): Whether code that comes with the model may run.
    """

    folder: Path
    dtype: str
    device: str
    attention: str | None
    trust_remote_code: bool

    def __post_init__(self) -> None:
        if self.dtype not in _DTYPES:
            raise ValueError(
                f"llm2ner: the setting 'dtype' of the LLM is '{self.dtype}'; "
                f"accepted are {', '.join(_DTYPES)}."
            )


class _Enough(Exception):
    """No error: ends a pass when the highest layer that is asked for is there."""


class LoadedLLM:
    """A frozen model: evaluation mode, no gradients, first `depth` blocks only.

    Safe to use from several threads: one pass runs at a time.

    spec (LoadSpec): What was loaded.
    depth (int): The number of blocks that are needed. A model that cannot be cut has more.
    RAISES: ValueError, see `load`.
    """

    model: PreTrainedModel  # the cut base model, without LM head
    depth: int  # the number of blocks in memory
    blocks: torch.nn.ModuleList

    def __init__(self, spec: LoadSpec, depth: int) -> None:
        self.spec = spec
        self._lock = threading.Lock()
        self._causal: bool | None = None
        self._read(depth)

    def _read(self, depth: int) -> None:
        model = _read(self.spec, depth)
        depth = model.config.num_hidden_layers
        self.model, self.depth, self.blocks = model, depth, find_blocks(model, depth)

    def deepen(self, depth: int) -> None:
        """Have at least `depth` blocks in memory: the model is read again if it has fewer."""
        with self._lock:
            if depth > self.depth:
                self._read(depth)

    @property
    def is_causal(self) -> bool:
        """Whether a piece's states depend on earlier pieces only: tried out, not looked up."""
        if self._causal is None:
            self._causal = self._try_causal()
        return self._causal

    def _try_causal(self) -> bool:
        import torch

        # From the middle of the vocabulary: its ends are special, unused or padded with equal rows.
        size = int(self.model.config.vocab_size)
        a, b, c = size // 2, size // 3, size // 5
        device = self.spec.device
        # One row at a time: rows of one batch may be computed by different kernels.
        first, same, other = (
            self.hidden_states(
                torch.tensor([row], device=device),
                torch.ones(1, len(row), dtype=torch.long, device=device),
                [self.depth],
            )[:, :-1].float()
            for row in ([a, b, a, a], [a, b, a, a], [a, b, a, c])
        )
        noise = float((first - same).abs().max())  # 0 wherever kernels are deterministic
        return float((first - other).abs().max()) <= 4 * noise

    def hidden_states(
        self, ids: torch.Tensor, mask: torch.Tensor, layers: Sequence[int]
    ) -> torch.Tensor:
        """Run the model once, up to the highest layer asked for.

        ids (LongTensor): Piece ids, (batch, pieces), padded on the right.
        mask (LongTensor): 1 for pieces, 0 for padding, (batch, pieces).
        layers (Sequence[int]): Layers to return, in this order. Layer k = output of block k - 1,
            layer 0 = what enters the first block.
        RETURNS (FloatTensor): (batch, pieces, layers, width), in the model's dtype, on its device.
        RAISES: ValueError if the blocks' outputs are no states of the pieces.
        """
        import torch

        with self._lock, torch.inference_mode():
            return self.pass_states(ids, mask, layers)

    def pass_states(
        self, ids: torch.Tensor, mask: torch.Tensor, layers: Sequence[int]
    ) -> torch.Tensor:
        """As `hidden_states`, for a caller to whom alone this model belongs: with gradients."""
        import torch

        with self._recording(layers) as record, suppress(_Enough):
            self.model(input_ids=ids, attention_mask=mask)
        for layer in layers:
            shape = tuple(record[layer].shape) if layer in record else None
            if shape != (*ids.shape, self.model.config.hidden_size):
                raise self._unreadable(layer, shape, tuple(ids.shape))
        return torch.stack([record[layer] for layer in layers], dim=2)

    def _unreadable(self, layer: int, shape: Any, given: Any) -> ValueError:
        return ValueError(
            f"llm2ner: the architecture {type(self.model).__name__} of the LLM in "
            f"{self.spec.folder} cannot be read: for pieces of shape {given}, layer {layer} gives "
            f"{shape}, where (batch, pieces, {self.model.config.hidden_size}) is expected."
        )

    @contextmanager
    def _recording(self, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
        record: dict[int, torch.Tensor] = {}
        top = max(layers)

        def keep(layer: int, states: torch.Tensor) -> None:
            record[layer] = states
            if layer == top:
                raise _Enough

        def keep_input(_: Any, args: tuple, kwargs: dict) -> None:
            keep(0, args[0] if args else kwargs["hidden_states"])

        def keep_output(layer: int) -> Any:
            def hook(_: Any, __: Any, output: Any) -> None:
                keep(layer, output[0] if isinstance(output, tuple) else output)

            return hook

        handles = [
            self.blocks[layer - 1].register_forward_hook(keep_output(layer))
            for layer in {*layers} - {0}
        ]
        if 0 in layers:
            handles.append(self.blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True))
        try:
            yield record
        finally:
            for handle in handles:
                handle.remove()

    def save(self, folder: Path, depth: int) -> None:
        """Write the first `depth` blocks as an ordinary model folder (without tokenizer)."""
        model = self.model if depth >= self.depth else _read(self.spec, depth)
        model.save_pretrained(folder)


def load(spec: LoadSpec, depth: int) -> LoadedLLM:
    """The model of `spec` with at least `depth` blocks; shared with whoever else uses it.

    RAISES: ValueError if the model has fewer blocks, its architecture hides them, weights are
        missing, or the device is not there.
    """
    with _loading:
        known = _loaded.get(spec)
        if known is None:
            known = LoadedLLM(spec, depth)
            _loaded[spec] = known
            one_thread_after_fork()
        known.deepen(depth)
        return known


def load_config(folder: Path, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """The configuration of the model; of one for text and images, of its language model.

    RAISES: ValueError if `transformers` does not know the model, or there are no blocks in it.
    """
    from transformers import AutoConfig

    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(
                str(folder), trust_remote_code=trust_remote_code, local_files_only=True
            )
        except (ValueError, KeyError, OSError, ImportError) as error:
            raise not_loadable("configuration", folder, error) from error
    if hasattr(config, "num_decoder_layers"):
        # An encoder of the T5 kind, saved by itself, may say that it is none.
        config.is_encoder_decoder = True
    if not config.is_encoder_decoder:
        # Models for text and images keep the language model's settings one level down.
        config = config.get_text_config()
    translate_rope(config)
    for setting in ("num_hidden_layers", "hidden_size", "vocab_size"):
        if not isinstance(getattr(config, setting, None), int):
            raise ValueError(
                f"llm2ner: the config.json of the LLM in {folder} (model type "
                f"'{config.model_type}') states no '{setting}'. Language models with one row of "
                f"blocks, decoders or encoders, are supported."
            )
    return config


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The model's fast tokenizer, set to read any text as mere text, and all of it.

    Special pieces are only put around a text, never found in it: where a text says "</s>" or
    "[SEP]", these are characters like any others. (Except that a SentencePiece Unigram model, as of
    T5, has "</s>" among its ordinary pieces, where transformers cannot take it out.)

    RAISES: ValueError if there is none, or only a slow one, which gives no character offsets.
    """
    from transformers import AutoTokenizer

    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=trust_remote_code, local_files_only=True
            )
        except Exception as error:  # tokenizers raises bare Exceptions for broken files
            raise not_loadable("tokenizer", folder, error) from error
    if not tokenizer.is_fast:
        raise ValueError(
            f"llm2ner: the tokenizer of the LLM in {folder} is {type(tokenizer).__name__}, a slow "
            f"one, which gives no character offsets. A fast tokenizer (tokenizer.json) is needed."
        )
    # Set once and never again: changing a fast tokenizer while another thread uses it is an error.
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a fast tokenizer such that transformers 4 and 5 can both read it."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf8"))
    if settings.get("tokenizer_class") == "TokenizersBackend":  # transformers 5's name of the same
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf8")


def not_loadable(what: str, where: Path, error: Exception) -> ValueError:
    """What a user is told when transformers gives up on a model."""
    import transformers

    return ValueError(
        f"llm2ner: the {what} of the LLM in {where} cannot be loaded by transformers "
        f"{transformers.__version__}: {error or type(error).__name__}"
    )


def _read(spec: LoadSpec, depth: int) -> PreTrainedModel:
    import torch

    _check_device(spec.device)
    config = load_config(spec.folder, trust_remote_code=spec.trust_remote_code)
    if depth > config.num_hidden_layers:
        raise ValueError(
            f"llm2ner: the setting 'layers' asks for layer {depth}, but the LLM in {spec.folder} "
            f"has {config.num_hidden_layers} blocks (layers 0 to {config.num_hidden_layers})."
        )
    options: dict[str, Any] = {_dtype_argument(): getattr(torch, spec.dtype)}
    if spec.attention is not None:
        options["attn_implementation"] = spec.attention
    if is_cuttable(config):
        config = cut_config(config, depth)
    model, missing = _from_folder(spec, config, options)
    nested = needed_weights(config, missing) and nested_prefix(weight_files(spec.folder), missing)
    if nested:
        options["key_mapping"] = {f"^{re.escape(nested)}": ""}
        model, missing = _from_folder(spec, config, options)
    check_weights(spec.folder, config, missing)
    model.requires_grad_(False)
    return model.eval().to(spec.device)


def _from_folder(
    spec: LoadSpec, config: PretrainedConfig, options: dict[str, Any]
) -> tuple[Any, list[str]]:
    """The model, and the names of those of its weights that are not in the folder."""
    with quiet_transformers():
        try:
            model, info = _auto_class(config).from_pretrained(
                str(spec.folder),
                config=config,
                trust_remote_code=spec.trust_remote_code,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
        except (ValueError, KeyError, OSError, ImportError, RuntimeError) as error:
            raise not_loadable("model", spec.folder, error) from error
    return model, sorted(info["missing_keys"])


def _check_device(name: str) -> None:
    import torch

    try:
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("torch finds no CUDA device")
    except RuntimeError as error:
        raise ValueError(
            f"llm2ner: the setting 'device' of the LLM is '{name}': {error}. Accepted are torch "
            f"devices that this machine has, such as 'cpu' or 'cuda:0', and null."
        ) from error


def _dtype_argument() -> str:
    import transformers

    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    return "dtype" if (major, minor) >= (4, 56) else "torch_dtype"


def _auto_class(config: PretrainedConfig) -> Any:
    """Of T5 and its kin the encoder only; all others as their base model."""
    from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoModel, AutoModelForTextEncoding

    encoder_only = config.is_encoder_decoder and type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
    return AutoModelForTextEncoding if encoder_only else AutoModel


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide notices, e.g. that the cut blocks' weights are unused: that is what cutting means."""
    logger = logging.getLogger("transformers")
    with _quiet:  # two threads would each restore what the other has set
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


_fork_hook_set = False


def one_thread_after_fork() -> None:
    """Have forked workers use one torch thread: they would wait for ever for their parent's."""
    global _fork_hook_set
    if not _fork_hook_set and hasattr(os, "register_at_fork"):
        import torch

        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
        _fork_hook_set = True
