"""Tag scores -> entities with probabilities.

viterbi   the best tag sequence that the scheme allows: by the score of the CRF, or without a CRF by
          the product of the words' probabilities
argmax    the most probable tag of each word (with a CRF: by its marginals), legal or not, converted
          by the rules of conlleval

An entity's score. With a CRF: the probability of an entity with this label and exactly these words,
summed over all tag sequences that contain it (forward-backward algorithm). Without a CRF: the mean
probability of its words' tags, as `transformers` reports it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..batching import batches_by_length
from ..errors import Errors
from ..numeric import log_odds, probabilities
from ..tags import TagSet
from .spans import Spans

TAG_DECODINGS = ("viterbi", "argmax")
# Words that are decoded in one batch, padding included.
_WORDS_AT_ONCE = 20_000
# Bounds that keep the log-odds of a score finite: the second is the largest float32 below 1.
_SURE = (1e-9, 1 - 2.0**-24)

# Start, end (exclusive), label and score, counted in words.
Entity = tuple[int, int, str, float]


def decode_tags(
    logits: Sequence[np.ndarray],
    transitions: np.ndarray | None,
    tag_set: TagSet,
    decoding: str = "viterbi",
) -> list[list[Entity]]:
    """Decode the entities of texts.

    logits (Sequence[ndarray]): For each text (words, tags).
    transitions (Optional[ndarray]): (tags + 2, tags), see `heads.crf`; None without a CRF.
    tag_set (TagSet): The tags.
    decoding (str): "viterbi" or "argmax".
    RETURNS (List[List[Entity]]): The disjoint entities of each text, in order.
    RAISES (ValueError): For NaN among the logits.
    """
    if any(np.isnan(text).any() for text in logits):
        raise ValueError(Errors.E211)
    found: list[list[Entity]] = [[] for _ in logits]
    for batch in batches_by_length([len(text) for text in logits], _WORDS_AT_ONCE):
        texts = [logits[i] for i in batch]
        entities = (
            _decode_linear(texts, tag_set, decoding)
            if transitions is None
            else _decode_crf(texts, transitions, tag_set, decoding)
        )
        for i, of_text in zip(batch, entities, strict=True):
            found[i] = of_text
    return found


def _padded(texts: Sequence[np.ndarray]) -> np.ndarray:
    padded = np.zeros((len(texts), max(map(len, texts)), texts[0].shape[1]), dtype=np.float32)
    for row, text in zip(padded, texts, strict=True):
        row[: len(text)] = text
    return padded


def _decode_linear(
    texts: Sequence[np.ndarray], tag_set: TagSet, decoding: str
) -> list[list[Entity]]:
    logs = [_log_softmax(text) for text in texts]
    if decoding == "argmax":
        paths = [text.argmax(axis=1).tolist() for text in texts]
    else:
        import torch

        from ..heads.crf import legal_only, viterbi

        lengths = torch.tensor([len(text) for text in texts])
        paths = viterbi(torch.from_numpy(_padded(logs)), lengths, legal_only(tag_set.legal()))
    entities = []
    for log_p, path in zip(logs, paths, strict=True):
        p = np.exp(log_p[np.arange(len(path)), path])
        entities.append([(a, b, x, float(p[a:b].mean())) for a, b, x in tag_set.read(path)])
    return entities


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _decode_crf(
    texts: Sequence[np.ndarray], transitions: np.ndarray, tag_set: TagSet, decoding: str
) -> list[list[Entity]]:
    import torch

    from ..heads.crf import forward_backward, span_probability, viterbi

    emissions = torch.from_numpy(_padded(texts)).double()
    lengths = torch.tensor([len(text) for text in texts])
    table = torch.from_numpy(np.ascontiguousarray(transitions)).double()
    alphas, betas, log_z = (x.numpy() for x in forward_backward(emissions, lengths, table))
    if decoding == "argmax":
        paths = [
            (a + b)[: len(text)].argmax(axis=1).tolist()
            for a, b, text in zip(alphas, betas, texts, strict=True)
        ]
    else:
        paths = viterbi(emissions, lengths, table)
    entities: list[list[Entity]] = []
    for i, path in enumerate(paths):
        n = len(path)
        spans = tag_set.read(path)
        inner = [tag_set.path(end - start, label) for start, end, label in spans]
        args = (alphas[i, :n], betas[i, :n], log_z[i], emissions[i, :n].numpy(), table.numpy())
        entities.append(
            [
                (a, b, x, span_probability(*args, a, tags, tag_set.followers(tags[-1])))
                for (a, b, x), tags in zip(spans, inner, strict=True)
                if tags is not None  # a CRF's tags can say every entity
            ]
        )
    return entities


def entity_logits(scores: np.ndarray) -> np.ndarray:
    """The log-odds of entities' scores, finite: float (entities,) -> float32 (entities,)."""
    return log_odds(scores, *_SURE).astype(np.float32)


def temper_scores(spans: Spans, temperatures: np.ndarray) -> Spans:
    """Divide the log-odds of entities' scores by the temperature of their label.

    spans (Spans): Entities.
    temperatures (ndarray): (labels,), above 0.
    RETURNS (Spans): New spans; `spans` itself where every temperature is 1.
    """
    if (temperatures == 1).all():
        return spans
    scores = probabilities(
        (entity_logits(spans.scores) / temperatures[spans.labels]).astype(np.float32)
    )
    return Spans(spans.starts, spans.ends, spans.labels, scores)


def to_tokens(
    entities: Sequence[Entity], words: np.ndarray, labels: Sequence[str]
) -> tuple[Spans, int]:
    """Entities counted in words -> spans counted in tokens.

    entities (Sequence[Entity]): Entities of one text.
    words (ndarray): int (words, 2): the tokens of each word. Words may share a token.
    labels (Sequence[str]): The labels, in the order of the label indices; entities with other
        labels are left out.
    RETURNS (Tuple[Spans, int]): The spans; and the number of entities that were dropped because one
        with a higher score shares a token, or because they cover blank tokens only.
    """
    index = {label: i for i, label in enumerate(labels)}
    kept: list[Entity] = []
    dropped = 0
    for start, end, label, score in entities:
        if label not in index:
            continue
        inner = words[start:end]
        inner = inner[inner[:, 0] < inner[:, 1]]  # words of white space cover no token
        if not len(inner):
            dropped += 1
            continue
        entity = (int(inner[0, 0]), int(inner[-1, 1]), label, score)
        if kept and entity[0] < kept[-1][1]:
            dropped += 1
            if score > kept[-1][3]:
                kept[-1] = entity
        else:
            kept.append(entity)
    spans = Spans(
        np.array([e[0] for e in kept], dtype=np.int32),
        np.array([e[1] for e in kept], dtype=np.int32),
        np.array([index[e[2]] for e in kept], dtype=np.int32),
        np.array([e[3] for e in kept], dtype=np.float32),
    )
    return spans, dropped
