"""docs -> scores of mentions: the ToMMeR head on raw piece states of one layer."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Model

from ..architectures.shims import LLMShim, frozen_forward
from ..architectures.torch_head import torch_head
from ..architectures.types import Bands, States
from ..errors import Errors
from ..llm.pieces import PieceTokens, alignments, piece_tokens
from ..log import logger
from ..settings import check_choice
from .piece_bands import cut_cells, map_band
from .shims import PiecesShim, TommerShim, shims_of

_MASKED = -1e6


def build_tommer(
    llm: Model[list[Doc], States],
    source: str | None = None,
    revision: str | None = None,
    label: str = "MENTION",
    layer: int | None = None,
    reading: Literal["once", "twice"] = "once",
    rank: int = 64,
    sliding_window: int = 25,
    causal_mask: bool = True,
    use_cosine: bool = True,
    normalize_scores: Literal["", "log_sigmoid", "atan"] = "",
    cut_spans: Literal["widen", "drop"] = "widen",
    llm_name: str | None = None,
) -> Model[list[Doc], Bands]:
    """The ToMMeR head: published or trained from scratch (`spacy_llm2ner.ToMMeR.v1`).

    Scores spans of the LLM's pieces, from their raw states, and maps the scores to token spans: a
    token span corresponds to the span from the first piece of its first token to the last piece of
    its last token. See `tommer.token_matching.TokenMatching` for the formula.

    llm (Model[List[Doc], List[Floats3d]]): `spacy_llm2ner.FrozenLLM.v1`. The head determines the
        states: the setting `layers` must be null or agree, and `reading` (see below), `pooling` and
        `normalize` have no effect.
    source (Optional[str]): A published head: a folder with `parameters` and `definition.json`, or a
        hub id. It defines layer, rank, window, mask, match and squashing, whose settings here have
        no effect. A saved pipeline contains the weights. null: trained from scratch.
    revision (Optional[str]): Branch, tag or commit of a hub id.
    label (str): The label of the published head's mentions.
    layer (Optional[int]): The decoder block to read, counted from 0 (its output is layer + 1 of
        `FrozenLLM.v1`). null: the published head's, or at two fifths of the depth.
    reading (str): "once", as published heads are trained, or "twice".
    rank (int): Rank of the match between a span's end and its start.
    sliding_window (int): The largest number of pieces from a span's start to its end; 0: no limit.
    causal_mask (bool): Whether the features of a span ignore pieces after its end.
    use_cosine (bool): Whether the match is a cosine, else a scalar product / sqrt(rank).
    normalize_scores (str): The function applied to the match: "" (none), "log_sigmoid" or "atan".
    cut_spans (str): The treatment of piece spans that begin or end inside a token: "widen" (the
        token span that they touch gets the best of their scores; training lowers the scores of
        wrong ones) or "drop". Those with a probability of 0.5 or more are counted in either case,
        and the log reports their number at intervals.
    llm_name (Optional[str]): For a published head: the name of its LLM in this config, if it
        differs ("meta-llama/Llama-3.2-1B" in a folder "models/small").
    RETURNS (Model[List[Doc], List[Floats3d]]): For each doc logits (tokens, width, labels).
    RAISES (ValueError): For a setting out of range.
    """
    from .files import check_settings

    check_settings(rank, sliding_window, normalize_scores)
    check_choice("cut_spans", cut_spans, ("widen", "drop"), of="ToMMeR.v1")
    check_choice("reading", reading, ("once", "twice"), of="ToMMeR.v1")
    settings = {
        "rank": rank,
        "sliding_window": sliding_window,
        "causal_mask": causal_mask,
        "use_cosine": use_cosine,
        "normalize_scores": normalize_scores,
    }
    if len(llm.shims) != 1 or not isinstance(llm.shims[0], LLMShim):
        raise ValueError(Errors.E403.format(given=llm.name))
    head_shim = TommerShim(settings, source=source, revision=revision)
    llm_shim = PiecesShim(
        llm.shims[0].llm,
        head_shim,
        layer=layer,
        reading=reading,
        llm_name=llm_name,
    )
    attrs: dict[str, Any] = {
        "resize_output": _resize,
        "count_unscored": _count_unscored,
        "labels": [label] if source is not None else [],
    }
    model: Model[list[Doc], Bands] = Model(
        "tommer",
        _Forward(cut_spans),
        init=_init,
        layers=[
            Model("frozen_pieces", frozen_forward, shims=[llm_shim]),
            torch_head("token_matching", None, dropout=0.0, shim=head_shim),
        ],
        dims={"nO": 1 if source is not None else None},
        attrs=attrs,
    )
    model.set_ref("llm", model.layers[0])
    model.set_ref("head", model.layers[1])
    return model


class _Forward:
    """The forward pass, as a class because it has a setting and must be picklable.

    cut_spans (str): "widen" or "drop".
    """

    def __init__(self, cut_spans: str) -> None:
        self.cut_spans = cut_spans

    def __call__(
        self, model: Model[list[Doc], Bands], docs: list[Doc], is_train: bool
    ) -> tuple[Bands, Callable[[Bands], list[Doc]]]:
        llm, head = model.layers  # and not the references: `Model.copy` drops them
        states, _ = llm(docs, is_train)
        piece_bands, head_backprop = head(states, is_train)
        rows = [
            _to_tokens(model.ops.to_numpy(band), relation, widen=self.cut_spans == "widen")
            for band, relation in zip(piece_bands, _relate(model, docs, states), strict=True)
        ]
        if not is_train:
            self._report_cuts(model, rows)

        def backprop(d_bands: Bands) -> list[Doc]:
            pairs = zip(rows, d_bands, strict=True)
            head_backprop([_to_pieces(row, model.ops, d_band) for row, d_band in pairs])
            return []

        asarray: Any = model.ops.asarray
        return [asarray(row.band) for row in rows], backprop

    def _report_cuts(self, model: Model, rows: Sequence["_Row"]) -> None:
        _, head = shims_of(model)
        before = head.cut_spans
        head.cut_spans += sum(row.cut for row in rows)
        head.found_spans += sum(row.found for row in rows)
        # The first time, and each time that the number has a digit more: no line for every text.
        if head.cut_spans and (not before or len(str(head.cut_spans)) > len(str(before))):
            what = "widened to whole tokens" if self.cut_spans == "widen" else "left out"
            logger.info(
                "ToMMeR: so far, %d of %d spans of pieces at p >= 0.5 begin or end inside a token: "
                "%s",
                head.cut_spans,
                head.found_spans,
                what,
            )


@dataclass(frozen=True)
class _Row:
    """One text's token band, and the sources of its scores.

    band (ndarray): float32 (tokens, width, labels).
    shape (Tuple[int, ...]): Of the piece band (pieces, size, labels).
    exact (ndarray): int64 (tokens, width, 1): the index of a token span in the flattened piece
        band, -1 for none.
    best (ndarray): int64 (tokens, width, labels): the index of its score: the same, or that of a
        piece span that begins or ends inside one of its tokens.
    found, cut (int): Piece spans at p >= 0.5, and the number of them that cut a token.
    """

    band: np.ndarray
    shape: tuple[int, ...]
    exact: np.ndarray
    best: np.ndarray
    found: int
    cut: int


def _to_tokens(pieces: np.ndarray, relation: PieceTokens, *, widen: bool) -> _Row:
    """Piece band (pieces, size, labels) -> token band (tokens, width, labels)."""
    _, size, labels = pieces.shape
    cells = map_band(relation.first, relation.last, relation.starts, relation.ends, size)
    flat = pieces.reshape(-1, labels)
    band = np.full((*cells.shape, labels), _MASKED, dtype=np.float32)
    band[cells >= 0] = flat[cells[cells >= 0]]
    best = np.repeat(cells[..., None], labels, axis=2)
    cuts, tokens = cut_cells(cells, relation.start, relation.end, size)
    n_cut = int((flat[cuts] >= 0).sum())
    if widen and len(cuts):
        cuts, tokens = cuts[tokens >= 0], tokens[tokens >= 0]
        for label in range(labels):
            values = flat[cuts, label]
            # In order of increasing value, so that the best of several remains, if it is better.
            order = np.argsort(values, kind="stable")
            order = order[values[order] > band.reshape(-1, labels)[tokens[order], label]]
            band.reshape(-1, labels)[tokens[order], label] = values[order]
            best.reshape(-1, labels)[tokens[order], label] = cuts[order]
    return _Row(band, pieces.shape, cells[..., None], best, int((flat >= 0).sum()), n_cut)


def _to_pieces(row: _Row, ops: Any, d_tokens: Any) -> Any:
    """The gradient of `_to_tokens`.

    A positive gradient goes to the piece span that the score comes from, so that the head learns
    low scores for cut spans; a negative one goes to the token span's exact piece span.
    """
    gradient = ops.to_numpy(d_tokens)
    place = np.where(gradient > 0, row.best, row.exact)
    _, _, labels = np.nonzero(place >= 0)
    d_band = np.zeros((row.shape[0] * row.shape[1], row.shape[2]), dtype=np.float32)
    # No index belongs to two token spans: no sums are needed.
    d_band[place[place >= 0], labels] = gradient[place >= 0]
    return ops.asarray3f(d_band.reshape(row.shape))


def _relate(model: Model, docs: Sequence[Doc], states: States) -> list[PieceTokens]:
    llm, _ = shims_of(model)
    return [
        piece_tokens(doc, alignment, len(rows))
        for doc, alignment, rows in zip(docs, alignments(llm.llm, docs), states, strict=True)
    ]


def _count_unscored(model: Model, docs: Sequence[Doc], spans: Sequence[Sequence[Any]]) -> int:
    """Count the spans that the model cannot score.

    They have too many pieces, or begin or end with a mark that shares its piece with a word.

    spans (Sequence[Sequence]): For each doc (start, end exclusive, ...).
    """
    llm, head = shims_of(model)
    size = head.max_span_tokens or 1
    count = 0
    for doc, some, alignment in zip(docs, spans, alignments(llm.llm, docs), strict=True):
        n_pieces = int(alignment.last.max(initial=-1)) + 1
        related = piece_tokens(doc, alignment, n_pieces)
        for start, end, *_ in some:
            if alignment.touched[start] and alignment.touched[end - 1]:
                n = related.last[end - 1] - related.first[start] + 1
                count += not (related.starts[start] and related.ends[end - 1] and n <= size)
    return count


def _init(model: Model[list[Doc], Bands], X: list[Doc] | None = None, Y: Any = None) -> None:
    llm, head = model.layers
    _, shim = shims_of(model)
    if shim.source is not None:
        _ = shim.module  # what was published is where training starts from
        if Y:
            _resize(model, Y[0].shape[-1])
        return
    llm.initialize(X=X)
    head.initialize(X=llm.predict(X or [Doc(Vocab())]) if Y else None, Y=Y)
    if head.has_dim("nO"):
        model.set_dim("nO", head.get_dim("nO"), force=True)


def _resize(model: Model[list[Doc], Bands], n_labels: int) -> Model[list[Doc], Bands]:
    _, shim = shims_of(model)
    if shim.is_loaded or n_labels != 1:
        model.layers[1].attrs["resize_output"](model.layers[1], n_labels)
    model.set_dim("nO", n_labels, force=True)
    return model
