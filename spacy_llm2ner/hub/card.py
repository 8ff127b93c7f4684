"""The model card of a pipeline: a README.md for the hub, rendered from templates/card.md.jinja."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from importlib.metadata import metadata, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from spacy.language import Language

from ..errors import Errors
from ..pipeline.meta_facts import EVALUATION, TRAINING_DATA
from .facts import HeadFacts, Reads, head_facts
from .picture import PICTURE, scores_picture

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_TEMPLATE = "templates/card.md.jinja"
_TASK = "token-classification"
# The data of scores that were given without its name, which the scores do not have either.
_UNNAMED = "data that was not named"
_TAGS = ("spacy", "named-entity-recognition", "span-detection", "llm", "frozen-llm")
_METRICS = {"p": "precision", "r": "recall", "f": "f1"}


class Scores(NamedTuple):
    """A table of scores.

    prefix (str): The prefix of its keys in the output of `spacy evaluate`: "ents", "spans_sc".
    unit (str): The counted units.
    rows (List[Tuple[str, List[Optional[float]]]]): A label, or "all", with precision, recall and
        F1 in [0, 1].
    intervals (Mapping[str, Sequence[float]]): Label or "all" -> the interval of 95 % of F1, if
        `llm2ner evaluate` measured the scores.
    """

    prefix: str
    unit: str
    rows: list[tuple[str, list[float | None]]]
    intervals: Mapping[str, Sequence[float]]


def make_card(
    nlp: Language,
    *,
    metrics: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    title: str | None = None,
    license: str | None = None,
    repo_id: str | None = None,
) -> str:
    """Make a Hugging Face model card.

    nlp (Language): The pipeline.
    metrics (Optional[Mapping]): Scores as `spacy evaluate --output` writes them. None: those that
        `llm2ner evaluate --meta` or `spacy train` stored with the pipeline.
    dataset (Optional[str]): The name of the data of the scores. None: the one that is stored with
        them, or that of the development data for scores of the training; the card says that other
        data was not named.
    title (Optional[str]): The model's name. None: the pipeline's.
    license (Optional[str]): As the hub abbreviates it. None: the pipeline's, else that of a
        pretrained head, else "unknown".
    repo_id (Optional[str]): The pipeline's hub id, for the code under "Usage".
    RETURNS (str): Markdown with the metadata as YAML front matter. If there are scores, it shows
        the picture `scores.svg`, which must lie beside it (see `write_card`).
    RAISES (ValueError): If no component of the pipeline has a head on an LLM (E801).
    """
    return _card_and_picture(nlp, metrics, dataset, title, license, repo_id)[0]


def write_card(
    nlp: Language,
    path: Path,
    *,
    metrics: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    title: str | None = None,
    license: str | None = None,
    repo_id: str | None = None,
) -> None:
    """Write a model card and, beside it, the picture of its scores if there are any.

    nlp (Language): The pipeline.
    path (Path): The card's file. For the other arguments see `make_card`.
    RAISES (ValueError): If no component of the pipeline has a head on an LLM (E801).
    """
    card, picture = _card_and_picture(nlp, metrics, dataset, title, license, repo_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(card, encoding="utf8")
    if picture is not None:
        (path.parent / PICTURE).write_text(picture, encoding="utf8")


def _card_and_picture(
    nlp: Language,
    metrics: Mapping[str, Any] | None,
    dataset: str | None,
    title: str | None,
    license: str | None,
    repo_id: str | None,
) -> tuple[str, str | None]:
    from huggingface_hub import ModelCard, ModelCardData

    heads = head_facts(nlp)
    if not heads:
        raise ValueError(Errors.E801.format(components=", ".join(nlp.pipe_names) or "none"))
    title = title or f"{nlp.meta['lang']}_{nlp.meta['name']}"
    shipped = next((head.shipped["license"] for head in heads if "license" in head.shipped), None)
    license = license or nlp.meta.get("license") or shipped or "unknown"
    scores = dict(nlp.meta.get("performance") or {}) if metrics is None else dict(metrics)
    dataset = dataset or (_data_of(nlp.meta) if metrics is None else _UNNAMED)
    if metrics is None and not _tables(scores):
        scores, dataset = _shipped_scores(heads, dataset)
    tables = _tables(scores)
    reads = [one for head in heads for one in head.reads]
    hub_ids = list(dict.fromkeys(one.llm.hub_id for one in reads if one.llm.hub_id))
    languages = [code for head in heads for code in head.shipped.get("languages", ())]
    picture = None
    if tables:
        heading = f"{title}: {tables[0].unit}, on {dataset}"
        picture = scores_picture(tables[0].rows, heading)
    data = ModelCardData(
        language=list(dict.fromkeys([nlp.meta["lang"], *languages])),
        license=license.lower(),
        library_name="spacy",
        base_model=hub_ids or None,
        tags=[*_TAGS, *(["tommer"] if any(head.is_tommer for head in heads) else [])],
        pipeline_tag=_TASK,
        model_name=title,
        eval_results=_eval_results(tables[0], dataset) if tables else None,
    )
    card = ModelCard.from_template(
        data,
        template_str=resources.files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf8"),
        title=title,
        heads=heads,
        labels=list(dict.fromkeys(label for head in heads for label in head.labels)),
        llms=list(dict.fromkeys(one.llm.name for one in reads)),
        files=_files(heads),
        picture=PICTURE if picture else None,
        repo_id=repo_id,
        training=nlp.config.interpolate()["training"],
        training_data=nlp.meta.get(TRAINING_DATA) or {},
        evaluation=tables,
        notes=scores.get("notes"),
        dataset=dataset,
        license=license,
        version=version("spacy-llm2ner"),
        authors=metadata("spacy-llm2ner")["Author"],
        json=partial(json.dumps, default=str),
    )
    return card.content.rstrip("\n") + "\n", picture


def _data_of(meta: Mapping[str, Any]) -> str:
    """The data of the scores in a meta."""
    evaluation = meta.get(EVALUATION)
    return str(evaluation["data"]) if evaluation else "the development data of its training"


def _files(heads: Sequence[HeadFacts]) -> list[tuple[HeadFacts, Reads]]:
    """The different LLMs, each with the first component that reads it."""
    found: dict[Any, tuple[HeadFacts, Reads]] = {}
    for head in heads:
        for one in head.reads:
            found.setdefault(one.llm, (head, one))
    return list(found.values())


def _eval_results(scores: Scores, dataset: str) -> list[EvalResult]:
    """The scores over all labels, as the hub's metadata has them."""
    from huggingface_hub import EvalResult

    _, overall = scores.rows[0]
    return [
        EvalResult(
            task_type=_TASK,
            task_name=scores.unit,
            dataset_type=dataset,
            dataset_name=dataset,
            metric_type=name,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for name, value in zip(_METRICS.values(), overall, strict=True)
        if value is not None
    ]


def _tables(scores: Mapping[str, Any]) -> list[Scores]:
    """The tables that the output of `spacy evaluate` has: of entities and of span groups."""
    found = [("ents", "entities")] if scores.get("ents_f") is not None else []
    keys = [k for k in scores if k.startswith("spans_") and k.endswith("_f")]
    found += [(k[:-2], f'spans in doc.spans["{k[6:-2]}"]') for k in keys if scores[k] is not None]
    return [_table(scores, prefix, unit) for prefix, unit in found]


def _table(scores: Mapping[str, Any], prefix: str, unit: str) -> Scores:
    labels = sorted((scores.get(f"{prefix}_per_type") or {}).items())
    rows = [
        ("all", [scores.get(f"{prefix}_{key}") for key in _METRICS]),
        *((label, [values.get(key) for key in _METRICS]) for label, values in labels),
    ]
    ends = {"all": scores.get(f"{prefix}_f_ci"), **{x: values.get("f_ci") for x, values in labels}}
    return Scores(prefix, unit, rows, {x: value["95"] for x, value in ends.items() if value})


def _shipped_scores(heads: Sequence[HeadFacts], dataset: str) -> tuple[dict[str, Any], str]:
    """The scores of a pretrained head of the package, and the data they were measured on."""
    for head in heads:
        if head.shipped.get("performance"):
            return dict(head.shipped["performance"]), str(head.shipped["performance_data"])
    return {}, dataset
