"""Trained heads that come with the package: `config={"pretrained": "mentions"}`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import srsly
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model

from ..architectures.shims import HeadShim, LLMShim, architecture_of
from ..architectures.span_recognizer import build_span_recognizer
from ..architectures.stacked_llm import STACK
from ..errors import Errors

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).parents[1] / "pretrained"
META, WEIGHTS = "meta.json", "head.safetensors"


def shipped_heads() -> list[str]:
    """List the names of the heads that come with the package."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{META}"))


def head_config(pretrained: str) -> dict[str, Any]:
    """The config of a shipped head, as in [components.NAME.model.head]."""
    return dict(srsly.read_json(FOLDER / pretrained / META)["head"])


def with_pretrained_head(
    name: str, model: Model[list[Doc], Any], pretrained: str
) -> Model[list[Doc], Any]:
    """Replace the head of a model by a trained one.

    The identity of the LLM that the head was trained on is checked when states are first needed, as
    for every loaded head. Another copy of that LLM (the hub's weights instead of 4-bit ones) gives
    a warning (W03), another LLM an error.

    name (str): The component's name.
    model (Model[List[Doc], List[Floats3d]]): `spacy_llm2ner.SpanRecognizer.v1`.
    pretrained (str): The name of a shipped head.
    RETURNS (Model[List[Doc], List[Floats3d]]): A model with the same LLM; its labels are in
        `attrs["labels"]`.
    RAISES (ValueError): If there is no such head, or the model is of another kind.
    """
    folder = FOLDER / pretrained
    shipped = shipped_heads()
    if pretrained not in shipped:
        raise ValueError(
            Errors.E314.format(
                name=name, pretrained=pretrained, shipped=", ".join(shipped) or "none"
            )
        )
    if model.name != "span_recognizer":
        raise ValueError(Errors.E315.format(name=name, model=model.name))
    llm = model.layers[0]
    if llm.name == STACK:
        members = [shim.member for node in llm.layers for shim in node.shims]  # type: ignore
        raise ValueError(Errors.E326.format(name=name, members=", ".join(members)))
    meta = srsly.read_json(folder / META)
    head = registry.resolve({"head": meta["head"]})["head"]
    for shim in head.shims:
        if isinstance(shim, HeadShim):
            shim.load_weights(meta["sizes"], _weights(folder))
    head.set_dim("nO", len(meta["labels"]), force=True)
    for shim in llm.shims:
        if isinstance(shim, LLMShim):
            shim.expect(meta["identity"])
            shim.architecture = dict(meta.get("architecture", {}))
    trained = build_span_recognizer(llm, head)
    trained.set_dim("nO", len(meta["labels"]), force=True)
    trained.attrs["labels"] = list(meta["labels"])
    return trained


def _weights(folder: Path) -> dict[str, Tensor]:
    """The weights in float32; on disk they are float16."""
    from safetensors.torch import load_file

    return {key: value.float() for key, value in load_file(folder / WEIGHTS).items()}


def save_pretrained_head(
    folder: Path, model: Model[list[Doc], Any], head: dict[str, Any], labels: list[str]
) -> dict[str, Any]:
    """Write the head of a trained model, for `with_pretrained_head`.

    folder (Path): The folder to write to, created if missing.
    model (Model[List[Doc], List[Floats3d]]): `spacy_llm2ner.SpanRecognizer.v1`, trained.
    head (Dict[str, Any]): The head's block of the config.
    labels (List[str]): Its labels.
    RETURNS (Dict[str, Any]): The content of meta.json.
    """
    from safetensors.torch import save_file

    llm_shim, head_shim = model.layers[0].shims[0], model.layers[1].shims[0]
    assert isinstance(llm_shim, LLMShim) and isinstance(head_shim, HeadShim)
    width = head_shim.sizes["max_span_tokens"]
    meta = {
        "labels": labels,
        "head": {**head, "max_span_tokens": width},
        "sizes": head_shim.sizes,
        "identity": llm_shim.expected,
        "architecture": architecture_of(llm_shim.llm),
    }
    folder.mkdir(parents=True, exist_ok=True)
    state = head_shim.module.state_dict()
    save_file({k: v.detach().cpu().half().contiguous() for k, v in state.items()}, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors creates files that only the owner can read
    srsly.write_json(folder / META, meta)
    return meta
