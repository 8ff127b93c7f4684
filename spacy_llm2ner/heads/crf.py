"""Linear-chain conditional random field over words: likelihood, Viterbi decoding, marginals.

The score of a tag sequence y of a text of n words is

    start[y_1] + sum of emissions[t, y_t] + sum of pairs[y_t, y_{t+1}] + end[y_n]

and its probability is exp(score) / Z (Lafferty et al. 2001). Texts are padded on the right: every
position before a text's length is a word. All functions take the transitions as one table
(tags + 2, tags): rows [i] are pairs, row [tags] is the start, row [tags + 1] the end. A transition
of `ILLEGAL` is never taken.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

# Finite, so that differences of such numbers are not NaN; exp of it is 0 in every precision.
ILLEGAL = -1e4


class CRF(nn.Module):
    """The parameters of a CRF: its transitions. Training never changes forbidden ones.

    legal (ndarray): bool (tags + 2, tags), see `TagSet.legal`.
    """

    illegal: Tensor

    def __init__(self, legal: np.ndarray) -> None:
        super().__init__()
        n_tags = legal.shape[1]
        self.pairs = nn.Parameter(torch.zeros(n_tags, n_tags))
        self.start = nn.Parameter(torch.zeros(n_tags))
        self.end = nn.Parameter(torch.zeros(n_tags))
        self.register_buffer("illegal", torch.from_numpy(~legal), persistent=False)

    def forward(self) -> Tensor:
        """The table of transitions, (tags + 2, tags)."""
        table = torch.cat([self.pairs, self.start[None], self.end[None]])
        return table.masked_fill(self.illegal, ILLEGAL)


def legal_only(legal: np.ndarray) -> Tensor:
    """Transitions that are 0 where legal and `ILLEGAL` elsewhere: float32 (tags + 2, tags)."""
    return torch.from_numpy(np.where(legal, 0.0, ILLEGAL).astype(np.float32))


def _forwards(alpha: Tensor, emissions: Tensor, pairs: Tensor, inside: Tensor) -> Tensor:
    """The next forward variables (texts, tags); those of texts that have ended stay the same.

    An entry is the log-sum-exp of the scores of all sequences up to a word that end in a tag.
    """
    further = (alpha[:, :, None] + pairs).logsumexp(dim=1) + emissions
    return torch.where(inside[:, None], further, alpha)


def log_partition(emissions: Tensor, lengths: Tensor, transitions: Tensor) -> Tensor:
    """log Z of each text.

    emissions (FloatTensor): (texts, words, tags), at least one word.
    lengths (LongTensor): Words of each text, (texts,); a text without words has log Z = 0.
    transitions (FloatTensor): (tags + 2, tags).
    RETURNS (FloatTensor): (texts,).
    """
    n_tags = emissions.shape[2]
    alpha = transitions[n_tags] + emissions[:, 0]
    for t in range(1, emissions.shape[1]):
        alpha = _forwards(alpha, emissions[:, t], transitions[:n_tags], t < lengths)
    return torch.where(lengths > 0, (alpha + transitions[-1]).logsumexp(dim=1), 0.0)


def log_likelihood(
    emissions: Tensor, lengths: Tensor, transitions: Tensor, allowed: Tensor
) -> Tensor:
    """Log-likelihood of partly known tags: log P(all allowed sequences) of each text.

    allowed (BoolTensor): (texts, words, tags): one tag where the annotation gives it; all tags
        where it does not.
    RETURNS (FloatTensor): (texts,), at most 0. See `log_partition` for the other arguments.
    """
    restricted = emissions.masked_fill(~allowed, ILLEGAL)
    return log_partition(restricted, lengths, transitions) - log_partition(
        emissions, lengths, transitions
    )


def viterbi(emissions: Tensor, lengths: Tensor, transitions: Tensor) -> list[list[int]]:
    """The most probable tag sequence of each text (Viterbi); arguments as for `log_partition`.

    RETURNS (List[List[int]]): A column per word.
    """
    n_tags = emissions.shape[2]
    pairs, start, end = transitions[:n_tags], transitions[n_tags], transitions[n_tags + 1]
    best = start + emissions[:, 0]
    # One array of small numbers, not one per word: a text may have a million words.
    pointers = np.zeros((emissions.shape[1], len(emissions), n_tags), dtype=np.int16)
    for t in range(1, emissions.shape[1]):
        value, pointer = (best[:, :, None] + pairs).max(dim=1)
        inside = (t < lengths)[:, None]
        best = torch.where(inside, value + emissions[:, t], best)
        pointers[t] = pointer.cpu().numpy()
    last = (best + end).argmax(dim=1).tolist()
    paths = []
    for text, (tag, length) in enumerate(zip(last, lengths.tolist(), strict=True)):
        path = [tag] if length else []
        for t in range(length - 2, -1, -1):
            path.append(int(pointers[t + 1, text, path[-1]]))
        paths.append(path[::-1])
    return paths


def forward_backward(
    emissions: Tensor, lengths: Tensor, transitions: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Forward and backward variables; arguments as for `log_partition`.

    RETURNS (Tuple[FloatTensor, FloatTensor, FloatTensor]): alpha and beta (texts, words, tags), and
        log Z (texts,). alpha includes the emission of the current word, beta does not:
        exp(alpha + beta - log Z) is the marginal probability of a word's tag.
    """
    n_tags = emissions.shape[2]
    pairs, start, end = transitions[:n_tags], transitions[n_tags], transitions[n_tags + 1]
    alphas, betas = torch.empty_like(emissions), torch.empty_like(emissions)
    alpha = start + emissions[:, 0]
    alphas[:, 0] = alpha
    for t in range(1, emissions.shape[1]):
        alpha = _forwards(alpha, emissions[:, t], pairs, t < lengths)
        alphas[:, t] = alpha
    beta = end.expand(len(emissions), n_tags)
    betas[:, -1] = beta
    for t in range(emissions.shape[1] - 2, -1, -1):
        further = (pairs + (emissions[:, t + 1] + beta)[:, None]).logsumexp(dim=2)
        beta = torch.where((t + 1 < lengths)[:, None], further, end)
        betas[:, t] = beta
    log_z = torch.where(lengths > 0, (alpha + end).logsumexp(dim=1), 0.0)
    return alphas, betas, log_z


def span_probability(
    alpha: np.ndarray,
    beta: np.ndarray,
    log_z: float,
    emissions: np.ndarray,
    transitions: np.ndarray,
    start: int,
    path: list[int],
    followers: list[int],
) -> float:
    """The probability of an entity with exactly these words: the sum over all tag sequences of
    one text that contain it.

    alpha, beta, emissions (ndarray): (words, tags); see `forward_backward`.
    log_z (float): See `forward_backward`.
    start (int): The entity's first word.
    path (List[int]): The tags of its words; the first one must begin an entity.
    followers (List[int]): Tags that continue the entity on the next word.
    RETURNS (float): In [0, 1].
    """
    end = start + len(path)
    inside = sum(
        transitions[before, tag] + emissions[start + i + 1, tag]
        for i, (before, tag) in enumerate(pairwise(path))
    )
    score = alpha[start, path[0]] + inside - log_z
    total = np.exp(score + beta[end - 1, path[-1]])
    if followers and end < len(emissions):
        longer = transitions[path[-1], followers] + emissions[end, followers] + beta[end, followers]
        total -= np.exp(score + longer).sum()
    return float(np.clip(total, 0.0, 1.0))
