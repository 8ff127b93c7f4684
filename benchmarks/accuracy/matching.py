"""A ToMMeR-type head with one output per label, on the states of the frozen LLM.

The published head reads the raw piece states of one layer. This one has the same input as all
systems of the benchmark: standardised token states, layers mixed by learned weights. As published,
it has no encoder, no shared projection and no dropout. Its maximum span length is that of our head.
"""

from spacy.util import registry
from thinc.api import Model
from torch import Tensor, nn

from spacy_llm2ner.architectures.torch_head import torch_head
from spacy_llm2ner.heads.layers import LayerMix, Standardize, real_tokens
from spacy_llm2ner.tommer.token_matching import PaddedTokenMatching


class MatchingOnTokens(nn.Module):
    """States (B, S, L, W) -> logits (B, S, max_span_tokens, labels)."""

    def __init__(
        self, n_layers: int, width: int, n_labels: int, max_span_tokens: int, rank: int = 64
    ) -> None:
        super().__init__()
        self.standardize = Standardize(n_layers, width)
        self.mix = LayerMix(n_layers)
        self.matching = PaddedTokenMatching(
            width,
            rank=rank,
            sliding_window=max_span_tokens - 1,
            mask_bos=False,
            n_labels=n_labels,
        )

    def fit_states(self, sample: list[Tensor]) -> None:
        self.standardize.fit(sample)

    def set_dropout(self, rate: float) -> None:
        pass

    def forward(self, states: Tensor) -> Tensor:
        real = real_tokens(states)
        mixed = self.mix(self.standardize(states)) * real[..., None]
        return self.matching(mixed[:, :, None])


@registry.architectures("benchmarks.TokenMatching.v1")
def token_matching() -> Model:
    return torch_head("token_matching", lambda sizes: MatchingOnTokens(**sizes))
