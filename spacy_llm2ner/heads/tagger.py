"""Token heads: states -> a score for each tag of each word, as logits or as emissions of a CRF."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..tags import TagSet
from .crf import CRF
from .layers import MASKED, Dropout, Encoder, real_tokens
from .packing import Packing
from .stack import Parts, layer_mix, standardizer

# Initial logit of entity tags ("O" has 0): an untrained head predicts nothing.
_START_LOGIT = -5.0


class LinearTagger(nn.Module):
    """A linear layer on each token's features; without an encoder, a linear probe of the LLM.

    States are standardised and mixed over layers. Without an encoder and without `hidden_width`,
    the input of the linear layer is the mix; otherwise the mix is projected to `hidden_width` and
    encoded first.

    n_layers (int): Layers of the states (L).
    width (int): Size of a token's state in one layer (W).
    n_labels (int): Labels. The columns are those of `TagSet.of_labels`.
    scheme (str): "BIO" or "BILOU".
    hidden_width (Optional[int]): Size of a token's features inside the head. None: no projection
        without an encoder, 256 with one.
    encoder (str): "none" or "conv" (gated convolutions).
    depth (int): Layers of the encoder.
    dropout (float): Dropout on the states, in the encoder and on its output.
    parts (Optional[Parts]): Layers and width of each LLM if the states are those of several, side
        by side; layers are then mixed within each LLM. None for a single LLM.
    """

    def __init__(
        self,
        *,
        n_layers: int,
        width: int,
        n_labels: int,
        scheme: str = "BIO",
        hidden_width: int | None = None,
        encoder: str = "none",
        depth: int = 2,
        dropout: float = 0.1,
        parts: Parts | None = None,
    ) -> None:
        super().__init__()
        self.tag_set = TagSet.of_labels(map(str, range(n_labels)), scheme)
        self.crf: CRF | None = None
        self.standardize = standardizer(n_layers, width, parts)
        self.mix, width = layer_mix(n_layers, width, parts)
        self.dropout = Dropout(dropout)
        self.project: nn.Linear | None = None
        if encoder != "none" and hidden_width is None:
            hidden_width = 256
        if hidden_width is not None:
            self.project = nn.Linear(width, hidden_width)
            self.encoder = Encoder(encoder, hidden_width, depth, dropout)
            self.norm = nn.LayerNorm(hidden_width)
        self.tags = nn.Linear(hidden_width or width, len(self.tag_set))
        nn.init.zeros_(self.tags.weight)
        with torch.no_grad():
            self.tags.bias.fill_(_START_LOGIT)
            self.tags.bias[0] = 0.0

    def fit_states(self, sample: list[Tensor]) -> None:
        """Compute the statistics of the states from texts of (S, L, W)."""
        self.standardize.fit(sample)

    def set_dropout(self, rate: float) -> None:
        """Set the rate of every dropout layer."""
        for module in self.modules():
            if isinstance(module, nn.Dropout):
                module.p = rate

    def forward(self, states: Tensor) -> Tensor:
        """Score the tags of all tokens.

        states (FloatTensor): (B, S, L, W), zeros for padding and for tokens that are not words.
        RETURNS (FloatTensor): Logits (B, S, tags); `MASKED` for tokens that are not words.
        """
        real = real_tokens(states)
        packing = Packing(real, 0 if self.project is None else self.encoder.gap)
        x = self.dropout(self.mix(self.standardize(packing.pack(states))))
        if self.project is not None:
            x = self.encoder(F.gelu(self.project(x)), packing.real)
            x = self.dropout(self.norm(x))
        return packing.unpack(self.tags(x)).masked_fill(~real[..., None], MASKED)

    def context(self) -> tuple[int, int]:
        """How many tokens before and after a token affect its logits: see `SpanScorer.context`."""
        reach = 0 if self.project is None else self.encoder.reach
        return reach, reach

    def transitions(self) -> Tensor | None:
        """The CRF's transitions (tags + 2, tags); None without a CRF."""
        return None if self.crf is None else self.crf()


class CRFTagger(LinearTagger):
    """A linear tagger whose scores are the emissions of a CRF with legal transitions only."""

    def __init__(self, **sizes: object) -> None:
        super().__init__(**sizes)  # type: ignore[arg-type]
        self.crf = CRF(self.tag_set.legal())
