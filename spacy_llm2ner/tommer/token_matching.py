"""The ToMMeR head: the logit that the span from piece j to piece i is a mention.

Paper: ToMMeR - Efficient Entity Mention Detection from Large Language Models, arXiv 2510.19410.

With states h, q_i = W_Q' h_i for the END piece and k_j = W_K' h_j for the START piece, the match is
s_ij = cosine(q_i, k_j), or <q_i, k_j> / sqrt(rank); optionally through log_sigmoid or atan. With
v_t = w . h_t + b, the logit of the span j .. i is

    z_ij = theta_1 s_ij
         + theta_2 min(0, s_ik for j < k <= i)     worst match of its end with an inner start
         + theta_3 max(0, s_ik for j < k <= i)     best match of its end with an inner start
         + theta_4 v_i + theta_5 v_{i+1}           v_{i+1} = 0 after the text's last piece

Without `causal_mask`, minimum and maximum also run over the starts k > i within the window. All
scores are computed in the band of spans of at most window + 1 pieces, never in a square of pieces:
the inner starts of the span (j, i) are those of the span (j + 1, i) and the start j + 1 itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Self

from ..errors import Errors
from ..heads.layers import MASKED, ahead, band_products, real_tokens, windows
from .files import TommerDefinition, check_settings, read_tommer, write_tommer

FEATURES = ("match", "worst inner match", "best inner match", "end", "next")
# Logits of all spans are below 0 before training: an untrained head predicts nothing.
_START_THETA = (4.0, 4.0, -2.0, 1.0, 1.0)
_START_BIAS = -5.0


class _Projected(NamedTuple):
    """Vectors of each piece as span end and span start (B, P, labels, rank); v (B, P, labels)."""

    ends: Tensor
    starts: Tensor
    probe: Tensor


class TokenMatching(nn.Module):
    """The ToMMeR head. The number of parameters is 2 * width * rank + width + 1 + 5, per label.

    width (int): Size of a piece's state.
    rank (int): Rank of the match.
    sliding_window (int): The most pieces between a span's start and its end; 0 = no limit.
    causal_mask (bool): Whether only inner starts count, see above.
    use_cosine (bool): Whether the match is a cosine, else a dot product / sqrt(rank).
    normalize_scores (str): The function of the match: "" (none), "log_sigmoid" or "atan".
    mask_bos (bool): Whether the first piece is a special piece, where no span may start.
    n_labels (int): The number of independent heads, one per label, on the same states.
    RAISES (ValueError): For a setting out of range.
    """

    scale: Tensor

    def __init__(
        self,
        width: int,
        rank: int = 64,
        sliding_window: int = 25,
        causal_mask: bool = True,
        use_cosine: bool = True,
        normalize_scores: str = "",
        mask_bos: bool = True,
        n_labels: int = 1,
    ) -> None:
        super().__init__()
        check_settings(rank, sliding_window, normalize_scores)
        self.width, self.rank, self.n_labels = width, rank, n_labels
        self.sliding_window, self.causal_mask = sliding_window, causal_mask
        self.use_cosine, self.normalize_scores = use_cosine, normalize_scores
        self.mask_bos = mask_bos
        self.definition: TommerDefinition | None = None
        self.W_Q = nn.Parameter(torch.randn(n_labels, width, rank) * width**-0.5)
        self.W_K = nn.Parameter(torch.randn(n_labels, width, rank) * width**-0.5)
        self.probe = nn.Parameter(torch.zeros(n_labels, width))
        self.bias = nn.Parameter(torch.full((n_labels,), _START_BIAS))
        self.theta = nn.Parameter(torch.tensor(_START_THETA).repeat(n_labels, 1))
        if not use_cosine:
            nn.init.zeros_(self.W_K)
        # Scale of each dimension of the states; multiplied into the weights for publication.
        self.register_buffer("scale", torch.ones(width))

    # Files ------------------------------------------------------------------------------------

    @classmethod
    def from_tommer(cls, source: str | Path, revision: str | None = None) -> Self:
        """Load a published head.

        source (Union[str, Path]): A folder with `parameters` and `definition.json`, or a hub id.
        revision (Optional[str]): Branch, tag or commit of a hub id.
        RETURNS (TokenMatching): A float32 head for one label; its LLM and settings are in
            `definition`.
        RAISES (FileNotFoundError, OSError, ValueError): If the source is not a published head. Only
            tensors are read from the file: pickled code in it is an error.
        """
        definition, tensors = read_tommer(source, revision)
        head = cls(
            width=tensors["W_Q"].shape[0],
            rank=definition.rank,
            sliding_window=definition.sliding_window,
            causal_mask=definition.causal_mask,
            use_cosine=definition.use_cosine,
            normalize_scores=definition.normalize_scores,
        )
        head.definition = definition
        with torch.no_grad():
            head.W_Q.copy_(tensors["W_Q"][None])
            head.W_K.copy_(tensors["W_K"][None])
            head.probe.copy_(tensors["classifier.fc.weight"])
            head.bias.copy_(tensors["classifier.fc.bias"])
            head.theta.copy_(tensors["cl_w"].view(1, 5))
        return head

    def save_tommer(
        self,
        folder: str | Path,
        llm_name: str | None = None,
        layer: int | None = None,
        label: int = 0,
    ) -> None:
        """Write one label's head in the published layout.

        folder (Union[str, Path]): The folder to write to.
        llm_name (Optional[str]): The LLM's name; None for that of `definition`.
        layer (Optional[int]): The LLM's block, counted from 0; None for that of `definition`.
        label (int): The index of the label.
        RAISES (ValueError): If the LLM or the layer is unknown, or for a label out of range.
        """
        known = self.definition
        llm_name = llm_name or (known.llm_name if known else None)
        layer = known.layer if layer is None and known else layer
        if llm_name is None or layer is None or not 0 <= label < self.n_labels:
            raise ValueError(
                Errors.E490.format(
                    last=self.n_labels - 1, llm_name=llm_name, layer=layer, label=label
                )
            )
        definition = TommerDefinition(
            llm_name=llm_name,
            layer=layer,
            rank=self.rank,
            causal_mask=self.causal_mask,
            sliding_window=self.sliding_window,
            use_cosine=self.use_cosine,
            normalize_scores=self.normalize_scores,
        )
        tensors = {
            "W_Q": self.W_Q[label] * self.scale[:, None],
            "W_K": self.W_K[label] * self.scale[:, None],
            "cl_w": self.theta[label].view(1, 5, 1, 1),
            "classifier.fc.weight": (self.probe[label] * self.scale)[None],
            "classifier.fc.bias": self.bias[label : label + 1],
        }
        write_tommer(Path(folder), definition, tensors)

    # Training ---------------------------------------------------------------------------------

    @torch.no_grad()
    def fit_states(self, sample: Iterable[Tensor]) -> None:
        """Compute the scale of each dimension, 1 / root mean square, from texts of (P, ..., width).

        Some dimensions of raw states are a thousand times larger than others, and training is slow
        unless they are scaled. The published layout stores scaled weights.
        """
        total, count = torch.zeros(self.width, dtype=torch.float64), 0
        for states in sample:
            rows = states.reshape(-1, self.width).to("cpu", torch.float64)
            total += rows.square().sum(dim=0)
            count += len(rows)
        if count:
            self.scale.copy_((total / count).clamp_min(1e-12).rsqrt())

    def set_dropout(self, rate: float) -> None:
        """Do nothing: the published head has no dropout."""

    # Scores -----------------------------------------------------------------------------------

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Score all spans.

        states (FloatTensor): (batch, pieces, width), padded on the right with any values.
        lengths (LongTensor): (batch,) pieces of each text, with the special first one if
            `mask_bos`.
        RETURNS (FloatTensor): Logits (batch, pieces, window + 1); entry [b, j, o] is the span that
            starts at piece j and ends at j + o, inclusive. `MASKED` where the span leaves the text,
            and at position 0 if `mask_bos`. Without a limit, window + 1 is the number of pieces.
            With several labels (batch, pieces, window + 1, labels).
        """
        projected = self._project(states, lengths)
        match, low, high = self._matches(projected, lengths)
        theta = self.theta
        probe = theta[:, 3] * projected.probe + theta[:, 4] * ahead(projected.probe, 1)
        logits = theta[:, 0] * match + theta[:, 1] * low + theta[:, 2] * high
        logits = logits + windows(probe, match.shape[2])
        logits = logits.masked_fill(~self._legal(logits, lengths)[..., None], MASKED)
        return logits[..., 0] if self.n_labels == 1 else logits

    def features(self, states: Tensor, lengths: Tensor) -> Tensor:
        """The five features that the weights `theta` apply to, in the order of `FEATURES`.

        states, lengths: As in `forward`.
        RETURNS (FloatTensor): (batch, pieces, window + 1, labels, 5); meaningless where the logits
            are `MASKED`.
        """
        projected = self._project(states, lengths)
        match, low, high = self._matches(projected, lengths)
        size = match.shape[2]
        end, following = projected.probe, ahead(projected.probe, 1)
        return torch.stack([match, low, high, windows(end, size), windows(following, size)], dim=-1)

    def _size(self, n_pieces: int) -> int:
        """The band's width: the most pieces of a span."""
        return self.sliding_window + 1 if self.sliding_window else n_pieces

    def _project(self, states: Tensor, lengths: Tensor) -> _Projected:
        batch, n_pieces, _ = states.shape
        labels, rank = self.n_labels, self.rank
        parts = [self.W_Q, self.W_K, self.probe[..., None]]
        # One product for all three: memory access to the states dominates the time.
        weights = torch.cat([part.transpose(0, 1).flatten(1) for part in parts], dim=1)
        product = states @ (self.scale[:, None] * weights)
        inside = torch.arange(n_pieces, device=states.device) < lengths[:, None]
        product = product.masked_fill(~inside[..., None], 0.0)
        ends, starts, probe = product.split([labels * rank, labels * rank, labels], dim=-1)
        ends, starts = (x.reshape(batch, n_pieces, labels, rank) for x in (ends, starts))
        if self.use_cosine:
            ends, starts = F.normalize(ends, dim=-1), F.normalize(starts, dim=-1)
        else:
            ends = ends * rank**-0.5
        return _Projected(ends, starts, (probe + self.bias) * inside[..., None])

    def _matches(self, projected: _Projected, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The match, and its minimum and maximum over inner starts: (B, P, window + 1, labels)."""
        size = self._size(projected.ends.shape[1])
        match = self._squash(band_products(projected.starts, projected.ends, size))
        lows, highs = self._running(match)
        if not self.causal_mask:
            low, high = self._behind_the_end(projected, lengths, size)
            lows = torch.minimum(lows, windows(low, size))
            highs = torch.maximum(highs, windows(high, size))
        return match, lows, highs

    def _squash(self, match: Tensor) -> Tensor:
        if self.normalize_scores == "log_sigmoid":
            return F.logsigmoid(match)
        return torch.atan(match) if self.normalize_scores == "atan" else match

    @staticmethod
    def _running(match: Tensor) -> tuple[Tensor, Tensor]:
        """Minimum and maximum, with 0, over the starts that are later than a span's own.

        match: (B, P, size, labels). RETURNS: the same shape, twice.
        """
        by_length = match.unbind(2)
        lows, highs = [torch.zeros_like(by_length[0])], [torch.zeros_like(by_length[0])]
        for shorter in by_length[:-1]:
            # Inner starts: the start of the span one piece shorter on the left, and its inner ones.
            lows.append(ahead(torch.minimum(lows[-1], shorter), 1))
            highs.append(ahead(torch.maximum(highs[-1], shorter), 1))
        return torch.stack(lows, dim=2), torch.stack(highs, dim=2)

    def _behind_the_end(
        self, projected: _Projected, lengths: Tensor, size: int
    ) -> tuple[Tensor, Tensor]:
        """Minimum and maximum, with 0, of each end's matches with the starts after it.

        The window to the right of an end is as wide as the longest span to its left.

        RETURNS: (B, P, labels), twice.
        """
        match = self._squash(band_products(projected.ends, projected.starts, size))
        legal = self._inside(match, lengths)
        legal[:, :, 0] = False
        match = match.masked_fill(~legal[..., None], 0.0)
        return match.amin(dim=2).clamp_max(0), match.amax(dim=2).clamp_min(0)

    @staticmethod
    def _inside(band: Tensor, lengths: Tensor) -> Tensor:
        """Which cells of a band (B, P, size, ...) are spans of the text: bool (B, P, size)."""
        starts = torch.arange(band.shape[1], device=band.device)[:, None]
        ends = starts + torch.arange(band.shape[2], device=band.device)
        return ends < lengths[:, None, None]

    def _legal(self, band: Tensor, lengths: Tensor) -> Tensor:
        legal = self._inside(band, lengths)
        if self.mask_bos:
            legal[:, 0] = False
        return legal


class PaddedTokenMatching(TokenMatching):
    """The head with the interface of the other heads.

    Padded states (B, P, 1, width), zeros after each text's end -> logits for all labels
    (B, P, window + 1, labels).
    """

    def forward(self, states: Tensor) -> Tensor:  # type: ignore[override]
        """Score all spans; see `TokenMatching.forward`."""
        real = real_tokens(states)
        places = torch.arange(1, states.shape[1] + 1, device=states.device)
        lengths = (real * places).amax(dim=1)
        logits = super().forward(states[:, :, 0], lengths)
        return logits[..., None] if self.n_labels == 1 else logits
