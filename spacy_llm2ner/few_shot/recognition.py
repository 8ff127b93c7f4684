"""Version 2 of few-shot recognition: what it learns from, and how it finds spans."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from spacy.tokens import Doc

from ..decoding.spans import Spans, decode
from ..log import logger
from ..numeric import log_odds, probabilities
from ..pipeline.gold import Gold
from .candidates import CLIP, MentionCandidates
from .carriers import (
    NAME_SENTENCES,
    WORD_SENTENCES,
    Carried,
    carry_spans,
    general,
    plain_docs,
)
from .evidence import Evidence, StringSpans, fit_evidence, keep_joint, kept_joint
from .examples import OTHER, Annotated, count_line, fit_labels, keep_scorer, kept_scorer
from .findings import report_doubtful
from .joint import JointScorer
from .name_search import NameSearch, names_of
from .prototypes import LabelScorer
from .span_features import Tokens, mention_band, token_vectors
from .text_learning import MOST_ROUNDS, Learnt, Text, learn_texts, place, reduced

if TYPE_CHECKING:
    from .component import FewShotRecognizer

# The mention head's logit, from -1 to 1, that a name in a carrier sentence stands for.
_STRING_MENTION = 0.5
_HALF = np.array([0.5], dtype=np.float32)


@dataclass
class Fitted:
    """What labels the spans of texts.

    joint (JointScorer): Scores spans.
    types (Optional[LabelScorer]): Chooses among the labels where there are words only.
    """

    joint: JointScorer
    types: LabelScorer | None = None


class JointRecognition:
    """Learning and labelling of version 2, for a component.

    pipe (FewShotRecognizer): The component, which holds labels, names, words and the model.
    """

    def __init__(self, pipe: FewShotRecognizer) -> None:
        self.pipe = pipe
        self.mean, self.scale = pipe._statistics()

    # Learning ---------------------------------------------------------------------------------

    def names(self) -> dict[str, list[str]]:
        """The names of each label: those of the setting, and those that patterns spell out."""
        spelt = names_of(self.pipe.patterns)
        return {
            label: list(dict.fromkeys([*self.pipe.strings.get(label, ()), *spelt.get(label, ())]))
            for label in self.pipe.labels
        }

    def fitted(self) -> Fitted:
        """The scorer; fitted at first use, and stored until settings or labels change."""
        pipe = self.pipe
        made_from = self._made_from()
        joint = kept_joint(pipe.model, made_from)
        if joint is None:
            evidence = Evidence.of_model(pipe.model).only(pipe.labels)
            strings, evidence.axes = self._strings(evidence)
            joint = fit_evidence(pipe.labels, evidence, strings).lifted(evidence.axes)
            keep_joint(pipe.model, joint, made_from)
            joint = kept_joint(pipe.model, made_from) or joint
        return Fitted(joint, self._types(made_from))

    def _made_from(self) -> str:
        pipe = self.pipe
        return json.dumps([pipe.labels, pipe.strings, pipe.words, pipe.other, pipe.patterns])

    def _types(self, made_from: str) -> LabelScorer | None:
        """Where words are all there is, labels are compared by direction, as in version 1."""
        pipe = self.pipe
        if not self.words_only():
            return None
        scorer = kept_scorer(pipe.model, made_from)
        if scorer is None:
            words = pipe._words(set())
            none: dict[str, list[str]] = {label: [] for label in pipe.labels}
            scorer = fit_labels(
                pipe.labels, Annotated(), none, words, pipe._read_strings, balance=True
            )
            keep_scorer(pipe.model, scorer, made_from)
        return scorer

    def words_only(self) -> bool:
        """Whether there are neither names nor labelled spans of texts."""
        evidence = Evidence.of_model(self.pipe.model).only(self.pipe.labels)
        return not any(self.names().values()) and not any(evidence.classes)

    def learn(
        self,
        docs: Sequence[Doc],
        golds: Sequence[Gold],
        *,
        keep: bool = False,
        rounds: int = MOST_ROUNDS,
        progress: bool = False,
    ) -> tuple[Learnt, int]:
        """Learn from texts, which replace those of any earlier call.

        docs (Sequence[Doc]): The texts, of one token or more.
        golds (Sequence[Gold]): Their annotation. Texts without any are unlabelled.
        keep (bool): Whether examples of earlier annotated texts are kept.
        rounds (int): The most rounds on unlabelled texts.
        progress (bool): Whether to show progress bars.
        RETURNS (Tuple[Learnt, int]): How it went, and the number of annotated spans that are longer
            than the scorer sees.
        """
        pipe = self.pipe
        search = NameSearch(pipe.vocab, self.names(), pipe.patterns)
        named = [
            [] if gold.known.any() else search(doc) for doc, gold in zip(docs, golds, strict=True)
        ]
        earlier = Evidence.of_model(pipe.model).of_annotated_texts() if keep else None
        axes = None if earlier is None else earlier.axes
        tokens, axes = reduced(self.read(docs, progress=progress), axes)
        known = place(tokens, golds, named)
        in_texts = {*known.annotated.values(), *known.named.values()}
        strings, _ = self._strings(Evidence(axes) if earlier is None else earlier, in_texts)
        supported = earlier or known.annotated or known.named or any(self.names().values())
        learnt = learn_texts(
            pipe.labels,
            tokens,
            axes,
            known,
            strings,
            earlier=earlier,
            rounds=rounds if supported else 0,
            progress=progress,
        )
        learnt.evidence.store(pipe.model)
        return learnt, known.too_long

    def read(self, docs: Sequence[Doc], *, progress: bool = False) -> Iterator[Text]:
        """Yield each text's vectors, mention logits, and which spans exist."""
        from tqdm import tqdm

        reading = tqdm(
            self.pipe._read(list(docs)), total=len(docs), desc="reading", disable=not progress
        )
        for states, band in reading:
            yield self._text(states, band)

    def _text(self, states: np.ndarray, band: np.ndarray) -> Text:
        vectors = token_vectors(np.asarray(states), self.mean, self.scale)
        return (vectors, *mention_band(band))

    def _strings(
        self, evidence: Evidence, in_texts: Iterable[str] = ()
    ) -> tuple[StringSpans, np.ndarray]:
        """Read the names and words in sentences.

        evidence (Evidence): What is known already.
        in_texts (Iterable[str]): Labels of which there are spans in texts that are being learnt
            from: they need no words.
        RETURNS (Tuple[StringSpans, ndarray]): Their spans, and the axes: those of the evidence, or
            of these sentences if there is none.
        """
        pipe, vocab = self.pipe, self.pipe.vocab
        names = {**self.names(), OTHER: list(pipe.other)}
        named = (label for label, given in names.items() if given)
        exemplified = {*evidence.classes, *in_texts, *named}
        words = pipe._words(exemplified)
        parts = [
            carry_spans(vocab, names, NAME_SENTENCES),
            carry_spans(vocab, words, WORD_SENTENCES),
            *(general(vocab) if any(words.values()) else ()),
        ]
        plain = plain_docs(vocab)
        annotated = [
            label
            for label, source in zip(evidence.classes, evidence.sources, strict=True)
            if source == "annotated"
        ]
        logger.info("%s: %s", pipe.name, count_line(Annotated(classes=annotated), names, words))
        docs = [*(doc for part in parts for doc in part.docs), *plain]
        axes = evidence.axes if evidence.axes.size else None
        tokens, axes = reduced(self.read(docs), axes)
        vectors, start = [], 0
        for part in parts:
            vectors.append(_carried(tokens, part, start))
            start += len(part.docs)
        if len(parts) > 2 and len(vectors[1]):
            gap = vectors[2].mean(axis=0) - vectors[3].mean(axis=0)
            vectors[1] = vectors[1] + gap
        firsts, extras = np.nonzero(tokens.exists)
        of_plain = firsts >= tokens.starts[start]
        spans = tokens.spans(firsts[of_plain], extras[of_plain])
        classes = [*parts[0].classes, *parts[1].classes]
        read = [
            doc[a:b].text
            for doc, a, b in zip(parts[0].docs, parts[0].starts, parts[0].ends, strict=True)
        ]
        report_doubtful(pipe, vectors[0], list(zip(parts[0].classes, read, strict=True)))
        return StringSpans(np.concatenate(vectors[:2]), classes, spans), axes

    # Predicting -------------------------------------------------------------------------------

    def label(
        self, fitted: Fitted, thresholds: np.ndarray, states: np.ndarray, band: np.ndarray
    ) -> Spans:
        """Find and label the spans of a text.

        fitted (Fitted): The scorer.
        thresholds (ndarray): The threshold of each label.
        states (ndarray): The text's states (tokens, layers, width).
        band (ndarray): The mention head's band.
        RETURNS (Spans): Disjoint spans. A score is the probability of span and label.
        """
        scores = fitted.joint.score(*self._text(states, band))
        odds = log_odds(thresholds, CLIP, 1 - CLIP)
        # Where words choose the label, it is not known yet.
        limits = odds[scores.best] if fitted.types is None else odds.min()
        above = (scores.any_label - limits).astype(np.float32)
        found = decode(above[:, :, None], _HALF, "flat")
        places = _place(found)
        best, score = scores.best[places], scores.score[places]
        if fitted.types is not None and len(found):
            share = fitted.types.probabilities(self.pipe._vectors(states, found.ends))
            best = share.argmax(axis=1).astype(np.int32)
            any_label = probabilities(scores.any_label[places])
            score = (any_label * share.max(axis=1)).astype(np.float32)
            kept = any_label >= thresholds[best]
            return Spans(found.starts, found.ends, best, score).select(kept)
        return Spans(found.starts, found.ends, best, score)

    def candidates(
        self, fitted: Fitted, floors: np.ndarray, states: np.ndarray, band: np.ndarray
    ) -> MentionCandidates:
        """Find and label all spans of a text from a floor on.

        fitted (Fitted): The scorer.
        floors (ndarray): The floor of each label.
        states (ndarray): The text's states (tokens, layers, width).
        band (ndarray): The mention head's band.
        RETURNS (MentionCandidates): The spans.
        """
        scores = fitted.joint.score(*self._text(states, band))
        odds = log_odds(floors, CLIP, 1 - CLIP)
        limits = odds[scores.best] if fitted.types is None else odds.min()
        above = (scores.any_label - limits).astype(np.float32)
        found = decode(above[:, :, None], _HALF, "all")
        places = _place(found)
        best, score, any_label = scores.best[places], scores.score[places], scores.any_label[places]
        if fitted.types is not None and len(found):
            share = fitted.types.probabilities(self.pipe._vectors(states, found.ends))
            best = share.argmax(axis=1).astype(np.int32)
            score = (probabilities(any_label) * share.max(axis=1)).astype(np.float32)
        spans = Spans(found.starts, found.ends, best, score)
        return MentionCandidates(spans, any_label, fitted.types is None)


def _place(spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """Where spans are in a band."""
    return spans.starts, spans.ends - spans.starts - 1


def _carried(tokens: Tokens, part: Carried, first_text: int) -> np.ndarray:
    """The vectors of the names in carrier sentences, as if the mention head found them all."""
    n = len(part.docs)
    firsts = tokens.starts[first_text : first_text + n] + np.array(part.starts, dtype=np.int64)
    extras = np.array(part.ends, dtype=np.int64) - np.array(part.starts, dtype=np.int64) - 1
    vectors = tokens.spans(firsts, np.minimum(extras, tokens.width - 1))
    vectors[:, -1] = _STRING_MENTION
    return vectors
