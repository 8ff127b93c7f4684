"""states -> tag scores (linear or CRF), and docs -> tag scores: an LLM and a tagger in one."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from spacy.tokens import Doc
from thinc.api import Model

from ..settings import check_number
from .torch_head import llm_and_head, sample_states, tell_parts, torch_tagger
from .types import States, TagScores

if TYPE_CHECKING:
    from torch import nn


def build_linear_tagger(
    scheme: Literal["BIO", "BILOU"] = "BIO",
    hidden_width: int | None = None,
    encoder: Literal["none", "conv"] = "none",
    depth: int = 2,
    dropout: float | None = None,
) -> Model[States, TagScores]:
    """The linear token head (`spacy_llm2ner.LinearTagger.v1`): see `heads.tagger.LinearTagger`.

    scheme (str): "BIO" or "BILOU".
    hidden_width (Optional[int]): Size of a token's features inside the head. null: no hidden layer
        without an encoder (a linear probe), 256 with one.
    encoder (str): A small bidirectional encoder: "conv" (gated convolutions) or "none".
    depth (int): Its layers.
    dropout (Optional[float]): The rate. null: that of [training].
    RETURNS (Model[List[Floats3d], TagScores]): states -> logits (words, tags).
    RAISES (ValueError): For a setting out of range.
    """
    return _tagger("linear_tagger", scheme, hidden_width, encoder, depth, dropout)


def build_crf_tagger(
    scheme: Literal["BIO", "BILOU"] = "BIO",
    hidden_width: int | None = 256,
    encoder: Literal["none", "conv"] = "conv",
    depth: int = 2,
    dropout: float | None = None,
) -> Model[States, TagScores]:
    """The token head with a CRF (`spacy_llm2ner.CRFTagger.v1`): see `heads.tagger.CRFTagger`.

    scheme (str): "BIO" or "BILOU"; transitions that it forbids are never taken.
    hidden_width (Optional[int]): Size of a token's features inside the head.
    encoder (str): A small bidirectional encoder: "conv" (gated convolutions) or "none".
    depth (int): Its layers.
    dropout (Optional[float]): The rate. null: that of [training].
    RETURNS (Model[List[Floats3d], TagScores]): states -> emissions (words, tags), transitions.
    RAISES (ValueError): For a setting out of range.
    """
    return _tagger("crf_tagger", scheme, hidden_width, encoder, depth, dropout)


def _tagger(
    kind: str,
    scheme: str,
    hidden_width: int | None,
    encoder: str,
    depth: int,
    dropout: float | None,
) -> Model[States, TagScores]:
    from ..heads.layers import check_encoder
    from ..tags import check_tagger_scheme

    check_tagger_scheme(scheme)
    check_encoder(encoder)
    check_number("hidden_width", hidden_width, least=1, of="the head")
    check_number("depth", depth, least=0, of="the head")
    check_number("dropout", dropout, least=0, below=1, of="the head")
    settings = {
        "scheme": scheme,
        "hidden_width": hidden_width,
        "encoder": encoder,
        "depth": depth,
        "dropout": dropout or 0.0,
    }
    build = partial(_make_tagger, kind, settings)
    return torch_tagger(kind, build, scheme, dropout, takes_parts=True)


def _make_tagger(kind: str, settings: Mapping[str, Any], sizes: Mapping[str, Any]) -> "nn.Module":
    from ..heads.tagger import CRFTagger, LinearTagger

    return (CRFTagger if kind == "crf_tagger" else LinearTagger)(**settings, **sizes)


def build_token_tagger(
    llm: Model[list[Doc], States], head: Model[States, TagScores]
) -> Model[list[Doc], TagScores]:
    """An LLM and a token head (`spacy_llm2ner.TokenTagger.v1`).

    llm (Model[List[Doc], List[Floats3d]]): docs -> states: `spacy_llm2ner.FrozenLLM.v1`,
        `spacy_llm2ner.StackedLLM.v1`, `spacy_llm2ner.TunedLLM.v1` or
        `spacy_llm2ner.TransformerStates.v1`.
    head (Model[List[Floats3d], TagScores]): `spacy_llm2ner.LinearTagger.v1` or
        `spacy_llm2ner.CRFTagger.v1`.
    RETURNS (Model[List[Doc], TagScores]): docs -> logits (words, tags) and a CRF's transitions.
    """
    return llm_and_head("token_tagger", llm, head, _init, scheme=head.attrs["scheme"])


def _init(
    model: Model[list[Doc], TagScores], X: list[Doc] | None = None, Y: TagScores | None = None
) -> None:
    """Initialize both; nO is already set. Without docs an empty doc determines the sizes."""
    llm, head = model.layers
    llm.initialize(X=X)
    tell_parts(llm, head)
    if model.has_dim("nO"):
        head.set_dim("nO", model.get_dim("nO"), force=True)
        head.initialize(X=sample_states(llm, X))
