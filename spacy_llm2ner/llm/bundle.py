"""A cut model -> a folder that goes along with a pipeline: weights as they are, or rounded.

The precision on disk is not that of the computation: weights are converted to the setting `dtype`
when they are read. In 4 bits, 32 neighbouring weights share a scale and a minimum (as in Q4_1 of
GGUF): 5 bits a weight, in a safetensors file of its own. Embeddings get 8 bits. Vectors (norms,
biases) are stored exactly.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import srsly

from ..errors import Errors
from ..settings import check_choice
from .checkpoint import is_bundle, weight_files

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

ORIGINAL, FLOAT16, FOUR_BITS = "original", "float16", "4bit"
PRECISIONS = (ORIGINAL, FLOAT16, FOUR_BITS)
# The weights of a bundle in 4 bits, and the key of their description in the file's metadata.
_PACKED_FILE = "llm2ner_4bit.safetensors"
_PACKED_KEY = "llm2ner_packed"
# Weights that share a scale and a minimum.
_GROUP = 32
# The name of the pipeline's LLM, and the folder of the weights if another component has them.
_PLACE_FILE = "llm2ner_name.json"


# Writing ---------------------------------------------------------------------------------------


def save_weights(model: PreTrainedModel, folder: Path, precision: str) -> bool:
    """Write the weights and the configuration of a model; older weights there are removed.

    model (PreTrainedModel): The cut model; it is not changed.
    folder (Path): The folder, which must exist.
    precision (str): "original": exactly, each tensor in the smallest type that holds its values;
        "float16"; "4bit".
    RETURNS (bool): Whether the stored weights equal those of the model.
    RAISES (ValueError): If weights exceed the range of float16 (E136), or the model comes with its
        own code, which a file in 4 bits cannot be read with (E137).
    """
    check_choice("dtype", precision, PRECISIONS, of="the bundled LLM")
    if precision == FOUR_BITS and getattr(model.config, "auto_map", None):
        raise ValueError(Errors.E137.format(model=type(model).__name__))
    stored, exact = _converted(model, precision)
    for file in weight_files(folder):
        file.unlink()
    if precision == FOUR_BITS:
        _save_packed(model, stored, folder)
    else:
        model.save_pretrained(folder, state_dict=stored)
    for file in folder.iterdir():  # safetensors gives access to the owner alone
        if file.is_file():
            file.chmod(0o644)
    return exact


def _converted(model: PreTrainedModel, precision: str) -> tuple[dict[str, torch.Tensor], bool]:
    """The weights by name in the types that are stored, and whether their values are the same."""

    known: dict[tuple[int, torch.Size], torch.Tensor] = {}
    stored, exact = {}, precision != FOUR_BITS
    for name, value in model.state_dict().items():
        key = (value.data_ptr(), value.shape)  # tied weights stay one tensor
        if key not in known:
            known[key] = _as_float16(name, value) if precision == FLOAT16 else _narrowest(value)
            exact = exact and bool((known[key].to(value.dtype) == value).all())
        stored[name] = known[key]
    return stored, exact


def _narrowest(value: torch.Tensor) -> torch.Tensor:
    """The values in float16 or bfloat16 if that changes none of them."""
    import torch

    value = value.detach().cpu()
    if value.is_floating_point():
        for dtype in (torch.float16, torch.bfloat16):
            short = value.to(dtype)
            if torch.equal(short.to(value.dtype), value):
                return short
    return value


def _as_float16(name: str, value: torch.Tensor) -> torch.Tensor:
    import torch

    if not value.is_floating_point():
        return value.detach().cpu()
    short = value.detach().cpu().to(torch.float16)
    if not torch.isfinite(short).all():
        raise ValueError(Errors.E136.format(weight=name, largest=float(value.abs().max())))
    return short


# 4 bits ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packed:
    """A tensor as whole numbers with a scale and a minimum for every 32 of them.

    codes (ByteTensor): (rows, bytes); with 4 bits, two numbers in a byte.
    scales, minima (HalfTensor): (rows, groups).
    """

    codes: torch.Tensor
    scales: torch.Tensor
    minima: torch.Tensor

    @property
    def is_finite(self) -> bool:
        """Whether scales and minima lie within the range of float16."""
        return bool(self.scales.isfinite().all() and self.minima.isfinite().all())


def pack(value: torch.Tensor, bits: int) -> Packed:
    """Round a tensor to 4 or 8 bits a value.

    value (FloatTensor): Any shape with two or more dimensions.
    bits (int): 4 or 8.
    """
    import torch

    rows = value.detach().cpu().float().reshape(-1, value.shape[-1])
    filling = -rows.shape[1] % _GROUP
    if filling:  # with a value of the last group, so that its range does not grow
        rows = torch.cat([rows, rows[:, -1:].expand(-1, filling)], dim=1)
    groups = rows.view(len(rows), -1, _GROUP)
    low, high = groups.amin(dim=-1), groups.amax(dim=-1)
    minima = low.half()
    scales = ((high - low) / (2**bits - 1)).half()
    # Codes follow the rounded scale; where it is 0, all values of the group are alike.
    divisor = torch.where(scales == 0, torch.ones_like(scales), scales).float()
    codes = ((groups - minima.float()[..., None]) / divisor[..., None]).round_()
    codes = codes.clamp_(0, 2**bits - 1).to(torch.uint8).view(len(rows), -1)
    if bits == 4:
        codes = codes[:, 0::2] | (codes[:, 1::2] << 4)
    return Packed(codes.contiguous(), scales, minima)


def unpack(packed: Packed, shape: list[int]) -> torch.Tensor:
    """The values that `pack` stored.

    shape (List[int]): The original shape.
    RETURNS (FloatTensor): float32.
    """
    import torch

    codes = packed.codes
    n_groups = packed.scales.shape[1]
    if codes.shape[1] < n_groups * _GROUP:
        codes = torch.stack([codes & 15, codes >> 4], dim=-1)
    groups = codes.reshape(len(codes), n_groups, _GROUP).float()
    values = groups * packed.scales.float()[..., None] + packed.minima.float()[..., None]
    return values.view(len(codes), -1)[:, : shape[-1]].reshape(shape)


def _save_packed(model: PreTrainedModel, stored: dict[str, torch.Tensor], folder: Path) -> None:
    from safetensors.torch import save_file
    from torch import nn

    embeddings = {
        f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Embedding)
    }
    tensors: dict[str, torch.Tensor] = {}
    shapes: dict[str, list[int]] = {}
    seen: set[int] = set()
    for name, value in stored.items():
        if id(value) in seen:  # tied: restored when the model is built
            continue
        seen.add(id(value))
        packed = None
        if value.is_floating_point() and value.dim() > 1:
            packed = pack(value, 8 if name in embeddings else 4)
        if packed is None or not packed.is_finite:
            tensors[name] = value.contiguous()
            continue
        shapes[name] = list(value.shape)
        tensors.update({f"{name}#{part}": data for part, data in vars(packed).items()})
    save_file(tensors, folder / _PACKED_FILE, metadata={_PACKED_KEY: json.dumps(shapes)})
    model.config.save_pretrained(folder)


def read_packed(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor] | None:
    """The weights of a folder that holds them in 4 bits; None if it does not.

    folder (Path): A model folder.
    dtype (dtype): The precision to return floating-point weights in.
    RETURNS (Optional[Dict[str, Tensor]]): The weights by name, on the CPU.
    RAISES (ValueError): If the file is damaged (E138).
    """
    path = folder / _PACKED_FILE
    if not path.is_file():
        return None
    return dict(_unpacked(path, dtype))


def _unpacked(path: Path, dtype: torch.dtype) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            shapes: dict[str, list[int]] = json.loads((file.metadata() or {})[_PACKED_KEY])
            for name, shape in shapes.items():
                parts = {key: file.get_tensor(f"{name}#{key}") for key in Packed.__annotations__}
                yield name, unpack(Packed(**parts), shape).to(dtype)
            for name in file.keys():  # noqa: SIM118  (not a dict)
                if "#" not in name:
                    value = file.get_tensor(name)
                    yield name, value.to(dtype) if value.is_floating_point() else value
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ValueError(Errors.E138.format(file=path, error=error)) from error


# The folder within a pipeline ------------------------------------------------------------------


def copy_bundle(source: Path, folder: Path) -> None:
    """Copy a bundle as it is; nothing happens if source and target are the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder.samefile(source):
        return
    for file in weight_files(folder):
        file.unlink()
    for file in source.iterdir():
        if file.is_file() and file.name != _PLACE_FILE:
            shutil.copy(file, folder)


def write_place(folder: Path, name: str, weights: str | None = None) -> None:
    """Note which LLM a bundle replaces.

    folder (Path): The bundle's folder.
    name (str): The setting `name` of the pipeline's LLM.
    weights (Optional[str]): The folder with the weights, relative to this one. None: this one.
    """
    place: dict[str, Any] = {"name": name}
    if weights is not None:
        place["weights"] = weights
    folder.mkdir(parents=True, exist_ok=True)
    srsly.write_json(folder / _PLACE_FILE, place)


def find_bundle(folder: Path, name: str) -> Path | None:
    """The folder with the weights of a bundle, if it is there and replaces this LLM.

    folder (Path): The folder "llm" of a component.
    name (str): The setting `name` of the component's LLM; an override of it wins over the bundle.
    """
    place: dict[str, Any] = {}
    if (folder / _PLACE_FILE).is_file():
        place = json.loads((folder / _PLACE_FILE).read_text(encoding="utf8"))
    weights = folder / place.get("weights", ".")
    # Bundles of the first releases do not say which LLM they replace.
    return weights if is_bundle(weights) and place.get("name", name) == name else None
