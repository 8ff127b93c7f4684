"""The kinds of pipelines of the gate, and what is compared: predictions, bytes and training.

`make.py` and the test both use this file, so it imports nothing of the package: only registered
names and spaCy's own interface, which stay when modules move.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.util import load_model_from_config, registry
from thinc.api import Adam, Config, fix_random_seed

SAVED = Path(__file__).parent / "saved"
# Model folders, relative to SAVED: so they stand in the configs, and the test works in SAVED.
LLAMA, CHAT, T5, BERT = "llms/llama", "llms/chat", "llms/t5", "llms/bert"
TOMMER = "heads/tommer"
# A head for LLAMA in the layout of the package's folder `pretrained`; see `shelf` in the test.
SHELF = "heads/shelf"

Phrases = list[tuple[str, str]]

DATA: list[tuple[str, Phrases]] = [
    ("Ada Lovelace met Charles Babbage.", [("Ada Lovelace", "PER"), ("Charles Babbage", "PER")]),
    ("The Rhine flows past Cologne.", [("Rhine", "LOC"), ("Cologne", "LOC")]),
    ("Harbour Bank opened in Norwich.", [("Harbour Bank", "ORG"), ("Norwich", "LOC")]),
    ("Nobody said why.", []),
    ("O'Neill plays for Wrexham.", [("O'Neill", "PER"), ("Wrexham", "ORG")]),
    ("In London, Babbage wrote.", [("London", "LOC"), ("Babbage", "PER")]),
    ("A good year, it was said.", []),
    ("Düsseldorf welcomed Ada.", [("Düsseldorf", "LOC"), ("Ada", "PER")]),
    ("The Bank of New Zealand grew.", [("Bank of New Zealand", "ORG")]),
    ("She left Switzerland for Cologne.", [("Switzerland", "LOC"), ("Cologne", "LOC")]),
]
# Overlapping and nested annotation, in a span group.
NESTED: list[tuple[str, Phrases]] = [
    ("The Bank of New Zealand grew.", [("Bank of New Zealand", "ORG"), ("New Zealand", "LOC")]),
    ("Norwich City won.", [("Norwich City", "ORG"), ("Norwich", "LOC")]),
    ("London Bridge Hospital", [("London Bridge", "LOC"), ("Bridge Hospital", "ORG")]),
    *DATA[:4],
]

_ALL = " ".join(text for text, _ in DATA)
SHORT_TEXTS = [
    "",
    "Ada Lovelace met Charles Babbage.",
    "   ",
    "\n\t \n",
    "x",
    "  The Bank of New Zealand grew;  Harbour Bank\n\nopened in Norwich. ",
    "“It’s a good year for O'Neill,” said Łukasz of Düsseldorf — 東京, Ελλάδα, naïve 🙂.",
    _ALL,
]
# Longer than a window of each LLM (256 and 130 pieces).
TEXTS = [*SHORT_TEXTS, " ".join([_ALL] * 5)]


@dataclass(frozen=True)
class Kind:
    """One pipeline of the gate.

    components (Dict[str, Dict]): Names of factories, and the components' configs.
    gold (List[Tuple[str, Phrases]]): The texts it learns from.
    in_groups (bool): Whether their annotation is in a span group, else in `doc.ents`.
    steps (int): Updates before it is saved; 0: it is only initialised; None: not even that.
    distil (Optional[Dict]): Settings of `spacy_llm2ner.SelfDistillation.v1`; a step is an epoch.
    calibrate (bool): Whether it is calibrated before it is saved.
    members (int): If above 1, so many pipelines are trained and joined.
    texts (Tuple[str, ...]): The texts of the predictions.
    trains (bool): Whether training is compared too.
    needs (str): A package that may be missing.
    coarse (bool): Whether its LLM computes in so few digits that it finds other spans on machines
        that round differently.
    default_llm (bool): Whether it is made by its config alone, on the default LLM; not saved.
    """

    components: dict[str, dict[str, Any]]
    gold: list[tuple[str, Phrases]]
    in_groups: bool = False
    steps: int | None = 30
    distil: dict[str, Any] | None = None
    calibrate: bool = False
    members: int = 1
    texts: tuple[str, ...] = tuple(TEXTS)
    trains: bool = True
    needs: str = ""
    coarse: bool = False
    default_llm: bool = False


def _llm(**settings: Any) -> dict[str, Any]:
    name = settings.pop("architecture", "FrozenLLM")
    chosen = {"name": LLAMA, "layers": [1, 3], **settings}
    return {"@architectures": f"spacy_llm2ner.{name}.v1", **chosen}


def _spans(
    llm: dict[str, Any] | None = None, head: dict[str, Any] | None = None, **cfg: Any
) -> dict[str, dict[str, Any]]:
    scorer = {"@architectures": "spacy_llm2ner.SpanScorer.v1", "hidden_width": 16, "rank": 4}
    model = {
        "@architectures": "spacy_llm2ner.SpanRecognizer.v1",
        "llm": llm or _llm(),
        "head": {**scorer, "depth": 1, **(head or {})},
    }
    return {"llm2ner": {"model": model, **cfg}}


def _tommer(**settings: Any) -> dict[str, dict[str, Any]]:
    cfg = settings.pop("cfg", {})
    llm = _llm(layers=None)
    model = {"@architectures": "spacy_llm2ner.ToMMeR.v1", "llm": llm, **settings}
    return {"llm2ner": {"model": model, **cfg}}


def _tagger(
    head: str = "CRF", llm: dict[str, Any] | None = None, settings: Any = None, **cfg: Any
) -> dict[str, dict[str, Any]]:
    chosen = {"hidden_width": 16, "encoder": "conv", "depth": 1, **(settings or {})}
    model = {
        "@architectures": "spacy_llm2ner.TokenTagger.v1",
        "llm": llm or _llm(),
        "head": {"@architectures": f"spacy_llm2ner.{head}Tagger.v1", **chosen},
    }
    return {"llm2ner_tagger": {"model": model, **cfg}}


def _tuned(**settings: Any) -> dict[str, Any]:
    return _llm(architecture="TunedLLM", **{"lora_rank": 4, **settings})


def _classifier(model: dict[str, Any], **cfg: Any) -> dict[str, dict[str, Any]]:
    whole = {"@architectures": "spacy_llm2ner.HFTokenClassifier.v1", "name": BERT, **model}
    return {"llm2ner_tagger": {"model": whole, **cfg}}


def _prompted(
    name: str = CHAT, model: dict[str, Any] | None = None, **cfg: Any
) -> dict[str, dict[str, Any]]:
    whole = {"@architectures": "spacy_llm2ner.PromptedLLM.v1", "name": name, **(model or {})}
    chosen = {"labels": ["LOC", "ORG", "PER"], "chunk_words": 20, **cfg}
    return {"llm2ner_prompted": {"model": whole, **chosen}}


def _default_llm() -> dict[str, Any]:
    return _spans(_llm(name="../../../assets/llm/SmolLM2-135M-Instruct", layers=None))["llm2ner"]


def _few_shot(**cfg: Any) -> dict[str, dict[str, Any]]:
    model = _spans()["llm2ner"]["model"]
    return {"llm2ner_fewshot": {"model": model, "pretrained": "tiny", **cfg}}


def _transformer() -> dict[str, dict[str, Any]]:
    spans = {"@span_getters": "spacy-transformers.strided_spans.v1", "window": 48, "stride": 36}
    model = {
        "@architectures": "spacy-transformers.TransformerModel.v3",
        "name": BERT,
        "tokenizer_config": {"use_fast": True},
        "get_spans": spans,
    }
    return {"transformer": {"model": model}}


def _listener(**settings: Any) -> dict[str, Any]:
    return {"@architectures": "spacy_llm2ner.TransformerStates.v1", **settings}


_NAMES = {"PER": ["Ada Lovelace", "Babbage"], "LOC": ["Cologne", "London"], "ORG": ["Wrexham"]}
_FEW: Any = {"gold": DATA, "texts": tuple(TEXTS)}
_ASKED: Any = {"gold": DATA, "texts": tuple(SHORT_TEXTS), "trains": False, "steps": None}
_REAL: Any = {**_ASKED, "default_llm": True}

KINDS: dict[str, Kind] = {
    # The span head: encoders, decodings, readings, poolings, windows, thresholds.
    "span": Kind(_spans(), DATA),
    "span_default_layers": Kind(_spans(_llm(layers=None, reading="once")), DATA),
    "span_no_encoder": Kind(
        _spans(_llm(reading="once"), {"encoder": "none"}, decoding="greedy"), DATA
    ),
    "span_nested": Kind(
        _spans(_llm(pooling="first+last"), {"layers_as": "features"}, decoding="nested"),
        *(NESTED, True),
    ),
    "span_all": Kind(
        _spans(
            _llm(pooling="mean", window=40, stride=16, reading="once"),
            {"depth": 2, "max_span_tokens": 4, "dropout": 0.2},
            decoding="all",
            threshold=0.05,
            annotate="spans",
            spans_key="found",
        ),
        DATA,
        steps=12,
    ),
    "span_thresholds": Kind(
        _spans(
            _llm(pooling="first", normalize=False, window=50),
            annotate="ents",
            threshold={"PER": 0.2, "LOC": 0.9, "ORG": 0.05},
            on_existing_ents="merge",
            loss={"@misc": "spacy_llm2ner.SpanBCE.v1", "label_smoothing": 0.05},
        ),
        DATA,
        steps=10,
    ),
    "span_bfloat16": Kind(
        _spans(_llm(dtype="bfloat16"), on_existing_ents="replace"), DATA, coarse=True
    ),
    "span_bundled": Kind(_spans(_llm(layers=[2]), bundle_llm=True), DATA, trains=False),
    "span_calibrated": Kind(_spans(), DATA, steps=12, calibrate=True),
    "span_members": Kind(_spans(head={"members": 2}), DATA, steps=40),
    "span_ensemble": Kind(_spans(), DATA, members=3, steps=20, trains=False),
    "span_distilled": Kind(_spans(), DATA, distil={"epoch": 12, "threshold": 0.6}),
    "span_unmasked": Kind(_spans(_tuned(reading="unmasked")), DATA, steps=15),
    "span_pretrained": Kind(
        _spans(pretrained="tiny", threshold=0.4), DATA, steps=None, trains=False
    ),
    # The head for mentions, trained on pieces.
    "tommer": Kind(
        _tommer(layer=2, rank=6, sliding_window=9, cfg={"decoding": "greedy"}), DATA, steps=40
    ),
    "tommer_twice": Kind(
        _tommer(
            reading="twice",
            rank=4,
            causal_mask=False,
            use_cosine=False,
            normalize_scores="atan",
            cut_spans="drop",
            sliding_window=0,
        ),
        DATA,
        steps=40,
        texts=tuple(SHORT_TEXTS),
    ),
    "tommer_published": Kind(
        _tommer(source=TOMMER, llm_name="llama", cfg={"decoding": "all", "threshold": 0.3}),
        DATA,
        steps=None,
        trains=False,
    ),
    # Token heads.
    "tagger_linear": Kind(_tagger("Linear", annotate="both"), DATA),
    "tagger_probe": Kind(
        _tagger(
            "Linear",
            _llm(reading="once", pooling="mean"),
            {"encoder": "none", "hidden_width": None, "scheme": "BILOU"},
            decoding="argmax",
            threshold=0.3,
        ),
        DATA,
    ),
    "tagger_crf": Kind(
        _tagger(
            settings={"scheme": "BILOU"},
            annotate="both",
            threshold={"PER": 0.6, "LOC": 0.1},
            loss={
                "@misc": "spacy_llm2ner.CompoundTagLoss.v1",
                "cross_entropy": 0.5,
                "crf": 1.0,
                "label_smoothing": 0.1,
                "class_weights": {"O": 0.5, "PER": 2.0},
            },
        ),
        DATA,
    ),
    "tagger_calibrated": Kind(_tagger(), DATA, steps=16, calibrate=True),
    "tagger_lora": Kind(_tagger(llm=_tuned(learn_rate_scale=0.5)), DATA, steps=15),
    "tagger_full": Kind(
        _tagger("Linear", _tuned(tuning="full", layers=[1], reading="once", lora_rank=16)),
        DATA,
        steps=30,
    ),
    "tagger_states": Kind(
        {**_transformer(), **_tagger(llm=_listener(pooling="mean"))},
        DATA,
        steps=30,
        needs="spacy_transformers",
    ),
    "span_states": Kind(
        {**_transformer(), **_spans(_listener())}, DATA, steps=60, needs="spacy_transformers"
    ),
    # Whole checkpoints for token classification.
    "classifier": Kind(_classifier({}, annotate="both"), DATA, steps=0),
    "classifier_tokens": Kind(
        _classifier({"words": "tokens", "window": 32, "stride": 24}), DATA, steps=20
    ),
    "classifier_lora": Kind(
        _classifier({"tuning": "lora", "lora_rank": 4}, decoding="argmax"), DATA, steps=60
    ),
    # Prompted recognition; its LLMs have learnt the texts.
    "prompted_free": Kind(_prompted(decoding="free", keep_answers=True), **_ASKED),
    "prompted_constrained": Kind(_prompted(decoding="constrained", threshold=0.2), **_ASKED),
    "prompted_beams": Kind(
        _prompted(decoding="free", parser="gner", bio="conll", beams=2, threshold={"PER": 0.5}),
        **_ASKED,
    ),
    "prompted_names": Kind(
        _prompted(
            labels={"PER": "people", "LOC": "places", "ORG": "firms"},
            label_names={"PER": "person"},
            dataset="gate",
            bio="strict",
            model={"prompt_style": "plain"},
        ),
        **_ASKED,
    ),
    "prompted_t5_free": Kind(_prompted(T5, decoding="free"), **_ASKED),
    "prompted_t5_constrained": Kind(_prompted(T5), **_ASKED),
    "prompted_full": Kind(
        _prompted(model={"tuning": "full"}), DATA, texts=tuple(SHORT_TEXTS), steps=4
    ),
    "prompted_lora": Kind(
        _prompted(
            model={"tuning": "lora", "lora_rank": 2},
            decoding="free",
            drop_labels=0.3,
            negative_labels=1,
        ),
        DATA,
        texts=tuple(SHORT_TEXTS),
        steps=4,
    ),
    # Few-shot recognition.
    "few_shot_names": Kind(
        _few_shot(labels=_NAMES, other=["Nobody"], threshold=0.1), steps=None, trains=False, **_FEW
    ),
    "few_shot_words": Kind(
        _few_shot(labels=["person", "city"], words={"city": ["town"]}, threshold=0.1),
        steps=None,
        trains=False,
        **_FEW,
    ),
    "few_shot_texts": Kind(_few_shot(), steps=0, trains=False, **_FEW),
    # The head that comes with the package.
    "mentions": Kind({"llm2ner": {**_default_llm(), "pretrained": "mentions"}}, **_REAL),
    "few_shot_mentions": Kind(
        {"llm2ner_fewshot": {**_default_llm(), "labels": _NAMES, "threshold": 0.3}}, **_REAL
    ),
    # Two components on one LLM.
    "two_components": Kind(
        {**_spans(annotate="spans"), **_tagger(annotate="ents", on_existing_ents="keep")}, DATA
    ),
}


def blank(kind: Kind) -> Language:
    """A pipeline of this kind as its config makes it."""
    nlp = spacy.blank("en")
    for name, config in kind.components.items():
        nlp.add_pipe(name, config=config)
    # Any spaCy of the package's range may load it, without a warning.
    nlp.meta["spacy_version"] = ">=3.8.0,<4.0.0"
    return nlp


def load(name: str, where: Path) -> Language:
    """A saved kind. What is the same for all of them is kept once, and joined to it here.

    where (Path): A folder for the whole pipeline.
    """
    if KINDS[name].default_llm:
        return blank(KINDS[name])
    folder = where / name
    if not folder.exists():
        shutil.copytree(SAVED / name / "pipeline", folder)
        shutil.copytree(SAVED / "blank" / "vocab", folder / "vocab")
        shutil.copy(SAVED / "blank" / "tokenizer", folder)
    return spacy.load(folder)


def fresh(name: str) -> Language:
    """A pipeline of the saved kind's config, with nothing learnt."""
    config = Config().from_disk(SAVED / name / "pipeline" / "config.cfg")
    return load_model_from_config(config)


def with_store(folder: Path, where: Path) -> Language:
    """The kind "span" with a store on disk, which serves it too."""
    nlp = load("span", where)
    store = {"@misc": "spacy_llm2ner.StateStore.v1", "path": str(folder), "serve": True}
    config = Config().from_disk(SAVED / "span" / "pipeline" / "config.cfg")
    config["components"]["llm2ner"]["model"]["llm"]["store"] = store
    stored = load_model_from_config(config)
    return stored.from_bytes(nlp.to_bytes(exclude=["config"]), exclude=["config"])


def llm_of(nlp: Language) -> Any:
    """The frozen LLM of the component "llm2ner"."""
    pipe: Any = nlp.get_pipe("llm2ner")
    return pipe.model.get_ref("llm").shims[0].llm


def entries(folder: Path) -> dict[str, str]:
    """Keys of a store on disk, as hex digits, and the sha256 of what is stored there.

    Without the notes beside the entries, which hold times and which older versions ignore.
    """
    import lmdb

    from spacy_llm2ner.llm.store import LLM_PREFIX, NOTE_PREFIX

    with (
        lmdb.open(str(folder), readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        return {
            key.hex(): sha256(value)
            for key, value in transaction.cursor()
            if not key.startswith((LLM_PREFIX, NOTE_PREFIX))
        }


def shelf_holders() -> list[Any]:
    """The modules that say where shipped heads lie, wherever those modules are."""
    spacy.blank("en").add_pipe("llm2ner")  # imports them
    modules = [m for name, m in sys.modules.items() if name.startswith("spacy_llm2ner")]
    found = [m for m in modules if getattr(getattr(m, "FOLDER", None), "name", "") == "pretrained"]
    assert found, "no module of the package names the folder of shipped heads"
    return found


def examples(nlp: Language, kind: Kind) -> list[Example]:
    """The annotated texts that it learns from."""
    made = []
    for text, phrases in kind.gold:
        reference = nlp.make_doc(text)
        spans = []
        for phrase, label in phrases:
            start = text.index(phrase)
            spans.append(reference.char_span(start, start + len(phrase), label=label))
        if kind.in_groups:
            reference.spans["sc"] = spans
        else:
            reference.set_ents(spans)
        made.append(Example(nlp.make_doc(text), reference))
    return made


def train(nlp: Language, kind: Kind, steps: int, *, seed: int = 0) -> list[float]:
    """Initialise from a seed and train: the losses of each step, one component after the other."""
    fix_random_seed(seed)
    data = examples(nlp, kind)
    nlp.initialize(lambda: data)
    distil = None
    if kind.distil is not None:
        distil = registry.callbacks.get("spacy_llm2ner.SelfDistillation.v1")(**kind.distil)
    return update(nlp, data, steps, distil=distil)


def update(
    nlp: Language, data: list[Example], steps: int, *, drop: float = 0.1, distil: Any = None
) -> list[float]:
    """Train on: the losses of each step, one component after the other."""
    optimizer = Adam(0.01)
    found: list[float] = []
    for step in range(steps):
        if distil is not None:
            distil(nlp, {"step": step, "epoch": step})
        losses: dict[str, float] = {}
        nlp.update(data, sgd=optimizer, losses=losses, drop=drop)
        found += losses.values()
    return found


def own_pipes(nlp: Language) -> dict[str, Any]:
    """The pipeline's components of this package."""
    return {name: nlp.get_pipe(name) for name in nlp.pipe_names if name.startswith("llm2ner")}


# What is compared --------------------------------------------------------------------------------


def docs_of(nlp: Language, kind: Kind) -> list[Doc]:
    """The texts, the second one once more with an entity that is there already."""
    docs = [nlp.make_doc(text) for text in kind.texts]
    annotated = nlp.make_doc(kind.texts[1])
    annotated.set_ents([Span(annotated, 1, 3, label="SET")])
    return [*docs, annotated]


def predict(nlp: Language, kind: Kind) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What a pipeline finds, and all scores of its models.

    RETURNS (Tuple[List[Dict], Dict[str, ndarray]]): For each doc its entities, span groups and
        reports; and the raw outputs of each model that scores docs, in order.
    """
    docs = list(nlp.pipe(docs_of(nlp, kind), batch_size=4))
    outputs = {}
    for name, pipe in own_pipes(nlp).items():
        if name != "llm2ner_prompted":  # whose model scores answers, not docs
            arrays = _arrays(pipe.model.predict(docs))
            outputs.update({f"{name}.{number:02}": array for number, array in enumerate(arrays)})
    return [_found(doc) for doc in docs], outputs


def _found(doc: Doc) -> dict[str, Any]:
    found: dict[str, Any] = {"text": doc.text, "ents": [_span(ent) for ent in doc.ents]}
    found["iob"] = " ".join(f"{token.ent_iob}" for token in doc)
    for key, group in sorted(doc.spans.items()):
        found.setdefault("spans", {})[key] = [_span(span) for span in group]
        attrs = {name: _plain(value) for name, value in group.attrs.items()}
        found.setdefault("attrs", {})[key] = attrs
    reports = {key: _plain(value) for key, value in doc.user_data.items() if isinstance(key, str)}
    if reports:
        found["reports"] = reports
    return found


def _span(span: Span) -> list[Any]:
    score = span._.score if Span.has_extension("score") else None
    return [span.start, span.end, span.label_, _plain(score)]


def _plain(value: Any) -> Any:
    """Numbers with all their digits, as JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)) or (hasattr(value, "tolist") and np.ndim(value)):
        return [_plain(part) for part in value]
    if isinstance(value, (float, np.floating)):
        return float(value).hex()
    return int(value) if isinstance(value, np.integer) else value


def _arrays(output: Any) -> Iterator[np.ndarray]:
    if isinstance(output, np.ndarray):
        yield output
    elif isinstance(output, (list, tuple)):
        for part in output:
            yield from _arrays(part)
    elif output is not None:
        for part in vars(output).values():
            yield from _arrays(part)


def weights(nlp: Language) -> dict[str, str]:
    """For each component the sha256 of its model's bytes."""
    return {n: sha256(pipe.model.to_bytes()) for n, pipe in own_pipes(nlp).items()}


def stored_bytes(nlp: Language) -> dict[str, str]:
    """For each component the sha256 of its bytes, labels and settings included."""
    return {n: sha256(pipe.to_bytes(exclude=["vocab"])) for n, pipe in own_pipes(nlp).items()}


def learnt(nlp: Language, kind: Kind, fresh: Language) -> dict[str, Any]:
    """What becomes of three steps from the start, and of one more step of a stored pipeline.

    nlp (Language): The stored pipeline.
    fresh (Language): One of the same config.
    RETURNS (Dict[str, Any]): Losses, and digests of the weights after it.
    """
    few = Kind(**{**vars(kind), "distil": kind.distil and {**kind.distil, "epoch": 1}})
    start = train(fresh, few, 3, seed=1)
    fix_random_seed(2)
    more = update(nlp, examples(nlp, kind), 1)
    return {
        "from_the_start": {"losses": _plain(start), "weights": weights(fresh)},
        "one_more_step": {"losses": _plain(more), "weights": weights(nlp)},
    }


def sha256(data: bytes) -> str:
    """Hex digits."""
    return hashlib.sha256(data).hexdigest()
