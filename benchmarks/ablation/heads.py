"""Heads of the ablation, trained on states in memory.

They combine parts of the package with parts that the package lacks or has in another form: other
encoders, character features, focal loss, boundary losses, averaged weights.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.ablation.encoders import OTHER_ENCODERS, OtherEncoder
from spacy_llm2ner.decoding.spans import decode
from spacy_llm2ner.heads.layers import MASKED, real_tokens
from spacy_llm2ner.heads.span_scorer import SpanScorer
from spacy_llm2ner.losses import SpanBCE

STEP_TOKENS = 480
MAX_SPAN_TOKENS = 10
_LETTERS = 24
_CHAR_WIDTH = 64


@dataclass(frozen=True)
class Recipe:
    """A head and its training; the defaults are those of the preset "accurate", with fewer epochs.

    head (Dict): Settings of `SpanScorer`.
    loss (SpanBCE): The loss.
    characters (bool): A convolution over each word's letters beside the states.
    focal (float): Cells count (1 - p of the truth) ** focal.
    boundaries (float): Weight of three more tasks: token begins, ends, or is inside an entity.
    samples (int): Number of dropout masks of the last layer per step; their logits are averaged.
    average (float): Decay of the averaged weights that are scored.
    """

    head: dict[str, Any] = field(default_factory=lambda: {"layers_as": "features"})
    loss: SpanBCE = field(default_factory=SpanBCE)
    dropout: float = 0.3
    epochs: int = 15
    learn_rate: float = 2e-3
    characters: bool = False
    focal: float = 0.0
    boundaries: float = 0.0
    samples: int = 1
    average: float = 0.0

    def with_head(self, **settings: Any) -> Recipe:
        return replace(self, head={**self.head, **settings})


@dataclass(frozen=True)
class Texts:
    """Sentences.

    states (ndarray): float16 (tokens, layers, width).
    words (List[List[str]]): The words of each sentence.
    gold (List[Set]): (start, end, label) of each sentence.
    unsure (Optional[List[Set]]): (start, end, label) that count neither as gold nor as none.
    """

    states: np.ndarray
    words: list[list[str]]
    gold: list[set[tuple[int, int, int]]]
    unsure: list[set[tuple[int, int, int]]] | None = None

    @property
    def starts(self) -> np.ndarray:
        return np.cumsum([0, *map(len, self.words)])


class WithLetters(nn.Module):
    """A projection of states plus features of each word's letters; set `words` before a call."""

    def __init__(self, project: nn.Linear, dropout: nn.Module) -> None:
        super().__init__()
        self.project, self.dropout = project, dropout
        self.letters = nn.Embedding(256, 32, padding_idx=0)
        self.shapes = nn.Conv1d(32, _CHAR_WIDTH, 3, padding=1)
        self.from_shapes = nn.Linear(_CHAR_WIDTH, project.out_features)
        self.words: Tensor | None = None

    def forward(self, states: Tensor) -> Tensor:
        """(B, S, features) -> (B, S, hidden)."""
        assert self.words is not None
        letters = self.letters(self.words).flatten(0, 1).transpose(1, 2)
        shapes = F.relu(self.shapes(letters)).amax(-1).view(*self.words.shape[:2], -1)
        return self.project(states) + self.from_shapes(self.dropout(shapes))


class SideBySide(SpanScorer):
    """`SpanScorer` with the texts of a batch side by side, for parts that need them apart."""

    def features(self, states: Tensor, real: Tensor) -> Tensor:
        """states (B, S, L, W), real bool (B, S) -> (B, S, hidden_width)."""
        return self.dropout(self.norm(self.encoder(self._projected(states), real)))


class Head(nn.Module):
    """`SpanScorer` with the additions of a recipe."""

    def __init__(self, recipe: Recipe, shape: tuple[int, int], n_labels: int) -> None:
        super().__init__()
        n_layers, width = shape
        self.recipe = recipe
        kind = recipe.head.get("encoder", "conv")
        other = kind in OTHER_ENCODERS
        apart = other or recipe.characters
        self.scorer = (SideBySide if apart else SpanScorer)(
            n_layers=n_layers,
            width=width,
            n_labels=n_labels,
            max_span_tokens=MAX_SPAN_TOKENS,
            dropout=recipe.dropout,
            **{**recipe.head, **({"encoder": "none"} if other else {})},
        )
        hidden = self.scorer.project.out_features
        if other:
            depth = recipe.head.get("depth", 2)
            self.scorer.encoder = OtherEncoder(kind, hidden, depth, recipe.dropout)
        if recipe.characters:
            self.scorer.project = WithLetters(self.scorer.project, self.scorer.dropout)
        if recipe.boundaries:
            self.boundary = nn.Linear(hidden, n_labels * 3)

    def forward(self, states: Tensor, letters: Tensor) -> tuple[Tensor, Tensor | None]:
        """RETURNS: Logits (B, S, width, labels); logits of the boundary tasks (B, S, 3 labels)."""
        if isinstance(self.scorer.project, WithLetters):
            self.scorer.project.words = letters
        samples = self.recipe.samples if self.training else 1
        logits = torch.stack([self.scorer(states) for _ in range(samples)]).mean(0)
        if not (self.recipe.boundaries and self.training):
            return logits, None
        return logits, self.boundary(self.scorer.features(states, real_tokens(states)))


def train(recipe: Recipe, train: Texts, n_labels: int, seed: int) -> Head:
    """Adam with a linear schedule, batches of about `STEP_TOKENS` tokens."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    head = Head(recipe, train.states.shape[1:], n_labels)
    head.scorer.fit_states([torch.from_numpy(train.states[:20000]).float()])
    n_batches = len(_batches(train, np.arange(len(train.words)), STEP_TOKENS))
    total = recipe.epochs * n_batches
    warmup = max(1, min(200, total // 10))
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.learn_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, (total - step) / total))
    )
    averaged = copy.deepcopy(head) if recipe.average else None
    step = 0
    for _ in range(recipe.epochs):
        for batch in _batches(train, rng.permutation(len(train.words)), STEP_TOKENS):
            loss = _loss(head, recipe, train, batch, n_labels)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if averaged is not None:
                decay = min(recipe.average, (1 + step) / (10 + step))
                with torch.no_grad():
                    for mean, value in zip(averaged.parameters(), head.parameters(), strict=True):
                        mean.lerp_(value, 1 - decay)
    return averaged or head


def _loss(head: Head, recipe: Recipe, texts: Texts, batch: list[int], n_labels: int) -> Tensor:
    states, letters, lengths = _tensors(texts, batch)
    logits, aux = head(states, letters)
    target = torch.zeros_like(logits)
    for row, i in enumerate(batch):
        for start, end, label in texts.gold[i]:
            if end - start <= MAX_SPAN_TOKENS:
                target[row, start, end - start - 1, label] = 1
    weight = (logits > MASKED / 2).float()
    for row, i in enumerate(batch if texts.unsure else ()):
        for start, end, label in texts.unsure[i]:
            weight[row, start, end - start - 1, label] = 0
    z, t = logits.detach().numpy(), target.numpy()
    if recipe.focal:
        p_truth = torch.sigmoid(logits.detach() * (2 * target - 1))
        weight = weight * (1 - p_truth) ** recipe.focal
    cut = [slice(0, length) for length in lengths]
    rows = [[x[row, part] for row, part in enumerate(cut)] for x in (z, t, weight.numpy())]
    _, gradients = recipe.loss(*rows)
    d_logits = torch.zeros_like(logits)
    for row, gradient in enumerate(gradients):
        d_logits[row, : len(gradient)] = torch.from_numpy(np.asarray(gradient))
    # A scalar whose gradient with respect to the logits is the loss's own.
    loss = (logits * d_logits).sum()
    if aux is None:
        return loss
    wanted = torch.zeros(*logits.shape[:2], n_labels, 3)
    real = real_tokens(states)[..., None]
    for row, i in enumerate(batch):
        for start, end, label in texts.gold[i]:
            wanted[row, start, label, 0] = wanted[row, end - 1, label, 1] = 1
            wanted[row, start:end, label, 2] = 1
    cells = F.binary_cross_entropy_with_logits(aux, wanted.flatten(2), reduction="none")
    return loss + recipe.boundaries * (cells * real).sum() / len(batch)


@torch.inference_mode()
def logits_of(head: Head, texts: Texts) -> list[np.ndarray]:
    """Logits of every sentence: (tokens, width, labels)."""
    head.eval()
    found: list[np.ndarray] = [np.zeros(0)] * len(texts.words)
    order = np.argsort([len(words) for words in texts.words])
    for batch in _batches(texts, order, 4000):
        states, letters, lengths = _tensors(texts, batch)
        logits = head(states, letters)[0].numpy()
        for row, i in enumerate(batch):
            found[i] = np.ascontiguousarray(logits[row, : lengths[row]])
    return found


def f1(logits: list[np.ndarray], gold: list[set[tuple[int, int, int]]], decoding: str) -> float:
    """Entity F1 at a threshold of 0.5."""
    right = found = 0
    for z, truth in zip(logits, gold, strict=True):
        spans = decode(z, np.full(z.shape[2], 0.5, np.float32), decoding)
        keys = set(
            zip(*(a.tolist() for a in (spans.starts, spans.ends, spans.labels)), strict=True)
        )
        right += len(keys & truth)
        found += len(keys)
    return 200 * right / max(1, found + sum(map(len, gold)))


def _batches(texts: Texts, order: np.ndarray, size: int) -> list[list[int]]:
    batches: list[list[int]] = []
    room = 0
    for i in order:
        if len(texts.words[i]) > room:
            batches.append([])
            room = size
        batches[-1].append(int(i))
        room -= len(texts.words[i])
    return batches


def _tensors(texts: Texts, batch: list[int]) -> tuple[Tensor, Tensor, list[int]]:
    lengths = [len(texts.words[i]) for i in batch]
    longest, starts = max(lengths), texts.starts
    states = torch.zeros(len(batch), longest, *texts.states.shape[1:])
    letters = torch.zeros(len(batch), longest, _LETTERS, dtype=torch.long)
    for row, i in enumerate(batch):
        states[row, : lengths[row]] = torch.from_numpy(texts.states[starts[i] : starts[i + 1]])
        for t, word in enumerate(texts.words[i]):
            codes = [min(ord(char), 255) for char in word]
            if len(codes) > _LETTERS:  # both ends of a long word
                codes = codes[: _LETTERS // 2] + codes[-_LETTERS // 2 :]
            letters[row, t, : len(codes)] = torch.tensor(codes)
    return states, letters, lengths


def parameters(head: Head) -> int:
    return sum(math.prod(value.shape) for value in head.parameters())
