"""Training losses over span bands and over word tags, in spaCy's registry `misc`."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from thinc.api import get_array_module, torch2xp, xp2torch
from thinc.types import Floats2d, Floats3d

from .errors import Errors
from .numeric import binary_cross_entropy
from .settings import check_choice, check_number

if TYPE_CHECKING:
    from torch import Tensor

SpanLoss = Callable[
    [Sequence[Floats3d], Sequence[Floats3d], Sequence[Floats3d]], tuple[float, list[Floats3d]]
]


@dataclass(frozen=True)
class SpanBCE:
    """Binary cross-entropy over every span and label (`spacy_llm2ner.SpanBCE.v1`).

    reduction (str): "sum": the sum over a text's cells, averaged over the texts of the batch.
        "balanced": the mean over the batch's cells, where each positive cell has the weight
        #negatives / #positives, so that positive and negative cells count the same in total.
    label_smoothing (float): Targets become 1 - s and s, with 0 <= s < 0.5.
    positive_weight (float): An extra factor on the loss of positive cells, with both reductions;
        values above 1 raise recall.
    dilation (Optional[int]): Only spans with an edge within this many tokens of a gold span (of any
        label) count: other spans are too easy, or their annotation is unreliable. Texts without
        gold spans are then ignored. null: all spans count.
    RAISES (ValueError): For settings out of range.
    """

    reduction: Literal["sum", "balanced"] = "sum"
    label_smoothing: float = 0.0
    positive_weight: float = 1.0
    dilation: int | None = None

    def __post_init__(self) -> None:
        check_choice("reduction", self.reduction, ("sum", "balanced"), of="the loss")
        check_number("label_smoothing", self.label_smoothing, least=0, below=0.5, of="the loss")
        check_number("positive_weight", self.positive_weight, above=0, of="the loss")
        check_number("dilation", self.dilation, least=0, unit="tokens", of="the loss")

    def __call__(
        self,
        logits: Sequence[Floats3d],
        targets: Sequence[Floats3d],
        weights: Sequence[Floats3d],
    ) -> tuple[float, list[Floats3d]]:
        """The loss and its gradient with respect to the logits.

        logits, targets, weights (List[Floats3d]): For each text float32 (tokens, width, labels);
            targets in [0, 1]. Cells that are not spans, or not annotated, have weight 0.
        RETURNS (Tuple[float, List[Floats3d]]): The loss; its gradient, shaped like the logits.
        """
        if self.dilation is not None:
            weights = [
                weight * _near_gold(target, self.dilation)
                for target, weight in zip(targets, weights, strict=True)
            ]
        if self.reduction == "balanced":
            scale, on_positive = _balance(targets, weights)
        else:
            scale, on_positive = 1.0 / max(len(logits), 1), 1.0
        on_positive *= self.positive_weight
        smoothing = self.label_smoothing
        loss, gradients = 0.0, []
        for z, target, weight in zip(logits, targets, weights, strict=True):
            cells, gradient = binary_cross_entropy(z, target * (1 - 2 * smoothing) + smoothing)
            gradient = gradient.astype(np.float32)
            factor = weight * (scale + scale * (on_positive - 1.0) * target)
            loss += float((cells * factor).sum())
            gradients.append(gradient * factor)
        return loss, gradients


def _near_gold(target: Floats3d, dilation: int) -> Floats3d:
    """Mask of spans with an edge within `dilation` tokens of a gold span: (tokens, width, 1)."""
    xp = get_array_module(target)
    n_tokens, width, _ = target.shape
    starts, offsets, _ = xp.nonzero(target > 0)
    # near[t]: more intervals have begun than ended at token t.
    changes = xp.zeros(n_tokens + 1, dtype=np.int64)
    for place, step in ((starts - dilation, 1), (starts + offsets + dilation + 1, -1)):
        changes += step * xp.bincount(place.clip(0, n_tokens), minlength=n_tokens + 1)
    near = xp.cumsum(changes)[:-1] > 0
    ends = xp.minimum(xp.arange(n_tokens)[:, None] + xp.arange(width), max(n_tokens - 1, 0))
    cells: Any = near[:, None] | near[ends]
    return cells[..., None].astype(np.float32)


def _balance(targets: Sequence[Floats3d], weights: Sequence[Floats3d]) -> tuple[float, float]:
    """1 / #cells, and #negatives / #positives (1 if either is 0)."""
    pairs: list[Any] = list(zip(targets, weights, strict=True))
    total = sum(float(weight.sum()) for _, weight in pairs)
    positive = sum(float((target * weight).sum()) for target, weight in pairs)
    negative = total - positive
    ratio = negative / positive if positive > 0 and negative > 0 else 1.0
    return (1.0 / total if total else 0.0), ratio


# Tags -------------------------------------------------------------------------------------

# (loss, gradient of each text's logits, gradient of the transitions)
TagGradients = tuple[float, list[Floats2d], Floats2d | None]
TagLoss = Callable[..., TagGradients]


@dataclass(frozen=True)
class CompoundTagLoss:
    """Cross-entropy, CRF likelihood and label smoothing (`spacy_llm2ner.CompoundTagLoss.v1`).

        L = cross_entropy * CE + crf * NLL + label_smoothing * LS

        CE  = sum over words of c(y) * -log p(y) / sum over words of c(y)
        NLL = sum over texts of -log P(y_1 .. y_n) / number of words
        LS  = sum over words of KL(uniform || p) / number of words

    p is the softmax over a word's logits, P the CRF's probability of a text's tags. All three terms
    are means over the same words of the batch: those whose tag is known. (The CRF sums over all
    tags of the others.) The class weights c apply to CE only, and do not change its weight in L.

    cross_entropy (Optional[float]): Weight of CE. null: 0 for a head with a CRF whose weight is not
        0, else 1.
    crf (Optional[float]): Weight of NLL. null: 1 for a head with a CRF, 0 without.
    label_smoothing (float): Weight of LS.
    class_weights (Optional[Dict[str, float]]): Weights of labels and of "O" in CE; 1 by default.
    RAISES (ValueError): For weights out of range.
    """

    cross_entropy: float | None = None
    crf: float | None = None
    label_smoothing: float = 0.0
    class_weights: dict[str, float] | None = None

    def __post_init__(self) -> None:
        terms = {
            "cross_entropy": self.cross_entropy,
            "crf": self.crf,
            "label_smoothing": self.label_smoothing,
        }
        named = {f"class_weights.{k}": v for k, v in (self.class_weights or {}).items()}
        for setting, value in {**terms, **named}.items():
            check_number(setting, value, least=0, of="the loss")
        if self.cross_entropy == 0 and self.crf == 0:
            raise ValueError(Errors.E220)

    def terms(self, has_crf: bool) -> tuple[float, float, float]:
        """The weights of CE, NLL and LS for a head with or without a CRF.

        RAISES (ValueError): If the CRF has a weight and the head has no CRF.
        """
        if self.crf and not has_crf:
            raise ValueError(Errors.E221.format(crf=self.crf))
        crf = (1.0 if has_crf else 0.0) if self.crf is None else self.crf
        cross_entropy = (0.0 if crf else 1.0) if self.cross_entropy is None else self.cross_entropy
        return cross_entropy, crf, self.label_smoothing

    def __call__(
        self,
        logits: Sequence[Floats2d],
        allowed: Sequence[np.ndarray],
        transitions: Floats2d | None = None,
        tag_labels: Sequence[str] = (),
    ) -> TagGradients:
        """The loss of a batch and its gradients.

        logits (Sequence[Floats2d]): For each text (words, tags).
        allowed (Sequence[ndarray]): For each text bool (words, tags): the one tag of a word whose
            tag is known, all tags of another.
        transitions (Optional[Floats2d]): (tags + 2, tags), see `heads.crf`; None without a CRF.
        tag_labels (Sequence[str]): The label of each tag, "O" for the tag outside; only needed for
            class weights.
        RETURNS (TagGradients): The loss; its gradient for the logits of each text, and for the
            transitions.
        """
        import torch

        weights = self.terms(transitions is not None)
        lengths = [len(text) for text in logits]
        nothing = None if transitions is None else transitions * 0
        if not any(lengths):
            return 0.0, [text * 0 for text in logits], nothing
        rows: Any = [xp2torch(text).detach() for text in logits]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).requires_grad_()
        may_be = [torch.from_numpy(np.ascontiguousarray(text)) for text in allowed]
        mask = torch.nn.utils.rnn.pad_sequence(may_be, batch_first=True).to(padded.device)
        table = None if transitions is None else xp2torch(transitions).detach().requires_grad_()
        loss = self._loss(weights, padded, mask, torch.tensor(lengths), table, tag_labels)
        if not loss.requires_grad:  # no word whose tag is known
            return 0.0, [text * 0 for text in logits], nothing
        loss.backward()
        gradient: Any = torch2xp(padded.grad)  # type: ignore[arg-type]
        d_table: Any = nothing
        if table is not None and table.grad is not None:
            d_table = torch2xp(table.grad)
        return float(loss.detach()), [gradient[i, :n] for i, n in enumerate(lengths)], d_table

    def _loss(
        self,
        weights: tuple[float, float, float],
        logits: "Tensor",
        allowed: "Tensor",
        lengths: "Tensor",
        transitions: "Tensor | None",
        tag_labels: Sequence[str],
    ) -> "Tensor":
        from .heads.crf import log_likelihood

        cross_entropy, crf, smoothing = weights
        known = allowed.sum(dim=2) == 1
        n_known = int(known.sum())
        loss = logits.new_zeros(())
        if not n_known:
            return loss
        log_p = logits[known].log_softmax(dim=1)
        gold = allowed[known].long().argmax(dim=1)
        if cross_entropy:
            named = self.class_weights or {}
            by_tag = [named.get(label, 1.0) for label in tag_labels] or [1.0] * logits.shape[2]
            classes = logits.new_tensor(by_tag)[gold]
            picked = log_p.gather(1, gold[:, None])[:, 0]
            loss = loss - cross_entropy * (classes * picked).sum() / classes.sum().clamp_min(1e-12)
        if crf and transitions is not None:
            likelihood = log_likelihood(logits, lengths.to(logits.device), transitions, allowed)
            loss = loss - crf * likelihood.sum() / n_known
        if smoothing:
            # KL(uniform || p) = -log(tags) - mean of log p
            divergence = -log_p.mean(dim=1) - float(np.log(logits.shape[2]))
            loss = loss + smoothing * divergence.sum() / n_known
        return loss
