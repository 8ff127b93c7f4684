"""The span recogniser: `nlp.add_pipe("llm2ner")`."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, cast

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model
from thinc.types import Floats3d

from ..architectures.shims import HeadShim
from ..architectures.slices import BandSlice, band_slices, is_long
from ..batching import batches
from ..decoding.spans import (
    ILLEGAL_LOGIT,
    SPAN_DECODINGS,
    Spans,
    candidates,
    flatten,
    joined,
    keep_mask,
    temper,
)
from ..errors import Warnings
from ..losses import SpanBCE, SpanLoss
from .annotate import OnExistingEnts, OnExistingSpans, write_ents
from .base import (
    DEFAULT_TEMPERATURE,
    DEFAULT_THRESHOLD,
    PREDICT_TOKENS,
    CorpusReading,
    EntityPipe,
    ReadingLog,
    no_spans,
)
from .candidates import Candidates
from .data_checks import count_unreachable
from .gold import Gold, longest_span, read_gold, target_band
from .meta_facts import DataFacts, record_training
from .pretrained_head import with_pretrained_head
from .scorer import score_span_recognizer

DEFAULT_CONFIG = """
[model]
@architectures = "spacy_llm2ner.SpanRecognizer.v1"

[model.llm]
@architectures = "spacy_llm2ner.FrozenLLM.v1"

[model.head]
@architectures = "spacy_llm2ner.SpanScorer.v1"
"""
DEFAULT_MODEL = Config().from_str(DEFAULT_CONFIG)["model"]
DEFAULT_SPANS_KEY = "sc"

# A function from a batch and its targets, float32 (tokens, width, labels) per doc, to the targets
# for the loss.
TargetHook = Callable[[list[Doc], list[Floats3d]], list[Floats3d]]

# The band covers the longest gold span of the training data, but never more than this.
MAX_SPAN_TOKENS_CAP = 30
# The band's width without training data (`nlp.initialize()` without examples).
_MAX_SPAN_TOKENS_WITHOUT_DATA = 10


class SpanRecognizer(EntityPipe):
    """Finds and labels spans with a small head on the hidden states of a frozen LLM.

    Writes `doc.spans[spans_key]`, where spans may overlap, and `doc.ents`, where they may not.
    Scores are in `doc.spans[spans_key].attrs["scores"]` and in `span._.score`.

    The interface is that of spaCy's own trainable components: https://spacy.io/api/spancategorizer
    """

    decodings = SPAN_DECODINGS
    default_threshold = DEFAULT_THRESHOLD
    _main_annotation = "spans"
    _misaligned = Warnings.W02
    _score_weights = Warnings.W04
    _unknown_threshold = Warnings.W06

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats3d]],
        name: str = "llm2ner",
        *,
        loss: SpanLoss | None = None,
        spans_key: str = DEFAULT_SPANS_KEY,
        annotate: Literal["spans", "ents", "both"] = "both",
        threshold: float | str | dict[str, float] = DEFAULT_THRESHOLD,
        decoding: Literal["all", "greedy", "flat", "nested"] = "flat",
        on_existing_ents: OnExistingEnts = "keep",
        on_existing_spans: OnExistingSpans = "replace",
        bundle_llm: bool = False,
        pretrained: str | None = None,
        scorer: Callable | None = score_span_recognizer,
    ) -> None:
        """Make a component; see `make_span_recognizer` for the settings.

        vocab (Vocab): The shared vocabulary.
        model (Model[List[Doc], List[Floats3d]]): docs -> logits (tokens, width, labels).
        name (str): The component instance's name, also in the losses.
        loss (Optional[SpanLoss]): See `spacy_llm2ner.losses`; None = `SpanBCE()`.
        RAISES (ValueError): For a setting that is not accepted.
        """
        if pretrained is not None:
            model = with_pretrained_head(name, model, pretrained)
        super().__init__(
            vocab,
            model,
            name,
            spans_key=spans_key,
            annotate=annotate,
            threshold=threshold,
            decoding=decoding,
            on_existing_ents=on_existing_ents,
            on_existing_spans=on_existing_spans,
            bundle_llm=bundle_llm,
            pretrained=pretrained,
        )
        for label in model.attrs.get("labels", []):  # a published head has its own
            self.cfg["labels"].append(label)
            vocab.strings.add(label)
        self.loss = SpanBCE() if loss is None else loss
        self.scorer = scorer
        self.target_hooks: list[TargetHook] = []

    # Predicting -------------------------------------------------------------------------------

    def predict(self, docs: Iterable[Doc]) -> list[Spans]:
        """Find the spans of docs, without changing the docs.

        docs (Iterable[Doc]): The docs.
        RETURNS (List[Spans]): For each doc its decoded spans: starts, ends, labels, scores.

        DOCS: https://spacy.io/api/spancategorizer#predict
        """
        docs = list(docs)
        if not any(len(doc) for doc in docs):
            return [no_spans() for _ in docs]
        self._require_head()
        thresholds = self._thresholds()
        with ReadingLog(self, always=False):
            return [self._decode(slices, thresholds) for slices in self._score(docs)]

    def score_bands(self, docs: list[Doc]) -> Iterator[np.ndarray]:
        """The head's raw logits for docs, before any temperature.

        docs (List[Doc]): The docs.
        YIELDS (ndarray): For each doc float32 (tokens, width, labels).
        """
        for slices in self._score(docs):
            parts = [part.logits for part in slices]
            yield parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _score(self, docs: list[Doc]) -> Iterator[Iterable[BandSlice]]:
        """Score docs: for each doc its slices, made one by one if it is long."""
        for some in batches(docs, PREDICT_TOKENS, self._cost):
            if is_long(self.model, some[0]):
                yield band_slices(self.model, some[0])
                continue
            for logits in self.model.predict(some):
                yield [BandSlice(0, self.model.ops.to_numpy(logits), 0)]

    def _decode(self, slices: Iterable[BandSlice], thresholds: np.ndarray) -> Spans:
        """Decode the spans of one doc."""
        spans = self._candidates(slices, thresholds)
        return spans.select(keep_mask(spans, thresholds, self.settings["decoding"]))

    def _candidates(self, slices: Iterable[BandSlice], thresholds: np.ndarray) -> Spans:
        """All spans of one doc that reach their thresholds."""
        temperatures = self._temperatures()
        return joined(
            [
                candidates(
                    temper(part.logits, temperatures), thresholds, part.start, part.following
                )
                for part in slices
            ]
        )

    def find_candidates(
        self, docs: list[Doc], floors: Sequence[np.ndarray], decoding: str | None = None
    ) -> list[Candidates]:
        """Score docs, so that thresholds and decoding can be chosen afterwards.

        docs (List[Doc]): The docs.
        floors (Sequence[ndarray]): For each doc the least thresholds that may be chosen, float32
            (labels,).
        decoding (Optional[str]): Without effect: spans are decoded by `write_candidates`.
        RETURNS (List[Candidates]): All spans from the floors on.
        """
        if not any(len(doc) for doc in docs):
            return [Candidates(no_spans()) for _ in docs]
        self._require_head()
        with ReadingLog(self, always=False):
            return [
                Candidates(self._candidates(slices, floor))
                for slices, floor in zip(self._score(docs), floors, strict=True)
            ]

    def write_candidates(
        self, doc: Doc, found: Candidates, thresholds: np.ndarray, decoding: str | None = None
    ) -> None:
        """Write spans of a doc as `set_annotations` does, by thresholds and decoding of its own.

        doc (Doc): The doc.
        found (Candidates): What `find_candidates` found in it, or some of that.
        thresholds (ndarray): float32 (labels,), none below the floor.
        decoding (Optional[str]): One of `decodings`; None for the setting.
        """
        decoding = decoding or str(self.settings["decoding"])
        self._annotate(doc, found.decode(thresholds, decoding), thresholds, decoding)

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Spans]) -> None:
        """Write predicted spans to docs.

        docs (Iterable[Doc]): The docs.
        predictions (List[Spans]): The output of `predict` for them.

        DOCS: https://spacy.io/api/spancategorizer#set_annotations
        """
        thresholds = self._thresholds()
        for doc, found in zip(docs, predictions, strict=True):
            self._annotate(doc, found, thresholds, self.settings["decoding"])

    def _annotate(self, doc: Doc, found: Spans, thresholds: np.ndarray, decoding: str) -> None:
        """Write decoded spans to one doc."""
        if self.settings["annotate"] in ("spans", "both"):
            self._write_spans(doc, self._make_spans(doc, found), found.scores)
        if self.settings["annotate"] in ("ents", "both"):
            flat = found
            if decoding in ("all", "nested"):
                flat = flatten(found, thresholds)
            write_ents(doc, self._make_spans(doc, flat), self.settings["on_existing_ents"])

    # Training ---------------------------------------------------------------------------------

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Initialise for training: labels, the band's width, the head's sizes; read the corpus.

        The LLM reads the training texts here, with a progress bar, so that the first epoch is as
        fast as the others. Texts with stored states are not read again.

        get_examples (Callable[[], Iterable[Example]]): Function that returns the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): The labels; None: those of the data. `spacy init labels`
            writes them to a file.
        RAISES (TypeError): If `get_examples` does not return examples.
        RAISES (ValueError): If there are no labels, or if gold labels are missing from `labels`.

        DOCS: https://spacy.io/api/spancategorizer#initialize
        """
        validate_get_examples(get_examples, "SpanRecognizer.initialize")
        self._warned.clear()
        self.target_hooks.clear()
        facts = DataFacts(self.key)
        golds = [read_gold(example, self.key) for example in facts.count(get_examples())]
        record_training(nlp, self.name, facts)
        self._take_labels(golds, labels, get_examples)
        width = self._band_width(golds)
        self._report_lost(golds, width)
        self._report_score_weights(nlp)
        self._report_schedule(nlp, len(golds))
        self._report_dev(nlp)
        reading = self._read_corpus(get_examples)
        self._report_unread(reading, sum(len(gold.spans) for gold in golds))
        # From now on the head belongs to this LLM, even if it was trained on another one before.
        for shim in self._llm_shims():
            shim.record()
        if self.settings["pretrained"]:  # training continues from its weights
            return
        empty = self.model.ops.alloc3f(0, width, len(self.labels))
        self.model.initialize(X=reading.sample, Y=[empty])
        self.temperature = DEFAULT_TEMPERATURE  # it belonged to another head

    @property
    def max_span_tokens(self) -> int | None:
        """The head's setting; None if the data determine the width."""
        return next((s.max_span_tokens for s in self._shims(HeadShim) if s.max_span_tokens), None)

    def _band_width(self, golds: list[Gold]) -> int:
        longest = longest_span(golds) or _MAX_SPAN_TOKENS_WITHOUT_DATA
        return self.max_span_tokens or min(longest, MAX_SPAN_TOKENS_CAP)

    def _report_lost(self, golds: list[Gold], width: int) -> None:
        """Warn, before training, about gold spans that cannot be learnt."""
        total = sum(len(gold.spans) + gold.lost for gold in golds)
        long = sum(end - start > width for gold in golds for start, end, _ in gold.spans)
        if long:
            self._warn_once(
                Warnings.W01.format(
                    name=self.name, long=long, total=total, width=width, longest=longest_span(golds)
                )
            )
        self._report_misaligned(golds)
        self._report_unreachable(golds, total)

    def _report_unreachable(self, golds: list[Gold], total: int) -> None:
        """Warn, before training, about gold spans that the decoding cannot find together."""
        annotate, decoding = self.settings["annotate"], self.settings["decoding"]
        if annotate == "ents" or decoding in ("flat", "greedy"):
            count = count_unreachable(golds, "flat")
        elif decoding == "nested":
            count = count_unreachable(golds, "nested")
        else:
            return
        if count:
            self._warn_once(
                Warnings.W19.format(
                    name=self.name,
                    count=count,
                    total=total,
                    annotate=annotate,
                    decoding=decoding,
                    remedy="annotate = 'both' and decoding = 'nested' or 'all'"
                    if annotate == "ents"
                    else "decoding = 'all'"
                    if decoding == "nested"
                    else "decoding = 'nested' or 'all'",
                )
            )

    def _report_unread(self, reading: CorpusReading, n_spans: int) -> None:
        if reading.unseen:
            self._warn_once(
                Warnings.W05.format(name=self.name, unseen=reading.unseen, total=n_spans)
            )
        if reading.unscored:
            self._warn_once(
                Warnings.W11.format(name=self.name, unscored=reading.unscored, total=n_spans)
            )

    def get_loss(
        self, examples: Iterable[Example], scores: list[Floats3d]
    ) -> tuple[float, list[Floats3d]]:
        """Compute the loss of a batch and its gradient.

        examples (Iterable[Example]): The batch.
        scores (List[Floats3d]): The model's output for the predicted docs: logits (tokens, width,
            labels).
        RETURNS (Tuple[float, List[Floats3d]]): Loss and gradient. Spans with unannotated tokens
            have no weight.
        RAISES (ValueError): For gold labels that the component does not have.

        DOCS: https://spacy.io/api/spancategorizer#get_loss
        """
        examples = list(examples)
        validate_examples(examples, "SpanRecognizer.get_loss")
        columns = {label: index for index, label in enumerate(self.labels)}
        asarray = cast(Callable[..., Floats3d], self.model.ops.asarray3f)
        targets: list[Floats3d] = []
        weights: list[Floats3d] = []
        for example, logits in zip(examples, scores, strict=True):
            gold = read_gold(example, self.key)
            self._require_known_labels([gold])
            target, weight = target_band(gold, logits.shape[1], columns)
            targets.append(asarray(target))
            # Spans that begin or end at a token without a state are not candidates.
            weights.append(asarray(weight) * (logits > ILLEGAL_LOGIT))
        for hook in self.target_hooks:
            targets = hook([eg.predicted for eg in examples], targets)
        return self.loss(scores, targets, weights)


@Language.factory(
    "llm2ner",
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config={
        "model": DEFAULT_MODEL,
        "loss": {"@misc": "spacy_llm2ner.SpanBCE.v1"},
        "spans_key": DEFAULT_SPANS_KEY,
        "annotate": "both",
        "threshold": DEFAULT_THRESHOLD,
        "decoding": "flat",
        "on_existing_ents": "keep",
        "on_existing_spans": "replace",
        "bundle_llm": False,
        "pretrained": None,
        "scorer": {"@scorers": "spacy_llm2ner.span_recognizer_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_span_recognizer(
    nlp: Language,
    name: str,
    model: Model[list[Doc], list[Floats3d]],
    loss: SpanLoss,
    spans_key: str,
    annotate: Literal["spans", "ents", "both"],
    threshold: float | str | dict[str, float],
    decoding: Literal["all", "greedy", "flat", "nested"],
    on_existing_ents: Literal["keep", "replace", "merge"],
    on_existing_spans: Literal["replace", "merge"],
    bundle_llm: bool,
    pretrained: str | None,
    scorer: Callable | None,
) -> SpanRecognizer:
    """Make the component "llm2ner".

    model (Model[List[Doc], List[Floats3d]]): docs -> logits (tokens, width, labels), e.g.
        `spacy_llm2ner.SpanRecognizer.v1`.
    loss (SpanLoss): The training loss, e.g. `spacy_llm2ner.SpanBCE.v1`.
    spans_key (str): The key of `doc.spans` to write. In training, gold spans are read from this
        key, else from `doc.ents`.
    annotate (str): The annotation to write: "spans", "ents" or "both".
    threshold (Union[float, str, Dict[str, float]]): The least probability of a span: one for all
        labels, or one per label as a table or a text, e.g. "PER=0.9,LOC=0.4" (0.5 for labels that
        are not named). `llm2ner calibrate` tunes it.
    decoding (str): Which spans above the threshold are kept in `doc.spans`: "all", "greedy" (best
        first, disjoint), "flat" (the most probable disjoint set), "nested" (the most probable set
        without crossings). `doc.ents` are always disjoint: greedy with "greedy", else flat.
    on_existing_ents (str): "keep" existing entities, "replace" them all, or "merge": predicted ones
        win where they overlap.
    on_existing_spans (str): If `doc.spans[spans_key]` exists: "replace" its spans, with a warning,
        or "merge": they stay besides the predicted ones.
    bundle_llm (bool): Write the cut LLM into the component's folder, so that the pipeline runs
        where the LLM is not installed. Checkpoints are then as large as the LLM.
    pretrained (Optional[str]): A trained head of the package that replaces the model's head, and
        needs no training: "entities" finds PER, LOC, ORG and MISC; "mentions" finds names of all
        kinds and labels them MENTION.
    scorer (Optional[Callable]): The scoring method.
    """
    return SpanRecognizer(
        nlp.vocab,
        model,
        name,
        loss=loss,
        spans_key=spans_key,
        annotate=annotate,
        threshold=threshold,
        decoding=decoding,
        on_existing_ents=on_existing_ents,
        on_existing_spans=on_existing_spans,
        bundle_llm=bundle_llm,
        pretrained=pretrained,
        scorer=scorer,
    )
