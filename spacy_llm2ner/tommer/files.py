"""The layouts of published ToMMeR heads, read and written without executing pickled code.

A folder holds the weights and a JSON file that names the class and its settings:

    definition.json    and parameters           a torch zip file (of CUDA tensors, often)
    experimaestro.json and model.safetensors    the newer layout

The mathematics is in `token_matching`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import Errors, reason
from ..settings import check_choice, check_number

LAYOUTS = (("definition.json", "parameters"), ("experimaestro.json", "model.safetensors"))
NORMALIZATIONS = ("", "log_sigmoid", "atan")
_TYPE = "llm2ner.models.tommer.ToMMeR"


@dataclass(frozen=True)
class TommerDefinition:
    """Settings of a published head and its LLM, with the names of its definition.json.

    llm_name (str): The LLM's hub id.
    layer (int): The decoder block, counted from 0, whose output is read.
    rank (int): Rank of the match between a span's end and its start.
    causal_mask (bool): Whether features of a span ignore pieces after its end.
    sliding_window (int): The largest number of pieces from a span's start to its end; 0: no limit.
    use_cosine (bool): Whether the match is a cosine, else a scalar product / sqrt(rank).
    normalize_scores (str): The function applied to the match: "" (none), "log_sigmoid" or "atan".
    RAISES (ValueError): For a setting out of range.
    """

    llm_name: str
    layer: int
    rank: int
    causal_mask: bool = True
    sliding_window: int = 0
    use_cosine: bool = False
    normalize_scores: str = ""

    def __post_init__(self) -> None:
        check_settings(self.rank, self.sliding_window, self.normalize_scores)
        check_number("layer", self.layer, least=0, of="the ToMMeR head")


def check_settings(rank: int, sliding_window: int, normalize_scores: str) -> None:
    """Check the settings of a ToMMeR head.

    RAISES (ValueError): For a setting out of range (E001, E002).
    """
    check_number("rank", rank, least=1, of="the ToMMeR head")
    check_number("sliding_window", sliding_window, least=0, of="the ToMMeR head")
    check_choice("normalize_scores", normalize_scores, NORMALIZATIONS, of="the ToMMeR head")


def find_folder(source: str | Path, revision: str | None = None) -> Path:
    """The local folder of a published head; the hub's files are downloaded once.

    source (Union[str, Path]): A folder or a hub id ("org/name").
    revision (Optional[str]): Branch, tag or commit of a hub id.
    RAISES (FileNotFoundError): If there is no usable head.
    RAISES (OSError): If the hub cannot be reached.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    name = str(source)
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or path.exists():
        raise FileNotFoundError(Errors.E410.format(source=source))
    from huggingface_hub import snapshot_download

    patterns = [name for layout in LAYOUTS for name in layout]
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except Exception as error:
        files = " and ".join(LAYOUTS[0])
        raise OSError(
            Errors.E411.format(source=source, error=reason(error), files=files)
        ) from error


def read_definition(source: str | Path, revision: str | None = None) -> TommerDefinition:
    """Read the settings of a published head, without its weights.

    source (Union[str, Path]): A folder or a hub id.
    RAISES (FileNotFoundError, ValueError): If it is not a ToMMeR head; names the file.
    """
    folder = find_folder(source, revision)
    return _definition(folder / _layout(folder)[0])


def read_tommer(
    source: str | Path, revision: str | None = None
) -> tuple[TommerDefinition, dict[str, Tensor]]:
    """Read a published head.

    source (Union[str, Path]): A folder or a hub id.
    revision (Optional[str]): Branch, tag or commit of a hub id.
    RETURNS (Tuple[TommerDefinition, Dict[str, Tensor]]): Settings; tensors by the reference's
        names, on the CPU, float32: W_Q, W_K (width, rank), cl_w (1, 5, 1, 1), classifier.fc.weight
        (1, width), classifier.fc.bias (1,).
    RAISES (FileNotFoundError, ValueError): If it is not a ToMMeR head; names the file.
    """
    folder = find_folder(source, revision)
    json_name, weights_name = _layout(folder)
    definition = _definition(folder / json_name)
    path = folder / weights_name
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        tensors: Any = load_file(path)
    else:
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            first_line = str(error).splitlines()[0]
            raise ValueError(Errors.E412.format(path=path, error=first_line)) from error
    return definition, _checked(tensors, definition.rank, path)


def write_tommer(folder: Path, definition: TommerDefinition, tensors: Mapping[str, Tensor]) -> None:
    """Write a head in the published layout: definition.json and parameters.

    folder (Path): The folder to write to, created if missing.
    definition (TommerDefinition): The settings.
    tensors (Mapping[str, Tensor]): The tensors, see `read_tommer`.
    RAISES (ValueError): For tensors of other names or shapes.
    """
    plain = {key: value.detach().cpu().float().contiguous() for key, value in tensors.items()}
    plain = _checked(plain, definition.rank, folder / "parameters")
    folder.mkdir(parents=True, exist_ok=True)
    fields = asdict(definition)
    text = json.dumps(fields, sort_keys=True)
    model: dict[str, Any] = {
        "id": 1,
        "module": _TYPE.rpartition(".")[0],
        "type": _TYPE.rpartition(".")[2],
        "typename": _TYPE,
        "identifier": hashlib.sha256(text.encode("utf8")).hexdigest(),
        "fields": fields,
    }
    reference = {"type": "python", "value": 1}
    loader = {
        "id": 2,
        "module": "llm2ner.xpmModel",
        "type": "xpmTorchHubModule.Loader",
        "typename": "llm2ner.xpmModel.xpmTorchHubModule.Loader",
        "identifier": hashlib.sha256(f"loader {text}".encode()).hexdigest(),
        "fields": {
            "model": reference,
            "parameters": {"type": "path.serialized", "value": "parameters", "is_folder": False},
        },
    }
    content = {"objects": [model, loader], "data": [reference, [{"type": "python", "value": 2}]]}
    (folder / "definition.json").write_text(json.dumps(content), encoding="utf8")
    torch.save(plain, folder / "parameters")


def _layout(folder: Path) -> tuple[str, str]:
    for layout in LAYOUTS:
        if all((folder / name).is_file() for name in layout):
            return layout
    wanted = " or ".join(" and ".join(layout) for layout in LAYOUTS)
    raise FileNotFoundError(Errors.E413.format(folder=folder, wanted=wanted))


def _definition(path: Path) -> TommerDefinition:
    try:
        content = json.loads(path.read_text(encoding="utf8"))
        objects = content["objects"] if isinstance(content, dict) else content
        fields = next(o["fields"] for o in objects if o["type"] == "ToMMeR")
        known = {key: fields[key] for key in TommerDefinition.__annotations__ if key in fields}
        return TommerDefinition(**known)
    except (json.JSONDecodeError, KeyError, TypeError, StopIteration) as error:
        text = f"{type(error).__name__}: {error}"
        raise ValueError(Errors.E414.format(path=path, error=text)) from error


def _checked(tensors: Any, rank: int, path: Path) -> dict[str, Tensor]:
    given = tensors if isinstance(tensors, Mapping) else {}
    width = len(given["W_Q"]) if "W_Q" in given else 0
    wanted = {
        "W_Q": (width, rank),
        "W_K": (width, rank),
        "cl_w": (1, 5, 1, 1),
        "classifier.fc.weight": (1, width),
        "classifier.fc.bias": (1,),
    }
    found = {key: tuple(value.shape) for key, value in given.items() if key in wanted}
    if found != wanted:
        raise ValueError(Errors.E415.format(path=path, found=found, rank=rank, wanted=wanted))
    return {key: given[key].float() for key in wanted}
