"""The token tagger: `nlp.add_pipe("llm2ner_tagger")`."""

# No `from __future__ import annotations`: spaCy checks configs against the annotations of
# registered functions, and older versions of it need types there, not strings.

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from spacy.errors import Errors as SpacyErrors
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model

from ..architectures.shims import HeadShim
from ..architectures.slices import is_long, sliced_tag_scores
from ..architectures.types import TagScores
from ..batching import batches
from ..decoding.spans import Spans
from ..decoding.tags import TAG_DECODINGS, decode_tags, temper_scores, to_tokens
from ..errors import Warnings
from ..losses import CompoundTagLoss, TagLoss
from ..tags import PREFIXES, TAGGER_SCHEMES, TagSet
from .annotate import OnExistingEnts, OnExistingSpans
from .base import (
    DEFAULT_TEMPERATURE,
    PREDICT_TOKENS,
    EntityPipe,
    ReadingLog,
    no_spans,
)
from .candidates import Candidates, DisjointCandidates
from .gold import Gold, allowed_tags, read_gold, unsayable
from .meta_facts import DataFacts, record_training
from .scorer import score_span_recognizer

DEFAULT_CONFIG = """
[model]
@architectures = "spacy_llm2ner.TokenTagger.v1"

[model.llm]
@architectures = "spacy_llm2ner.FrozenLLM.v1"

[model.head]
@architectures = "spacy_llm2ner.CRFTagger.v1"
"""
DEFAULT_MODEL = Config().from_str(DEFAULT_CONFIG)["model"]
DEFAULT_SPANS_KEY = "sc"


class TokenTagger(EntityPipe):
    """Tags words (BIO or BILOU) with a head on an LLM's hidden states, and writes the entities.

    The LLM may be frozen, trained, a `transformer` of the pipeline, or a whole checkpoint for token
    classification. Writes `doc.ents`, and `doc.spans[spans_key]` on request. Scores are in
    `span._.score` and in `doc.spans[spans_key].attrs["scores"]`; `decoding.tags` defines them.

    The model's attributes define its tags: "scheme", the tag scheme; and, for a checkpoint with
    its own tags, "tags" and "load_tags".

    The interface is that of spaCy's own trainable components: https://spacy.io/api/entityrecognizer
    """

    decodings = TAG_DECODINGS
    default_threshold = 0.0  # every entity of the decoded tags counts, regardless of its score
    _main_annotation = "ents"
    _misaligned = Warnings.W20
    _score_weights = Warnings.W23
    _unknown_threshold = Warnings.W24

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], TagScores],
        name: str = "llm2ner_tagger",
        *,
        loss: TagLoss | None = None,
        spans_key: str = DEFAULT_SPANS_KEY,
        annotate: Literal["spans", "ents", "both"] = "ents",
        threshold: float | str | dict[str, float] = 0.0,
        decoding: Literal["viterbi", "argmax"] = "viterbi",
        on_existing_ents: OnExistingEnts = "keep",
        on_existing_spans: OnExistingSpans = "replace",
        bundle_llm: bool = False,
        scorer: Callable | None = score_span_recognizer,
    ) -> None:
        """Make a component; see `make_token_tagger` for the settings.

        vocab (Vocab): The shared vocabulary.
        model (Model[List[Doc], TagScores]): docs -> logits (words, tags).
        name (str): The component instance's name, also in the losses.
        loss (Optional[TagLoss]): See `spacy_llm2ner.losses`; None = `CompoundTagLoss()`.
        RAISES (ValueError): For a setting that is not accepted.
        """
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
        )
        self.loss = CompoundTagLoss() if loss is None else loss
        self.scorer = scorer

    # Tags -------------------------------------------------------------------------------------

    @property
    def scheme(self) -> str:
        """The tag scheme of the head, "BIO" or "BILOU"."""
        return str(self.model.attrs.get("scheme", "BIO"))

    @property
    def tag_set(self) -> TagSet:
        """The tags, in the order of the model's output: a checkpoint's own, or the labels'."""
        own = self.model.attrs.get("tags")
        return TagSet(tuple(own)) if own else TagSet.of_labels(self.labels, self.scheme)

    def set_output(self, nO: int) -> None:
        """Give the model the component's labels.

        nO (int): The number of labels.
        """
        own = self.model.attrs.get("tags")
        if own:
            known = self.tag_set.labels
            new = [label for label in self.labels if label not in known]
            prefixes = PREFIXES[TAGGER_SCHEMES[self.scheme]]
            own = [*own, *(f"{prefix}-{label}" for label in new for prefix in prefixes)]
            self.model.attrs["tags"] = own
            nO = len(own)
        super().set_output(nO)

    def _adopt_tags(self) -> None:
        """Add the labels of a checkpoint with its own tags, and warn about unusual tags."""
        load = self.model.attrs.get("load_tags")
        if load is None:
            return
        load(self.model)
        tag_set = self.tag_set
        for label in tag_set.labels:
            if label not in self.cfg["labels"]:
                self.cfg["labels"].append(label)
                self.vocab.strings.add(label)
        problem = ""
        if tag_set.odd:
            problem = (
                f"the checkpoint's tags {', '.join(tag_set.odd)} have no prefix such as B- or I-. "
                f"Each is read as I- of a label with the tag's name, as transformers does: "
                f"neighbouring words with one such tag are one entity."
            )
        elif tag_set.without_begin:
            problem = (
                f"the checkpoint has no B- tags for {', '.join(tag_set.without_begin)}: as in "
                f"conlleval, entities of these labels that touch are read as one."
            )
        if problem:
            self._warn_once(Warnings.W26.format(name=self.name, problem=problem))

    # Predicting -------------------------------------------------------------------------------

    def predict(self, docs: Iterable[Doc]) -> list[Spans]:
        """Find the entities of docs, without changing the docs.

        docs (Iterable[Doc]): The docs.
        RETURNS (List[Spans]): For each doc its entities: starts, ends, labels, scores.

        DOCS: https://spacy.io/api/entityrecognizer#predict
        """
        docs = list(docs)
        if not any(len(doc) for doc in docs):
            return [no_spans() for _ in docs]
        self._require_head()
        thresholds = self._thresholds()
        return [
            spans.select(spans.scores >= thresholds[spans.labels])
            for spans in self._tempered(docs, None)
        ]

    def find_candidates(
        self, docs: list[Doc], floors: Sequence[np.ndarray], decoding: str | None = None
    ) -> list[Candidates]:
        """Score the entities of docs, so that thresholds can be chosen afterwards.

        docs (List[Doc]): The docs.
        floors (Sequence[ndarray]): For each doc the least thresholds that may be chosen, float32
            (labels,).
        decoding (Optional[str]): One of `decodings`; None for the setting.
        RETURNS (List[Candidates]): The entities from the floors on.
        """
        if not any(len(doc) for doc in docs):
            return [DisjointCandidates(no_spans()) for _ in docs]
        self._require_head()
        return [
            DisjointCandidates(spans.select(spans.scores >= floor[spans.labels]))
            for spans, floor in zip(self._tempered(docs, decoding), floors, strict=True)
        ]

    def _tempered(self, docs: list[Doc], decoding: str | None) -> list[Spans]:
        """All entities of docs, with their final scores."""
        found: list[Spans] = []
        dropped = 0
        with ReadingLog(self, always=False):
            for spans, lost in self.score_entities(docs, decoding):
                found.append(temper_scores(spans, self._temperatures()))
                dropped += lost
        if dropped:
            self._warn_once(Warnings.W27.format(name=self.name, dropped=dropped))
        return found

    def score_entities(
        self, docs: list[Doc], decoding: str | None = None
    ) -> Iterator[tuple[Spans, int]]:
        """The entities of docs, before any temperature and threshold.

        docs (List[Doc]): The docs.
        decoding (Optional[str]): One of `decodings`; None for the setting.
        YIELDS (Tuple[Spans, int]): For each doc its entities, and the number of dropped ones, see
            `to_tokens`.
        """
        tag_set = self.tag_set
        for some in batches(docs, PREDICT_TOKENS, self._cost):
            scores: Any
            if is_long(self.model, some[0]):
                scores = sliced_tag_scores(self.model, some[0])
            else:
                scores = self.model.predict(some)
            chosen = decoding or self.settings["decoding"]
            found = decode_tags(*self._arrays(scores), tag_set, chosen)
            for entities, words in zip(found, scores.words, strict=True):
                yield to_tokens(entities, words, self.labels)

    def _arrays(self, scores: TagScores) -> tuple[list[np.ndarray], np.ndarray | None]:
        to_numpy: Any = self.model.ops.to_numpy
        transitions = None if scores.transitions is None else to_numpy(scores.transitions)
        return [to_numpy(text) for text in scores.logits], transitions

    def _require_head(self) -> None:
        super()._require_head()
        if self.model.attrs.get("tags") == []:
            raise ValueError(SpacyErrors.E109.format(name=self.name))

    # Training ---------------------------------------------------------------------------------

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Initialise for training: labels, the head's sizes; a frozen LLM reads the corpus here.

        get_examples (Callable[[], Iterable[Example]]): Function that returns the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): The labels; None: those of the data and of the checkpoint.
            `spacy init labels` writes them to a file.
        RAISES (TypeError): If `get_examples` does not return examples.
        RAISES (ValueError): If there are no labels, or if gold labels are missing from `labels`.

        DOCS: https://spacy.io/api/entityrecognizer#initialize
        """
        validate_get_examples(get_examples, "TokenTagger.initialize")
        self._warned.clear()
        facts = DataFacts(self.key)
        golds = [read_gold(example, self.key) for example in facts.count(get_examples())]
        record_training(nlp, self.name, facts)
        if self.model.has_dim("nO"):
            self.model.set_dim("nO", None, force=True)  # type: ignore[arg-type]
        self._adopt_tags()
        self._take_labels(golds, labels, get_examples)
        self._report_lost(golds)
        self._report_score_weights(nlp)
        self._report_schedule(nlp, len(golds))
        self._report_dev(nlp)
        reading = self._read_corpus(get_examples)
        if reading.unseen:
            total = sum(len(gold.spans) for gold in golds)
            self._warn_once(Warnings.W22.format(name=self.name, unseen=reading.unseen, total=total))
        # From now on the head belongs to this LLM, even if it was trained on another one before.
        for shim in self._llm_shims():
            shim.record()
        if not self.model.has_dim("nO"):
            self.model.set_dim("nO", len(self.labels), force=True)
        self.model.initialize(X=reading.sample)
        self.temperature = DEFAULT_TEMPERATURE  # it belonged to other weights
        self._report_untrained_crf()

    def _report_lost(self, golds: list[Gold]) -> None:
        """Warn, before training, about gold spans that cannot be learnt."""
        total = sum(len(gold.spans) + gold.lost for gold in golds)
        tag_set = self.tag_set
        overlapping = sum(unsayable(gold, tag_set) for gold in golds) if total else 0
        self._report_misaligned(golds)
        if overlapping:
            tags = ", ".join(tag_set.tags[:7])
            self._warn_once(
                Warnings.W21.format(name=self.name, lost=overlapping, total=total, tags=tags)
            )

    def _report_untrained_crf(self) -> None:
        """Warn about a CRF whose transitions the loss never trains."""
        has_crf = any(shim.module.crf is not None for shim in self._shims(HeadShim))
        if has_crf and getattr(self.loss, "crf", None) == 0:
            self._warn_once(Warnings.W25.format(name=self.name))

    def get_loss(self, examples: Iterable[Example], scores: TagScores) -> tuple[float, TagScores]:
        """Compute the loss of a batch and its gradient.

        examples (Iterable[Example]): The batch.
        scores (TagScores): The model's output for the predicted docs.
        RETURNS (Tuple[float, TagScores]): Loss and gradient. Unannotated words have no weight; a
            CRF sums over their possible tags.
        RAISES (ValueError): For gold labels that the component does not have.

        DOCS: https://spacy.io/api/entityrecognizer#get_loss
        """
        examples = list(examples)
        validate_examples(examples, "TokenTagger.get_loss")
        tag_set = self.tag_set
        golds = [read_gold(example, self.key) for example in examples]
        self._require_known_labels(golds)
        allowed = [
            allowed_tags(gold, np.asarray(words), tag_set)
            for gold, words in zip(golds, scores.words, strict=True)
        ]
        tag_labels = [label or "O" for _, label in tag_set.parts]
        loss, d_logits, d_transitions = self.loss(
            scores.logits, allowed, scores.transitions, tag_labels
        )
        return loss, TagScores(d_logits, scores.words, d_transitions)


@Language.factory(
    "llm2ner_tagger",
    assigns=["doc.ents", "doc.spans", "token.ent_iob", "token.ent_type"],
    default_config={
        "model": DEFAULT_MODEL,
        "loss": {"@misc": "spacy_llm2ner.CompoundTagLoss.v1"},
        "spans_key": DEFAULT_SPANS_KEY,
        "annotate": "ents",
        "threshold": 0.0,
        "decoding": "viterbi",
        "on_existing_ents": "keep",
        "on_existing_spans": "replace",
        "bundle_llm": False,
        "scorer": {"@scorers": "spacy_llm2ner.span_recognizer_scorer.v1"},
    },
    default_score_weights={"ents_f": 1.0, "ents_p": 0.0, "ents_r": 0.0, "ents_per_type": None},
)
def make_token_tagger(
    nlp: Language,
    name: str,
    model: Model,
    loss: TagLoss,
    spans_key: str,
    annotate: Literal["spans", "ents", "both"],
    threshold: float | str | dict[str, float],
    decoding: Literal["viterbi", "argmax"],
    on_existing_ents: Literal["keep", "replace", "merge"],
    on_existing_spans: Literal["replace", "merge"],
    bundle_llm: bool,
    scorer: Callable | None,
) -> TokenTagger:
    """Make the component "llm2ner_tagger".

    model (Model[List[Doc], TagScores]): docs -> tag scores, e.g. `spacy_llm2ner.TokenTagger.v1` or
        `spacy_llm2ner.HFTokenClassifier.v1`.
    loss (TagLoss): The training loss, e.g. `spacy_llm2ner.CompoundTagLoss.v1`.
    spans_key (str): The key of `doc.spans` to write, depending on `annotate`. In training, gold
        spans are read from this key, else from `doc.ents`.
    annotate (str): The annotation to write: "ents", "spans" or "both".
    threshold (Union[float, str, Dict[str, float]]): The least score of an entity: one for all
        labels, or one per label as a table or a text, e.g. "PER=0.9,LOC=0.4" (0 for labels that are
        not named). `llm2ner calibrate` tunes it.
    decoding (str): "viterbi": the best sequence that the tag scheme allows; "argmax": each word
        independently, as `transformers` does.
    on_existing_ents (str): "keep" existing entities, "replace" them all, or "merge": predicted ones
        win where they overlap.
    on_existing_spans (str): If `doc.spans[spans_key]` exists: "replace" its spans, with a warning,
        or "merge": they stay besides the predicted ones.
    bundle_llm (bool): Write a frozen LLM, cut, into the component's folder.
    scorer (Optional[Callable]): The scoring method.
    """
    return TokenTagger(
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
        scorer=scorer,
    )
