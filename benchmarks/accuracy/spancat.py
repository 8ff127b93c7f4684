"""spaCy's `spancat` on the states of the frozen LLM.

Its token features are those of our head: the same projection and encoder, trained with it. Only the
upper half differs: spaCy's default reducer (mean and max) and scorer. The variant "spancat-states"
has no encoder, only the projection of the states.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from spacy.tokens import Doc
from spacy.util import registry
from spacy.vocab import Vocab
from thinc.api import Model
from thinc.types import Floats2d
from torch import Tensor, nn

from spacy_llm2ner.architectures.torch_head import torch_head
from spacy_llm2ner.heads.layers import real_tokens
from spacy_llm2ner.heads.span_scorer import SpanScorer

CONFIG = """
[nlp]
lang = "en"
pipeline = ["spancat"]

[components]

[components.spancat]
factory = "spancat"
spans_key = "sc"
threshold = 0.5

[components.spancat.suggester]
@misc = "spacy.ngram_range_suggester.v1"
min_size = 1
max_size = {width}

[components.spancat.model]
@architectures = "spacy.SpanCategorizer.v1"
scorer = {{"@layers": "spacy.LinearLogistic.v1"}}

[components.spancat.model.reducer]
@layers = "spacy.mean_max_reducer.v1"
hidden_size = 128

[components.spancat.model.tok2vec]
@architectures = "benchmarks.StateFeatures.v1"
hidden_width = {hidden_width}
depth = {depth}
"""


class StateFeatures(nn.Module):
    """The lower half of our span head: states (B, S, L, W) -> features (B, S, 1, hidden)."""

    def __init__(self, depth: int, *, n_labels: int, max_span_tokens: int, **sizes: int) -> None:
        super().__init__()
        self.head = SpanScorer(
            **sizes,
            n_labels=1,
            max_span_tokens=max_span_tokens,
            hidden_width=n_labels,
            depth=depth,
            rank=1,
            layers_as="features",
        )

    def fit_states(self, sample: list[Tensor]) -> None:
        self.head.fit_states(sample)

    def set_dropout(self, rate: float) -> None:
        self.head.set_dropout(rate)

    def forward(self, states: Tensor) -> Tensor:
        return self.head.features(states, real_tokens(states))[:, :, None]


def _build(depth: int, sizes: dict[str, int]) -> nn.Module:
    return StateFeatures(depth, **sizes)


@registry.architectures("benchmarks.StateFeatures.v1")
def state_features(llm: Model, hidden_width: int, depth: int) -> Model[list[Doc], list[Floats2d]]:
    """Token features for any spaCy component, from a frozen LLM."""
    head = torch_head("state_features", partial(_build, depth), max_span_tokens=1)
    return Model(
        "states_tok2vec", _forward, init=_init, layers=[llm, head], dims={"nO": hidden_width}
    )


def _forward(model: Model, docs: list[Doc], is_train: bool) -> tuple[list[Any], Callable]:
    llm, head = model.layers
    states, _ = llm(docs, is_train)
    bands, backprop = head(states, is_train)

    def back(d_features: list[Any]) -> list[Doc]:
        backprop([d[:, None] for d in d_features])
        return []

    return [band[:, 0] for band in bands], back


def _init(model: Model, X: list[Doc] | None = None, Y: Any = None) -> None:
    llm, head = model.layers
    docs = X[:200] if X else [Doc(Vocab())]
    features = [model.ops.alloc3f(0, 1, model.get_dim("nO"))]
    head.initialize(X=llm.predict(docs), Y=features)
