"""Workarounds for differences between releases of transformers, torch, srsly and glibc.

Each function names the version or system that needs it, so that it can be removed when support for
that ends.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import Errors

if TYPE_CHECKING:
    import torch
    from tokenizers import Encoding, Tokenizer
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

# transformers -----------------------------------------------------------------------------

# Exceptions that `from_pretrained` raises for a checkpoint that it cannot read.
LOADING_ERRORS = (ValueError, KeyError, OSError, ImportError, RuntimeError)
# Held while the level of transformers' logger is changed: otherwise two threads would restore each
# other's level.
_quiet = threading.RLock()


def transformers_version() -> tuple[int, int]:
    """Major and minor version of transformers."""
    import transformers

    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    return major, minor


@contextmanager
def transformers_loader(
    what: str, where: Path, errors: tuple[type[Exception], ...] = LOADING_ERRORS
) -> Iterator[None]:
    """Context for a loader of transformers: hides log messages and unifies its exceptions.

    Needed in all versions: they log, for example, that weights of a cut model are unused.

    what (str): The loaded object, for the message.
    where (Path): The folder or file.
    errors (Tuple[Type[Exception], ...]): Exceptions of the loader for unreadable files.
    RAISES (ValueError): For any of these errors (E101).
    """
    import transformers

    logger = logging.getLogger("transformers")
    with _quiet:
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        except errors as error:
            raise ValueError(
                Errors.E101.format(
                    what=what,
                    where=where,
                    version=transformers.__version__,
                    error=str(error) or type(error).__name__,
                )
            ) from error
        finally:
            logger.setLevel(level)


def native_bfloat16_cpu() -> bool:
    """Whether this CPU multiplies bfloat16 natively: AMX, or AVX512-BF16.

    torch >= 2.4 and >= 2.6 can tell. Older versions, and CPUs of other kinds, count as "no".
    """
    import torch

    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, test, bool)()) for test in tests)


def native_bfloat16_gpu(device: str) -> bool:
    """Whether a CUDA GPU computes bfloat16 natively: compute capability 8 (Ampere) or more.

    `torch.cuda.is_bf16_supported` counts emulation too, and its argument against that is new in
    torch 2.4.
    """
    import torch

    return torch.cuda.is_available() and torch.cuda.get_device_capability(device)[0] >= 8


def dtype_options(dtype: torch.dtype) -> dict[str, Any]:
    """The argument of `from_pretrained` for the precision: `torch_dtype` before 4.56."""
    return {"dtype" if transformers_version() >= (4, 56) else "torch_dtype": dtype}


def model_class(auto_class: Any, config: PretrainedConfig) -> Any:
    """The class of a configuration's model.

    All versions: auto classes accept no weights from memory; the classes behind them do.
    """
    from transformers.models.auto.auto_factory import _get_model_class

    return _get_model_class(config, auto_class._model_mapping)


def translate_rope(config: PretrainedConfig) -> None:
    """Translate the rotary settings of transformers 5 for transformers 4, in place.

    transformers 4 silently ignores `rope_parameters` and uses its defaults: the states differ.

    RAISES (ValueError): If the older format cannot express them (E102).
    """
    import transformers

    rope = getattr(config, "rope_parameters", None)
    if not rope or transformers_version() >= (5, 0):
        return
    settings = {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}
    nested = any(isinstance(value, dict) for value in rope.values())
    if nested or not all(hasattr(type(config)(), key) for key in settings):
        raise ValueError(
            Errors.E102.format(model_type=config.model_type, version=transformers.__version__)
        )
    for key, value in settings.items():
        setattr(config, key, value)
    scaling = {key: value for key, value in rope.items() if key not in settings}
    config.rope_scaling = None if scaling.get("rope_type", "default") == "default" else scaling


_ROPE = ("rope_theta", "partial_rotary_factor")


def get_rope(config: PretrainedConfig) -> dict[str, Any]:
    """The settings of rotary positions: "rope_theta", "partial_rotary_factor", and the scaling.

    transformers 4 has them as attributes, with the scaling in `rope_scaling`; transformers 5 in
    `rope_parameters`, in some models by kind of attention.

    RETURNS (Dict[str, Any]): Those that the model has; none if it has no rotary positions.
    """
    rope = getattr(config, "rope_parameters", None)
    if rope is None:
        rope = {key: getattr(config, key) for key in _ROPE if hasattr(config, key)}
        rope |= getattr(config, "rope_scaling", None) or {}
    rope = dict(rope.get("full_attention", rope))
    if "type" in rope:  # the old name
        rope.setdefault("rope_type", rope["type"])
    return rope


def set_rope(config: PretrainedConfig, settings: Mapping[str, Any]) -> None:
    """Change settings of rotary positions, in place; see `get_rope`.

    settings (Mapping[str, Any]): "rope_theta" or "partial_rotary_factor"; or the scaling, whole.
    """
    rope = getattr(config, "rope_parameters", None)
    if rope is not None:
        if "type" in settings:
            settings = {**settings, "rope_type": settings["type"]}
        if "full_attention" in rope:
            settings = {"full_attention": {**rope["full_attention"], **settings}}
        config.rope_parameters = {**rope, **settings}
        return
    for key, value in settings.items():
        if key in _ROPE:
            setattr(config, key, value)
    scaling = {key: value for key, value in settings.items() if key not in _ROPE}
    if scaling:
        config.rope_scaling = scaling


def takes_scaling(model: Any, kind: str) -> bool:
    """Whether a model scales rotary positions in the way that its configuration names.

    transformers 4: some classes do not look at `rope_scaling`.
    """
    return transformers_version() >= (5, 0) or any(
        getattr(module, "rope_type", None) == kind for module in model.modules()
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a fast tokenizer that both transformers 4 and 5 can read.

    transformers 5 names its class "TokenizersBackend", which transformers 4 does not know.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf8"))
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
        path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf8")


def encode_all(tokenizer: Tokenizer, texts: Sequence[str], *, device: str) -> list[Encoding]:
    """The pieces of texts, without special ones.

    All versions of tokenizers: `encode_batch` starts threads, and from then on each forked worker
    (`n_process`) prints a warning. A process with its LLM on a GPU cannot fork workers that use it,
    and reads so many texts per second that threads pay.

    tokenizer (Tokenizer): As `load_tokenizer` sets it up. Calling the tokenizer of transformers
        instead could change its state, which is not safe across threads.
    texts (Sequence[str]): The texts.
    device (str): The torch device of the LLM.
    """
    if device.startswith("cpu"):
        return [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    return tokenizer.encode_batch(list(texts), add_special_tokens=False)


def gguf_options() -> dict[str, Any]:
    """Arguments of `from_pretrained` with which transformers 5 always dequantises a GGUF file."""
    import transformers

    if not hasattr(transformers, "GgufConfig"):
        return {}
    return {"quantization_config": transformers.GgufConfig(dequantize=True)}


def gguf_architectures() -> tuple[str, ...]:
    """The architectures that transformers reads from GGUF files, by their names there.

    All versions: the list is no part of the documented interface.

    RETURNS (Tuple[str, ...]): Empty if there is no such list.
    """
    try:
        from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES
    except ImportError:
        return ()
    # 4.53 lists parts of the metadata as well.
    return tuple(a for a in GGUF_SUPPORTED_ARCHITECTURES if a not in ("general", "tokenizer"))


def forget_quantization(model: Any) -> None:
    """Remove the quantisation mark from a dequantised model (transformers 5)."""
    if getattr(model, "hf_quantizer", None) is not None:
        model.hf_quantizer = None
        vars(model.config).pop("quantization_config", None)


def cached_layers(cache: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of each layer of a `DynamicCache`: two lists before transformers 4.54."""
    if hasattr(cache, "layers"):
        return [(layer.keys, layer.values) for layer in cache.layers]
    return list(zip(cache.key_cache, cache.value_cache, strict=True))


# torch ------------------------------------------------------------------------------------

_fork_hook_set = False


def one_thread_after_fork() -> None:
    """Let forked workers use one torch thread; call it before torch runs in their parent.

    All versions of torch with OpenMP: a child would wait forever for the threads of its parent.
    """
    global _fork_hook_set
    if not _fork_hook_set and hasattr(os, "register_at_fork"):
        import torch

        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
        _fork_hook_set = True


# The C library ----------------------------------------------------------------------------

# Padded tokens between two trims: seconds of work, so that the time of a trim is negligible.
TOKENS_BETWEEN = 100_000


class Trimmer:
    """Returns freed memory to the system at intervals.

    glibc: large arrays of states, of many sizes, alternate with small long-lived ones, so that the
    heap is fragmented and a long training would hold many times the memory that it needs.

    tokens (int): Tokens processed since the last trim.
    """

    def __init__(self) -> None:
        self.tokens = 0

    def worked_on(self, tokens: int) -> None:
        """Count tokens, and trim the heap after every 100,000."""
        self.tokens += tokens
        if self.tokens >= TOKENS_BETWEEN:
            self.tokens = 0
            trim = _malloc_trim()
            if trim is not None:
                trim(0)


def _malloc_trim() -> Callable[[int], int] | None:
    """The function of glibc; None on other systems, which do not need it."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


# srsly ------------------------------------------------------------------------------------


@contextmanager
def msgpack_functions_once() -> Iterator[None]:
    """Context for code that packs or unpacks many docs: what srsly looks up for each is kept.

    For each object, and so for each doc with span groups or user data, srsly 2 collects the
    functions of its registries from all entry points that are installed, which takes longer than
    all else that happens to a short doc.
    """
    from srsly import msgpack

    registries = (msgpack.msgpack_encoders, msgpack.msgpack_decoders)
    for registry in registries:
        found = registry.get_all()
        vars(registry)["get_all"] = lambda found=found: found
    try:
        yield
    finally:
        # Another thread within the context becomes slower by this, and finds the same.
        for registry in registries:
            vars(registry).pop("get_all", None)
