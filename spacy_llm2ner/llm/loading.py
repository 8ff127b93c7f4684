"""A model folder -> a cut, frozen `transformers` model and its fast tokenizer, one per process.

"Cut": a head that reads layers 8, 12 and 16 of a model of 30 blocks needs 16 blocks. The others are
never read into memory, and neither is the LM head. Because the states are taken at the blocks
themselves (by hooks), the final norm, which belongs to the last layer only, is never in the way.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

_DTYPES = ("float32", "float16", "bfloat16")
_loaded: WeakValueDictionary[LoadSpec, LoadedLLM] = WeakValueDictionary()
_loading = threading.Lock()


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


class LoadedLLM:
    """A frozen model: evaluation mode, no gradients, first `depth` blocks only.

    spec (LoadSpec): What was loaded.
    model (PreTrainedModel): The cut base model, without LM head.
    depth (int): The number of blocks in memory.
    """

    def __init__(self, spec: LoadSpec, model: PreTrainedModel, depth: int) -> None:
        self.spec = spec
        self.model = model
        self.depth = depth
        self.blocks_name, self.blocks = find_blocks(model, depth)
        self._views: dict[int, PreTrainedModel] = {depth: model}
        self._lock = threading.Lock()
        self._causal: bool | None = None

    @property
    def is_causal(self) -> bool:
        """Whether a piece's states depend on earlier pieces only: tried out, not looked up."""
        if self._causal is None:
            import torch

            ids = torch.tensor([[0, 0], [0, 1]], device=self.spec.device)
            states = self.hidden_states(ids, torch.ones_like(ids), [self.depth])
            self._causal = bool(torch.equal(states[0, 0], states[1, 0]))
        return self._causal

    def hidden_states(
        self, ids: torch.Tensor, mask: torch.Tensor, layers: Sequence[int]
    ) -> torch.Tensor:
        """Run the model once, up to the highest layer asked for.

        ids (LongTensor): Piece ids, (batch, pieces), padded on the right.
        mask (LongTensor): 1 for pieces, 0 for padding, (batch, pieces).
        layers (Sequence[int]): Layers to return, in this order. Layer k = output of block k - 1,
            layer 0 = what enters the first block.
        RETURNS (FloatTensor): (batch, pieces, layers, width), in the model's dtype, on its device.
        """
        import torch

        with self._lock, torch.inference_mode(), self._recording(layers) as record:
            self._view(max(*layers, 1))(input_ids=ids, attention_mask=mask)
        return torch.stack([record[layer] for layer in layers], dim=2)

    @contextmanager
    def _recording(self, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
        record: dict[int, torch.Tensor] = {}

        def keep_input(_: Any, args: tuple, kwargs: dict) -> None:
            record[0] = args[0] if args else kwargs["hidden_states"]

        def keep_output(layer: int) -> Any:
            def hook(_: Any, __: Any, output: Any) -> None:
                record[layer] = output[0] if isinstance(output, tuple) else output

            return hook

        handles = [
            self.blocks[layer - 1].register_forward_hook(keep_output(layer))
            for layer in layers
            if layer > 0
        ]
        if 0 in layers:
            handles.append(self.blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True))
        try:
            yield record
        finally:
            for handle in handles:
                handle.remove()

    def _view(self, depth: int) -> PreTrainedModel:
        """The same weights with fewer blocks, for a head that reads lower layers than another."""
        if depth not in self._views:
            self._views[depth] = _shallow_view(self.model, self.blocks_name, depth)
        return self._views[depth]

    def save(self, folder: Path, depth: int) -> None:
        """Write the first `depth` blocks as an ordinary model folder (without tokenizer)."""
        view = self._view(depth)
        view.save_pretrained(folder, safe_serialization=True)


def load(spec: LoadSpec, depth: int) -> LoadedLLM:
    """The model of `spec` with at least `depth` blocks; shared with whoever else uses it.

    RAISES: ValueError if the model has fewer blocks, or its architecture hides them.
    """
    with _loading:
        known = _loaded.get(spec)
        if known is None or known.depth < depth:
            known = LoadedLLM(spec, _read(spec, depth), depth)
            _loaded[spec] = known
            # A forked worker would wait for ever for the parent's torch threads.
            _one_thread_after_fork()
        return known


def load_config(folder: Path, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """The model's configuration; of an encoder-decoder model, its encoder's."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(
        str(folder), trust_remote_code=trust_remote_code, local_files_only=True
    )
    # Models for text and images keep the language model's settings one level down.
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerFast:
    """The model's fast tokenizer.

    RAISES: ValueError if the model only has a slow one: it gives no character offsets.
    """
    from transformers import AutoTokenizer

    with _quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), trust_remote_code=trust_remote_code, local_files_only=True, use_fast=True
        )
    if not tokenizer.is_fast:
        raise ValueError(
            f"llm2ner: the tokenizer of the LLM in {folder} is {type(tokenizer).__name__}, a slow "
            f"one, which gives no character offsets. A fast tokenizer (tokenizer.json) is needed."
        )
    return tokenizer


def _read(spec: LoadSpec, depth: int) -> PreTrainedModel:
    import torch
    import transformers
    from transformers import AutoModel, AutoModelForTextEncoding

    config = load_config(spec.folder, trust_remote_code=spec.trust_remote_code)
    if depth > config.num_hidden_layers:
        raise ValueError(
            f"llm2ner: the setting 'layers' asks for layer {depth}, but the LLM in {spec.folder} "
            f"has {config.num_hidden_layers} blocks (layers 0 to {config.num_hidden_layers})."
        )
    auto = AutoModelForTextEncoding if config.is_encoder_decoder else AutoModel
    major, minor = (int(part) for part in transformers.__version__.split(".")[:2])
    dtype_name = "dtype" if (major, minor) >= (4, 56) else "torch_dtype"
    options: dict[str, Any] = {dtype_name: getattr(torch, spec.dtype)}
    if spec.attention is not None:
        options["attn_implementation"] = spec.attention
    with _quiet_transformers():
        model, info = auto.from_pretrained(
            str(spec.folder),
            config=cut_config(config, depth),
            trust_remote_code=spec.trust_remote_code,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    blocks_name, _ = find_blocks(model, depth)
    missing = [key for key in info["missing_keys"] if f"{blocks_name}." in key or "embed" in key]
    if missing:
        raise ValueError(
            f"llm2ner: the LLM's folder {spec.folder} lacks weights that its config.json promises: "
            f"{', '.join(sorted(missing)[:3])}{' ...' if len(missing) > 3 else ''}."
        )
    model.requires_grad_(False)
    return model.eval().to(spec.device)


def cut_config(config: PretrainedConfig, depth: int) -> PretrainedConfig:
    """A copy of `config` with `depth` blocks; settings given per block are cut along."""
    total = config.num_hidden_layers
    cut = copy.deepcopy(config)
    for key, value in list(vars(cut).items()):
        if isinstance(value, list) and len(value) == total and total > 1:
            setattr(cut, key, value[:depth])
    cut.num_hidden_layers = depth
    cut.use_cache = False
    return cut


def find_blocks(model: PreTrainedModel, depth: int) -> tuple[str, torch.nn.ModuleList]:
    """The list of decoder or encoder blocks inside a model, and its dotted name.

    RAISES: ValueError if there is none, e.g. because all blocks share one set of weights (ALBERT).
    """
    import torch

    found = [
        (sum(p.numel() for p in module.parameters()), name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == depth
    ]
    if not found:
        raise ValueError(
            f"llm2ner: the architecture {type(model).__name__} has no list of {depth} blocks whose "
            f"states could be read. Models with one module per layer are supported."
        )
    _, name, module = max(found, key=lambda entry: entry[0])
    return name, module


def _shallow_view(model: PreTrainedModel, blocks_name: str, depth: int) -> PreTrainedModel:
    import torch

    def without_children(module: Any) -> Any:
        twin = copy.copy(module)
        twin._modules = dict(module._modules)
        if hasattr(twin, "config"):
            twin.config = cut_config(twin.config, depth)
        return twin

    view = node = without_children(model)
    *parents, last = blocks_name.split(".")
    for parent in parents:
        node._modules[parent] = without_children(node._modules[parent])
        node = node._modules[parent]
    node._modules[last] = torch.nn.ModuleList(list(node._modules[last])[:depth])
    return view


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Hide the notice that the cut blocks' weights are unused: that is what cutting means."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


_fork_hook_set = False


def _one_thread_after_fork() -> None:
    global _fork_hook_set
    if not _fork_hook_set and hasattr(os, "register_at_fork"):
        import torch

        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
        _fork_hook_set = True
