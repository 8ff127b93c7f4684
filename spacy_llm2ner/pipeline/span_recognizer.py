"""The span recogniser: `nlp.add_pipe("llm2ner")`."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import srsly
from spacy import util
from spacy.errors import Errors
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.vocab import Vocab
from thinc.api import Config, Model
from thinc.types import Floats3d

from ..decoding import DECODINGS, Spans, decode, flatten
from ..log import logger
from ..losses import SpanBCE, SpanLoss
from ..shims import LLMShim
from .annotate import ON_EXISTING_ENTS, OnExistingEnts, make_spans, write_ents, write_spans
from .gold import Gold, longest_span, read_gold, target_band
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
DEFAULT_THRESHOLD = 0.5

# The band covers the longest gold span of the training data, but never more than this.
MAX_SPAN_TOKENS_CAP = 30
# The band's width if there is no data to learn it from (`nlp.initialize()` without examples).
_MAX_SPAN_TOKENS_WITHOUT_DATA = 10
# Tokens whose states and scores are held at once while predicting.
_PREDICT_TOKENS = 20_000
# Docs of the training data that are read at once, with one progress bar.
_READ_DOCS = 2_000
# Tokens from which the head takes the statistics of the states.
_SAMPLE_TOKENS = 20_000


class SpanRecognizer(TrainablePipe):
    """Finds and labels spans with a small head on the hidden states of a frozen LLM.

    Writes `doc.spans[spans_key]`, where spans may overlap, and `doc.ents`, where they may not.
    Scores are in `doc.spans[spans_key].attrs["scores"]` and in `span._.score`.

    The interface is that of spaCy's own trainable components: https://spacy.io/api/spancategorizer
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model[list[Doc], list[Floats3d]],
        name: str = "llm2ner",
        *,
        loss: SpanLoss | None = None,
        spans_key: str = DEFAULT_SPANS_KEY,
        annotate: Literal["spans", "ents", "both"] = "both",
        threshold: float | dict[str, float] = DEFAULT_THRESHOLD,
        decoding: Literal["all", "greedy", "flat", "nested"] = "flat",
        on_existing_ents: OnExistingEnts = "keep",
        bundle_llm: bool = False,
        scorer: Callable | None = score_span_recognizer,
    ) -> None:
        """Make a component; see `make_span_recognizer` for the settings.

        vocab (Vocab): The shared vocabulary.
        model (Model[List[Doc], List[Floats3d]]): docs -> logits (tokens, width, labels).
        name (str): The component instance's name, also in the losses.
        loss (Optional[SpanLoss]): See `spacy_llm2ner.losses`; None = `SpanBCE()`.
        RAISES: ValueError for a setting that is none of the accepted values.
        """
        for setting, value, accepted in (
            ("annotate", annotate, ("spans", "ents", "both")),
            ("decoding", decoding, DECODINGS),
            ("on_existing_ents", on_existing_ents, ON_EXISTING_ENTS),
        ):
            if value not in accepted:
                raise ValueError(
                    f"{name}: the setting '{setting}' is '{value}'; "
                    f"accepted are {', '.join(accepted)}."
                )
        _check_threshold(name, threshold)
        self.vocab = vocab
        self.model = model
        self.name = name
        self.loss = SpanBCE() if loss is None else loss
        self.scorer = scorer
        self.cfg: dict[str, Any] = {
            "labels": [],
            "spans_key": spans_key,
            "annotate": annotate,
            "threshold": threshold,
            "decoding": decoding,
            "on_existing_ents": on_existing_ents,
            "bundle_llm": bundle_llm,
        }
        self._warned: set[str] = set()

    # Labels -----------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """The key of `doc.spans` that is written, and read in training."""
        return str(self.cfg["spans_key"])

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the model's output.

        DOCS: https://spacy.io/api/spancategorizer#labels
        """
        return tuple(self.cfg["labels"])

    @property
    def label_data(self) -> list[str]:
        """The labels as `spacy init labels` stores them."""
        return list(self.labels)

    def add_label(self, label: str) -> int:
        """Add a label. A trained head grows: what it learnt for the other labels stays.

        label (str): The label.
        RETURNS (int): 1 if it was added, 0 if it was there.
        RAISES: ValueError if it is no string.

        DOCS: https://spacy.io/api/spancategorizer#add_label
        """
        if not isinstance(label, str):
            raise ValueError(Errors.E187)
        if label in self.labels:
            return 0
        self.cfg["labels"].append(label)
        self.vocab.strings.add(label)
        if self.model.has_dim("nO"):
            self.set_output(len(self.labels))
        return 1

    # Predicting -------------------------------------------------------------------------------

    def predict(self, docs: Iterable[Doc]) -> list[Spans]:
        """Find the spans of docs, without changing the docs.

        docs (Iterable[Doc]): The docs.
        RETURNS (List[Spans]): For each doc its decoded spans: starts, ends, labels, scores.

        DOCS: https://spacy.io/api/spancategorizer#predict
        """
        docs = list(docs)
        thresholds = self._thresholds()
        decoding = self.cfg["decoding"]
        predictions: list[Spans] = []
        with _ReadingLog(self, len(docs), always=False):
            for some in _within_budget(docs, _PREDICT_TOKENS):
                for logits in self.model.predict(some):
                    band = self.model.ops.to_numpy(logits)
                    predictions.append(decode(band, thresholds, decoding))
        return predictions

    def set_annotations(self, docs: Iterable[Doc], predictions: list[Spans]) -> None:
        """Write predicted spans to docs.

        docs (Iterable[Doc]): The docs.
        predictions (List[Spans]): What `predict` gave for them.

        DOCS: https://spacy.io/api/spancategorizer#set_annotations
        """
        thresholds = self._thresholds()
        for doc, found in zip(docs, predictions, strict=True):
            if self.cfg["annotate"] in ("spans", "both"):
                write_spans(doc, self._make_spans(doc, found), found.scores, self.key)
            if self.cfg["annotate"] in ("ents", "both"):
                flat = found
                if self.cfg["decoding"] in ("all", "nested"):
                    flat = flatten(found, thresholds)
                write_ents(doc, self._make_spans(doc, flat), self.cfg["on_existing_ents"])

    def _make_spans(self, doc: Doc, found: Spans) -> list:
        labels = (self.labels[index] for index in found.labels)
        return make_spans(doc, found.starts, found.ends, labels, found.scores)

    def _thresholds(self) -> np.ndarray:
        threshold = self.cfg["threshold"]
        if not isinstance(threshold, dict):
            return np.full(len(self.labels), threshold, dtype=np.float32)
        given = [threshold.get(label, DEFAULT_THRESHOLD) for label in self.labels]
        return np.array(given, dtype=np.float32)

    # Training ---------------------------------------------------------------------------------

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
    ) -> None:
        """Prepare for training: labels, the band's width, the head's sizes; read the corpus.

        The LLM reads the training texts here, once, with a progress bar, so that the first epoch is
        as fast as the others; what a store remembers is not read again.

        get_examples (Callable[[], Iterable[Example]]): Gives the training data.
        nlp (Optional[Language]): The pipeline.
        labels (Optional[List[str]]): The labels; None = those of the data. `spacy init labels`
            makes a file of them.
        RAISES: TypeError if `get_examples` is not what is described above; ValueError if there are
            no labels.

        DOCS: https://spacy.io/api/spancategorizer#initialize
        """
        validate_get_examples(get_examples, "SpanRecognizer.initialize")
        self._warned.clear()
        for label in labels or []:
            self.add_label(label)
        golds: list[Gold] = []
        sample: list[Doc] = []
        sampled = 0
        stream = iter(get_examples())
        while examples := list(islice(stream, _READ_DOCS)):
            docs = [example.predicted for example in examples]
            golds.extend(read_gold(example, self.key) for example in examples)
            self._read_ahead(docs)
            for doc in docs:
                if sampled < _SAMPLE_TOKENS:
                    sample.append(doc)
                    sampled += len(doc)
        if labels is None:
            for label in sorted({label for gold in golds for _, _, label in gold.spans}):
                self.add_label(label)
        self._require_labels()
        width = self._band_width(golds)
        self._report_lost(golds, width)
        empty = self.model.ops.alloc3f(0, width, len(self.labels))
        self.model.initialize(X=sample, Y=[empty])
        for shim in self._llm_shims():
            shim.record()

    def _band_width(self, golds: list[Gold]) -> int:
        fixed = None
        if self.model.has_ref("head"):
            fixed = self.model.get_ref("head").attrs.get("max_span_tokens")
        if fixed is not None:
            return int(fixed)
        longest = longest_span(golds) or _MAX_SPAN_TOKENS_WITHOUT_DATA
        return min(longest, MAX_SPAN_TOKENS_CAP)

    def _report_lost(self, golds: list[Gold], width: int) -> None:
        """Count what cannot be learnt from: once, at the start, and never silently."""
        total = sum(len(gold.spans) + gold.lost for gold in golds)
        long = sum(end - start > width for gold in golds for start, end, _ in gold.spans)
        lost = sum(gold.lost for gold in golds)
        if long:
            self._warn(
                "L2N-W01",
                f"{long} of {total} gold spans of the training data are longer than the "
                f"{width} tokens of max_span_tokens and can be neither learnt nor found (the "
                f"longest has {longest_span(golds)}). Raise max_span_tokens of the head.",
            )
        if lost:
            self._warn(
                "L2N-W02",
                f"{lost} of {total} gold spans of the training data do not begin and end where "
                f"tokens of the pipeline's tokenizer do, and cannot be learnt.",
            )

    def _warn(self, code: str, sentence: str) -> None:
        if code not in self._warned:
            self._warned.add(code)
            warnings.warn(f"[{code}] {self.name}: {sentence}", UserWarning, stacklevel=3)

    def get_loss(
        self, examples: Iterable[Example], scores: list[Floats3d]
    ) -> tuple[float, list[Floats3d]]:
        """The loss of a batch and its gradient.

        examples (Iterable[Example]): The batch.
        scores (List[Floats3d]): What the model gave for the predicted docs: logits (tokens, width,
            labels).
        RETURNS (Tuple[float, List[Floats3d]]): Loss and gradient. Spans with tokens that are not
            annotated do not count.
        RAISES: ValueError for gold labels that the component does not have.

        DOCS: https://spacy.io/api/spancategorizer#get_loss
        """
        examples = list(examples)
        validate_examples(examples, "SpanRecognizer.get_loss")
        columns = {label: index for index, label in enumerate(self.labels)}
        targets, weights = [], []
        for example, logits in zip(examples, scores, strict=True):
            gold = read_gold(example, self.key)
            self._require_known_labels(gold, columns)
            target, weight = target_band(gold, logits.shape[1], columns)
            targets.append(self.model.ops.asarray3f(target))
            # Spans that begin or end at a token without a state are no candidates.
            weights.append(self.model.ops.asarray3f(weight) * (logits > -1e5))
        return self.loss(scores, targets, weights)

    def _require_known_labels(self, gold: Gold, columns: dict[str, int]) -> None:
        unknown = sorted({label for _, _, label in gold.spans if label not in columns})
        if unknown:
            raise ValueError(
                f"{self.name}: the training data has spans labelled {', '.join(unknown)}, but the "
                f"component's labels are {', '.join(self.labels)}. Add labels with add_label, or "
                f"give all of them in [initialize.components.{self.name}.labels] (made by "
                f"`spacy init labels`)."
            )

    # The LLM's work ---------------------------------------------------------------------------

    def _llm_shims(self) -> list[LLMShim]:
        return [s for node in self.model.walk() for s in node.shims if isinstance(s, LLMShim)]

    def _read_ahead(self, docs: list[Doc]) -> None:
        for shim in self._llm_shims():
            shim.llm.remember()
            if shim.llm.has_room():
                with _ReadingLog(self, len(docs), always=True):
                    shim.llm.states(docs)

    # Going to disk and back -------------------------------------------------------------------

    def to_bytes(self, *, exclude: Iterable[str] = util.SimpleFrozenList()) -> bytes:
        """Labels and head as bytes; the LLM never goes along here.

        DOCS: https://spacy.io/api/spancategorizer#to_bytes
        """
        self._validate_serialization_attrs()
        return util.to_bytes(
            {
                "cfg": lambda: srsly.json_dumps(self._stored_cfg()),
                "vocab": lambda: self.vocab.to_bytes(exclude=exclude),
                "model": self.model.to_bytes,
            },
            exclude,
        )

    def from_bytes(
        self, bytes_data: bytes, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> SpanRecognizer:
        """Load labels and head from bytes.

        DOCS: https://spacy.io/api/spancategorizer#from_bytes
        """
        self._validate_serialization_attrs()
        util.from_bytes(
            bytes_data,
            {
                "cfg": lambda data: self._load_cfg(srsly.json_loads(data)),
                "vocab": lambda data: self.vocab.from_bytes(data, exclude=exclude),
                "model": self._load_model,
            },
            exclude,
        )
        return self

    def to_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> None:
        """Write labels and head; the cut LLM too if `bundle_llm` is set.

        DOCS: https://spacy.io/api/spancategorizer#to_disk
        """
        self._validate_serialization_attrs()
        serialize: dict[str, Callable[[Path], None]] = {
            "cfg": lambda p: srsly.write_json(p, self._stored_cfg()),
            "vocab": lambda p: self.vocab.to_disk(p, exclude=exclude),
            "model": lambda p: self.model.to_disk(p),
        }
        if self.cfg["bundle_llm"]:
            for shim in self._llm_shims():
                serialize["llm"] = shim.llm.save_bundle
        util.to_disk(path, serialize, exclude)

    def from_disk(
        self, path: str | Path, *, exclude: Iterable[str] = util.SimpleFrozenList()
    ) -> SpanRecognizer:
        """Load labels and head. The LLM is loaded when it is first needed.

        DOCS: https://spacy.io/api/spancategorizer#from_disk
        """
        self._validate_serialization_attrs()
        util.from_disk(
            path,
            {
                "cfg": lambda p: self._load_cfg(srsly.read_json(p)),
                "vocab": lambda p: self.vocab.from_disk(p, exclude=exclude),
                "model": lambda p: self._load_model(Path(p).read_bytes()),
            },
            exclude,
        )
        bundle = Path(path) / "llm"
        if "llm" not in exclude and bundle.is_dir():
            for shim in self._llm_shims():
                shim.llm.use_bundle(bundle)
        return self

    def _stored_cfg(self) -> dict[str, Any]:
        # Everything else is in the pipeline's config, where an override at load can reach it.
        return {"labels": list(self.labels)}

    def _load_cfg(self, stored: dict[str, Any]) -> None:
        self.cfg["labels"] = list(stored["labels"])
        for label in self.labels:
            self.vocab.strings.add(label)

    def _load_model(self, data: bytes) -> None:
        for node in self.model.walk():
            if "nO" in node.dim_names and node.shims + list(node.ref_names):
                node.set_dim("nO", None, force=True)
        try:
            self.model.from_bytes(data)
        except AttributeError as error:
            raise ValueError(Errors.E149) from error


class _ReadingLog:
    """Says in the log what the LLM had to read and what was remembered, while training."""

    def __init__(self, pipe: SpanRecognizer, n_docs: int, always: bool) -> None:
        self.pipe, self.n_docs, self.always = pipe, n_docs, always

    def __enter__(self) -> None:
        self.started = time.perf_counter()
        self.before = [shim.llm.texts_read for shim in self.pipe._llm_shims()]

    def __exit__(self, *_: object) -> None:
        for shim, before in zip(self.pipe._llm_shims(), self.before, strict=True):
            count = shim.llm.texts_read - before
            if not shim.llm.remembering or (count == 0 and not self.always):
                continue
            seconds = f" in {time.perf_counter() - self.started:.0f} s" if count else ""
            logger.info(
                "%s: of %d texts the LLM read %d%s; %d were remembered",
                *(self.pipe.name, self.n_docs, count, seconds, self.n_docs - count),
            )


def _within_budget(docs: list[Doc], tokens: int) -> Iterator[list[Doc]]:
    """Consecutive runs of docs of at most `tokens` tokens (or one longer doc)."""
    run: list[Doc] = []
    size = 0
    for doc in docs:
        if run and size + len(doc) > tokens:
            yield run
            run, size = [], 0
        run.append(doc)
        size += len(doc)
    if run:
        yield run


def _check_threshold(name: str, threshold: float | dict[str, float]) -> None:
    values = threshold.values() if isinstance(threshold, dict) else [threshold]
    for value in values:
        if not 0.0 <= value <= 1.0:
            raise ValueError(
                f"{name}: the setting 'threshold' is {threshold}; probabilities from 0 to 1 are "
                f"expected, one for all labels or one per label."
            )


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
        "bundle_llm": False,
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
    threshold: float | dict[str, float],
    decoding: Literal["all", "greedy", "flat", "nested"],
    on_existing_ents: Literal["keep", "replace", "merge"],
    bundle_llm: bool,
    scorer: Callable | None,
) -> SpanRecognizer:
    """Make the component "llm2ner".

    model (Model[List[Doc], List[Floats3d]]): docs -> logits (tokens, width, labels), e.g.
        `spacy_llm2ner.SpanRecognizer.v1`.
    loss (SpanLoss): The training loss, e.g. `spacy_llm2ner.SpanBCE.v1`.
    spans_key (str): The key of `doc.spans` that is written. In training, gold spans are looked for
        under this key, else in `doc.ents`.
    annotate (str): What is written: "spans", "ents" or "both".
    threshold (Union[float, Dict[str, float]]): The probability from which a span counts: one for
        all labels, or one per label (0.5 for labels that are not named).
    decoding (str): Which spans above the threshold are kept in `doc.spans`: "all", "greedy" (best
        first, disjoint), "flat" (the most probable disjoint set), "nested" (the most probable set
        without crossings). `doc.ents` are always disjoint: greedy, or else flat.
    on_existing_ents (str): "keep" entities that are there, "replace" them all, or "merge": ours win
        where they overlap.
    bundle_llm (bool): Write the cut LLM into the component's folder, so that the pipeline runs
        where the LLM is not installed. Checkpoints then weigh as much as the LLM.
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
        bundle_llm=bundle_llm,
        scorer=scorer,
    )
