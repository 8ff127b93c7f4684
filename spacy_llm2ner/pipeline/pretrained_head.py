"""Trained heads that come with the package: `config={"pretrained": "mentions"}`.

A name is a folder with one head, or with a folder for each LLM that has an edition of it: the LLM
of the config decides which edition is used.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from ..llm.checkpoint import folder_at_hand
from ..llm.frozen import FrozenLLM

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path(__file__).parents[1] / "pretrained"
META, WEIGHTS = "meta.json", "head.safetensors"


def shipped_heads() -> list[str]:
    """List the names of the heads that come with the package."""
    metas = [*FOLDER.glob(f"*/{META}"), *FOLDER.glob(f"*/*/{META}")]
    return sorted({meta.relative_to(FOLDER).parts[0] for meta in metas})


def editions(pretrained: str) -> dict[str, Path]:
    """Find the editions of a shipped head.

    pretrained (str): The head's name.
    RETURNS (Dict[str, Path]): LLM -> folder; empty for a head that exists for one LLM only.
    """
    return {
        meta.parent.name: meta.parent for meta in sorted((FOLDER / pretrained).glob(f"*/{META}"))
    }


def shipped_folder(pretrained: str, llm: LLMShim) -> Path:
    """Find the folder of a shipped head that a model has.

    pretrained (str): The head's name.
    llm (LLMShim): The LLM, which need not be on this machine.
    RETURNS (Path): The folder of the edition for the LLM; the name's own if there are no editions.
    """
    by_llm = editions(pretrained)
    for folder in by_llm.values():
        meta = srsly.read_json(folder / META)
        belongs = llm.architecture and llm.architecture == meta["architecture"]
        # A head that was trained further belongs to one copy of the LLM.
        if belongs or llm.expected.get("model") == meta["identity"]["model"]:
            return folder
    return next(iter(by_llm.values()), FOLDER / pretrained)


def head_config(pretrained: str, llm: LLMShim) -> dict[str, Any]:
    """The config of a shipped head, as in [components.NAME.model.head]; see `shipped_folder`."""
    return dict(srsly.read_json(shipped_folder(pretrained, llm) / META)["head"])


def with_pretrained_head(
    name: str, model: Model[list[Doc], Any], pretrained: str
) -> Model[list[Doc], Any]:
    """Replace the head of a model by a trained one.

    The identity of the LLM that the head was trained on is checked when states are first needed, as
    for every loaded head. Another copy of that LLM (the hub's weights instead of 4-bit ones) gives
    a warning (W03), another LLM an error. Of a head with editions the one for the LLM is taken; an
    LLM whose setting 'layers' is null is read at the layers of the edition.

    name (str): The component's name.
    model (Model[List[Doc], List[Floats3d]]): `spacy_llm2ner.SpanRecognizer.v1`.
    pretrained (str): The name of a shipped head.
    RETURNS (Model[List[Doc], List[Floats3d]]): A model with the same LLM; its labels are in
        `attrs["labels"]`.
    RAISES (ValueError): If there is no such head (E314), if the model is of another kind (E315), or
        if the head has no edition for the LLM (E347).
    """
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
    shims = [shim for shim in llm.shims if isinstance(shim, LLMShim)]
    folder = FOLDER / pretrained
    by_llm = editions(pretrained)
    if by_llm:
        folder = by_llm[_edition(name, pretrained, [shim.llm for shim in shims])]
    meta = srsly.read_json(folder / META)
    head = registry.resolve({"head": meta["head"]})["head"]
    for shim in head.shims:
        if isinstance(shim, HeadShim):
            shim.load_weights(meta["sizes"], _weights(folder))
    head.set_dim("nO", len(meta["labels"]), force=True)
    for shim in shims:
        if by_llm:
            shim.llm.read_layers(meta["identity"]["layers"])
        shim.expect(_identity(meta, shim.llm))
        shim.architecture = dict(meta.get("architecture", {}))
    trained = build_span_recognizer(llm, head)
    trained.set_dim("nO", len(meta["labels"]), force=True)
    trained.attrs["labels"] = list(meta["labels"])
    return trained


def _edition(name: str, pretrained: str, llms: list[FrozenLLM]) -> str:
    """The edition for an LLM, as far as it is known without a download.

    An LLM that is not at hand is judged by its name. If that says nothing either, the first edition
    is taken: a stored pipeline then loads its own weights, and another LLM is an error when states
    are first needed.
    """
    by_llm = editions(pretrained)
    for llm in llms:
        architecture = _known_architecture(llm)
        for edition, folder in by_llm.items():
            if architecture == srsly.read_json(folder / META)["architecture"]:
                return edition
        if architecture is not None:
            raise ValueError(
                Errors.E347.format(
                    name=name,
                    pretrained=pretrained,
                    llm=llm.settings.name,
                    type=architecture["model_type"],
                    blocks=architecture["num_hidden_layers"],
                    width=architecture["hidden_size"],
                    editions=", ".join(by_llm),
                )
            )
        for edition in by_llm:
            if edition.lower() in Path(llm.settings.name).name.lower():
                return edition
    return next(iter(by_llm))


def _known_architecture(llm: FrozenLLM) -> dict[str, Any] | None:
    """The architecture of an LLM; None if its config.json is not on this machine."""
    settings = llm.settings
    try:
        at_hand = llm.bundle or folder_at_hand(settings.name, revision=settings.revision)
    except OSError:
        return None
    return None if at_hand is None else architecture_of(llm)


def _identity(meta: Mapping[str, Any], llm: FrozenLLM) -> dict[str, Any]:
    """The identity of the LLM that a head belongs to.

    A head that was measured in several precisions belongs to its LLM in each of them.
    """
    identity = dict(meta["identity"])
    if "dtypes" in meta and llm.dtype in meta["dtypes"]:
        identity["dtype"] = llm.dtype
    return identity


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
