"""A checkpoint -> a cut, frozen `transformers` model in memory, shared within the process.

"Cut": a head that reads layers 8, 12 and 16 of a model with 30 blocks needs 16 of them. The other
blocks and the LM head are never loaded. Hooks take the states at the blocks' outputs, and the pass
stops at the highest requested block. The final norm, which applies to the last layer only, and the
decoder after an encoder therefore never run.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from thinc.api import get_torch_default_device

from ..compat import (
    LOADING_ERRORS,
    dtype_options,
    model_class,
    native_bfloat16_cpu,
    native_bfloat16_gpu,
    one_thread_after_fork,
    transformers_loader,
)
from ..errors import Errors, reason
from ..settings import check_choice
from .bundle import read_packed, save_weights
from .checkpoint import Checkpoint, load_config, weight_files
from .cutting import (
    abridged,
    check_weights,
    cut_config,
    find_blocks,
    is_cuttable,
    needed_weights,
    nested_prefix,
)

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

DTYPES = ("float32", "float16", "bfloat16")
# The setting for the fastest of them that keeps the range of float32.
AUTO = "auto"

T = TypeVar("T")


@dataclass(frozen=True)
class LoadSpec:
    """The key by which components share one model in memory.

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
        check_choice("dtype", self.dtype, DTYPES, of="the LLM")

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        *,
        dtype: str = "float32",
        device: str | None = None,
        attention: str | None = None,
    ) -> LoadSpec:
        """The model of a checkpoint.

        device (Optional[str]): None: thinc's default device.
        """
        return cls(
            checkpoint.folder.resolve(),
            dtype,
            device or str(get_torch_default_device()),
            attention,
            checkpoint.trust_remote_code,
        )


def native_dtype(device: str) -> str:
    """The dtype that the setting "auto" means on a device.

    device (str): A torch device, e.g. "cpu" or "cuda:0".
    RETURNS (str): "bfloat16" where the device computes it natively (a GPU; a CPU with AMX or
        AVX512-BF16), otherwise "float32". float16 is never chosen: states of many LLMs overflow.
    """
    kind, _, _ = device.partition(":")
    tests = {"cpu": native_bfloat16_cpu, "cuda": lambda: native_bfloat16_gpu(device)}
    native = kind in tests and tests[kind]()
    return "bfloat16" if native else "float32"


# What every kind of model needs -----------------------------------------------------------

_shared: WeakValueDictionary[tuple[type, LoadSpec], Any] = WeakValueDictionary()
_loading = threading.Lock()


def shared(kind: type[T], spec: LoadSpec, make: Callable[[], T]) -> T:
    """The model of this kind that the process shares; released with its last user.

    kind (type): The class of `make`'s result.
    spec (LoadSpec): The model to load.
    make (Callable): Loads the model; called if it is not in memory yet.
    """
    with _loading:
        known = _shared.get((kind, spec))
        if known is None:
            known = _shared[kind, spec] = make()
        return known


def read_model(
    spec: LoadSpec,
    auto_class: Any,
    config: PretrainedConfig,
    *,
    what: str = "model",
    **options: Any,
) -> tuple[Any, list[str]]:
    """Load weights into memory, on the CPU, in evaluation mode.

    auto_class (type): E.g. `transformers.AutoModel`.
    config (PretrainedConfig): The configuration, cut or not.
    what (str): Name of the loaded object in messages.
    options: Other arguments of `from_pretrained`.
    RETURNS (Tuple[PreTrainedModel, List[str]]): The model, and the names of its weights that are
        not in the folder and were initialised at random.
    RAISES (ValueError): If `transformers` cannot load it (E101), weights are damaged (E142, E143;
        in 4 bits E138), or the device does not exist (E114).
    """
    import torch
    from safetensors import SafetensorError

    _check_device(spec.device)
    one_thread_after_fork()
    if spec.attention is not None:
        options["attn_implementation"] = spec.attention
    source: str | None = str(spec.folder)
    packed = read_packed(spec.folder, getattr(torch, spec.dtype))
    if packed is not None:
        auto_class, source = model_class(auto_class, config), None
        options["state_dict"] = packed
    errors = (*LOADING_ERRORS, SafetensorError, UnpicklingError, EOFError)
    try:
        with transformers_loader(what, spec.folder, errors):
            model, info = auto_class.from_pretrained(
                source,
                config=config,
                trust_remote_code=spec.trust_remote_code,
                local_files_only=True,
                output_loading_info=True,
                **dtype_options(getattr(torch, spec.dtype)),
                **options,
            )
    except ValueError as error:
        damaged = damaged_files(weight_files(spec.folder))
        if not damaged:
            raise
        text = Errors.E142.format(folder=spec.folder, files="; ".join(damaged))
        raise ValueError(text) from error
    missing = sorted(info["missing_keys"])
    _check_finite(model, missing, spec)
    return model, missing


def damaged_files(files: Sequence[Path]) -> list[str]:
    """The safetensors files that cannot be opened, with the reason: "model.safetensors (...)"."""
    from safetensors import SafetensorError, safe_open

    damaged = []
    for file in files:
        if file.suffix == ".safetensors":
            try:
                with safe_open(str(file), framework="pt"):
                    pass
            except (SafetensorError, OSError) as error:
                damaged.append(f"{file.name} ({reason(error)})")
    return damaged


def _check_finite(model: Any, missing: Sequence[str], spec: LoadSpec) -> None:
    """Require finite weights; those that were not in the folder do not count."""
    import torch

    unread = set(missing)
    bad = [
        name
        for name, weight in model.named_parameters()
        # The sum is twice as fast as a test of each number, which is needed only if it overflows.
        if weight.is_floating_point()
        and name not in unread
        and not torch.isfinite(weight.detach().sum())
        and not torch.isfinite(weight.detach()).all()
    ]
    if bad:
        raise ValueError(
            Errors.E143.format(folder=spec.folder, dtype=spec.dtype, weights=abridged(bad))
        )


def _check_device(name: str) -> None:
    import torch

    try:
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("torch finds no CUDA device")
    except RuntimeError as error:
        raise ValueError(Errors.E114.format(device=name, error=reason(error))) from error


def is_causal(
    run: Callable[[torch.Tensor], torch.Tensor],
    vocab_size: int,
    device: str | torch.device,
    *,
    tolerance: float = 0.0,
) -> bool:
    """Test whether the output at a piece depends only on that piece and earlier ones.

    The output for pieces a b a must not change with the piece that follows them.

    run (Callable): Piece ids (1, pieces) -> outputs (1, pieces, ...).
    vocab_size (int): The number of pieces.
    device (str): Device of the ids.
    tolerance (float): Accepted difference, on top of the noise between equal runs.
    """
    import torch

    # From the middle of the vocabulary: its ends are special, unused or padded with equal rows.
    a, b, c = vocab_size // 2, vocab_size // 3, vocab_size // 5
    # One row at a time: rows of one batch may be computed by different kernels.
    first, same, other = (
        run(torch.tensor([row], device=device))[:, :-1].float()
        for row in ([a, b, a, a], [a, b, a, a], [a, b, a, c])
    )
    noise = float((first - same).abs().max())  # 0 wherever kernels are deterministic
    return float((first - other).abs().max()) <= 4 * noise + tolerance


# The cut model ----------------------------------------------------------------------------


class _Enough(Exception):
    """Ends a pass when the highest requested layer has been computed; not an error."""


class LoadedLLM:
    """A frozen model: evaluation mode, no gradients, first `depth` blocks only.

    Safe to use from several threads: one pass runs at a time.

    spec (LoadSpec): What to load.
    depth (int): The number of blocks that are needed. A model that cannot be cut has more.
    RAISES (ValueError): See `load`.
    """

    model: PreTrainedModel  # the cut base model, without LM head
    depth: int  # the number of blocks in memory
    blocks: torch.nn.ModuleList

    def __init__(self, spec: LoadSpec, depth: int) -> None:
        self.spec = spec
        self._lock = threading.Lock()
        self._causal: bool | None = None
        # By number of blocks run: the parts of the last one that need not compute every piece.
        self._separable: dict[int, tuple[str, ...]] = {}
        self._read(depth)

    def _read(self, depth: int) -> None:
        model = _read_cut(self.spec, depth)
        depth = model.config.num_hidden_layers
        self.model, self.depth, self.blocks = model, depth, find_blocks(model, depth)

    def deepen(self, depth: int) -> None:
        """Ensure at least `depth` blocks in memory; reload the model if it has fewer."""
        with self._lock:
            if depth > self.depth:
                self._read(depth)

    @property
    def is_causal(self) -> bool:
        """Whether a piece's states depend only on that piece and earlier ones; see `is_causal`."""
        if self._causal is None:
            import torch

            self._causal = is_causal(
                lambda ids: self.hidden_states(ids, torch.ones_like(ids), [self.depth]),
                int(self.model.config.vocab_size),
                self.spec.device,
            )
        return self._causal

    def hidden_states(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        layers: Sequence[int],
        used: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Run the model once, up to the highest requested layer.

        ids (LongTensor): Piece ids, (batch, pieces), padded on the right.
        mask (LongTensor): 1 for pieces, 0 for padding, (batch, pieces).
        layers (Sequence[int]): Layers to return, in this order. Layer k = output of block k - 1,
            layer 0 = input of the first block.
        used (Optional[LongTensor]): The pieces whose states are returned, as indices into the
            flattened batch; None for all.
        RETURNS (FloatTensor): (batch, pieces, layers, width), or (used pieces, layers, width), in
            the model's dtype, on its device.
        RAISES (ValueError): If the blocks' outputs are not states of the pieces (E115).
        """
        import torch

        if self._causal:
            # Padding comes after all pieces, which do not attend to it: without gaps in the mask,
            # attention needs no matrix of masks and skips what comes later.
            mask = torch.ones_like(mask)
        with self._lock, torch.inference_mode(), self._top_block(max(layers), ids, used):
            return self.pass_states(ids, mask, layers, used)

    def pass_states(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        layers: Sequence[int],
        used: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Like `hidden_states`, with gradients and without the lock: for models with one owner."""
        import torch

        record: dict[int, torch.Tensor] = {}
        width = self.model.config.hidden_size

        def keep(layer: int, states: torch.Tensor) -> None:
            if getattr(states, "shape", None) != (*ids.shape, width):
                raise ValueError(self._not_states(ids, layer, states))
            record[layer] = states if used is None else states.flatten(0, 1)[used]

        with self._watched(layers, keep), suppress(_Enough):
            self.model(input_ids=ids, attention_mask=mask)
        for layer in layers:
            if layer not in record:
                raise ValueError(self._not_states(ids, layer, None))
        return torch.stack([record[layer] for layer in layers], dim=-2)

    def _not_states(self, ids: torch.Tensor, layer: int, found: Any) -> str:
        return Errors.E115.format(
            model=type(self.model).__name__,
            folder=self.spec.folder,
            given=tuple(ids.shape),
            layer=layer,
            shape=None if found is None else tuple(getattr(found, "shape", ())),
            width=self.model.config.hidden_size,
        )

    @contextmanager
    def _watched(
        self, layers: Sequence[int], keep: Callable[[int, torch.Tensor], None]
    ) -> Iterator[None]:
        """Context in which a pass gives the states of layers to `keep`, and ends at the highest."""
        top = max(layers)

        def take(layer: int, states: torch.Tensor) -> None:
            keep(layer, states)
            if layer == top:
                raise _Enough

        def take_input(_: Any, args: tuple, kwargs: dict) -> None:
            take(0, args[0] if args else kwargs["hidden_states"])

        def take_output(layer: int) -> Any:
            def hook(_: Any, __: Any, output: Any) -> None:
                take(layer, output[0] if isinstance(output, tuple) else output)

            return hook

        handles = [
            self.blocks[layer - 1].register_forward_hook(take_output(layer))
            for layer in {*layers} - {0}
        ]
        if 0 in layers:
            handles.append(self.blocks[0].register_forward_pre_hook(take_input, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def _top_block(self, top: int, ids: torch.Tensor, used: torch.Tensor | None) -> Iterator[None]:
        """Context in which the highest block computes the used pieces only, as far as it can."""
        if used is None or top == 0:
            yield
            return
        from .top_block import only_for

        if top not in self._separable:
            self._separable[top] = self._find_separable(top)
        block = self.blocks[top - 1]
        parts = [block.get_submodule(name) for name in self._separable[top]]
        with only_for(parts, ids.shape, used):
            yield

    def _find_separable(self, top: int) -> tuple[str, ...]:
        """The parts of a block that can be computed for some pieces only: `separable_parts`."""
        import torch

        from .top_block import separable_parts

        calls: list[tuple[tuple, dict]] = []

        def take_call(_: Any, args: tuple, kwargs: dict) -> None:
            calls.append((args, kwargs))
            raise _Enough

        handle = self.blocks[top - 1].register_forward_pre_hook(take_call, with_kwargs=True)
        size = int(self.model.config.vocab_size)
        ids = torch.tensor([[size // n for n in range(2, 8)]], device=self.spec.device)
        try:
            with suppress(_Enough):
                self.model(input_ids=ids, attention_mask=torch.ones_like(ids))
        finally:
            handle.remove()
        return separable_parts(self.blocks[top - 1], *calls[0]) if calls else ()

    def save(self, folder: Path, depth: int, precision: str) -> bool:
        """Write the first `depth` blocks as a model folder (without tokenizer).

        precision (str): See `save_weights`.
        RETURNS (bool): Whether the stored weights equal those in memory.
        """
        self.deepen(depth)
        model = self.model if depth >= self.depth else _read_cut(self.spec, depth)
        return save_weights(model, folder, precision)


def load(spec: LoadSpec, depth: int) -> LoadedLLM:
    """The model of `spec` with at least `depth` blocks; shared with all other users of it.

    RAISES (ValueError): If the model has fewer blocks, its architecture hides them, weights are
        missing, or the device does not exist (E101, E112 to E116).
    """
    llm = shared(LoadedLLM, spec, lambda: LoadedLLM(spec, depth))
    llm.deepen(depth)
    return llm


def _read_cut(spec: LoadSpec, depth: int) -> PreTrainedModel:
    config = load_config(spec.folder, trust_remote_code=spec.trust_remote_code)
    if depth > config.num_hidden_layers:
        raise ValueError(
            Errors.E116.format(layer=depth, folder=spec.folder, blocks=config.num_hidden_layers)
        )
    if is_cuttable(config):
        config = cut_config(config, depth)
    auto_class = base_class(config)
    model, missing = read_model(spec, auto_class, config)
    nested = needed_weights(config, missing) and nested_prefix(weight_files(spec.folder), missing)
    if nested:
        mapping = {f"^{re.escape(nested)}": ""}
        model, missing = read_model(spec, auto_class, config, key_mapping=mapping)
    check_weights(spec.folder, config, missing)
    model.requires_grad_(False)
    return model.eval().to(spec.device)


def base_class(config: PretrainedConfig) -> Any:
    """The auto class: the encoder alone for T5 and similar models, else the base model."""
    from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoModel, AutoModelForTextEncoding

    encoder_only = config.is_encoder_decoder and type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING
    return AutoModelForTextEncoding if encoder_only else AutoModel
