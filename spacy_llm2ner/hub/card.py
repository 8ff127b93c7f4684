"""The model card of a pipeline: a README.md for the hub, without a placeholder in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from spacy.language import Language

from .facts import HeadFacts, head_facts

_TOMMER = """@misc{morand2025tommer,
  title={ToMMeR -- Efficient Entity Mention Detection from Large Language Models},
  author={Victor Morand and Nadi Tomeh and Josiane Mothe and Benjamin Piwowarski},
  year={2025},
  eprint={2510.19410},
  archivePrefix={arXiv},
  url={https://arxiv.org/abs/2510.19410},
}"""

_ADD_PRETRAINED = """import spacy

llm = "assets/llm/SmolLM2-135M-Instruct"  # the folder that `make llm` makes
nlp = spacy.blank("en")
nlp.add_pipe("llm2ner", config={"pretrained": "mentions", "model": {"llm": {"name": llm}}})"""
_FROM_FOLDER = """import spacy_llm2ner

nlp = spacy_llm2ner.from_pretrained(".")  # in the folder of this card"""


def make_card(
    nlp: Language,
    *,
    metrics: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    title: str | None = None,
    license: str | None = None,
    repo_id: str | None = None,
) -> str:
    """A Hugging Face model card.

    nlp (Language): The pipeline.
    metrics (Optional[Mapping]): Scores as `spacy evaluate --output` writes them. None: those that
        `spacy train` stored with the pipeline.
    dataset (Optional[str]): The name of the data that they were measured on.
    title (Optional[str]): The model's name. None: the pipeline's.
    license (Optional[str]): As the hub abbreviates it. None: the pipeline's, else that of a
        pretrained head, else "unknown".
    repo_id (Optional[str]): The hub id that it will be found under, for the lines on usage.
    RETURNS (str): Markdown, with the meta data in front.
    RAISES: ValueError if no component of the pipeline has a head on an LLM.
    """
    heads = head_facts(nlp)
    if not heads:
        raise ValueError(
            f"llm2ner: a card describes components with a head on an LLM, and the pipeline has "
            f"none (its components: {', '.join(nlp.pipe_names) or 'none'})."
        )
    title = title or f"{nlp.meta['lang']}_{nlp.meta['name']}"
    shipped = next((head.shipped["license"] for head in heads if "license" in head.shipped), None)
    license = license or nlp.meta.get("license") or shipped or "unknown"
    scores = dict(nlp.meta.get("performance") or {}) if metrics is None else dict(metrics)
    dataset = dataset or (
        "the development data of its training" if metrics is None else "test data"
    )
    if metrics is None and not _tables(scores):
        scores, dataset = _shipped_scores(heads, dataset)
    parts = [
        _metadata(nlp, heads, title, license, scores, dataset),
        f"# {title}",
        _introduction(heads),
        "## Model details",
        *(_details(head) for head in heads),
        "## Usage",
        _usage(heads[0], repo_id),
        "## Training procedure",
        *(_training(nlp, head) for head in heads),
        "## Evaluation",
        _evaluation(scores, dataset),
        "## Limitations",
        _limitations(heads),
        "## Citation",
        f"Finding mentions in a frozen LLM's hidden states:\n\n```bibtex\n{_TOMMER}\n```",
        "## License",
        _license(license, heads),
    ]
    return "\n\n".join(parts) + "\n"


# Meta data ----------------------------------------------------------------------------------


def _metadata(
    nlp: Language,
    heads: Sequence[HeadFacts],
    title: str,
    license: str,
    scores: Mapping[str, Any],
    dataset: str,
) -> str:
    tags = ["spacy", "named-entity-recognition", "span-detection", "llm", "frozen-llm"]
    tags += ["tommer"] * any(head.is_tommer for head in heads)
    lines = [
        "---",
        f"language:\n- {json.dumps(nlp.meta['lang'])}",
        f"license: {json.dumps(license.lower())}",
        "library_name: spacy",
        "base_model:",
        *(f"- {json.dumps(name)}" for name in dict.fromkeys(head.base_model for head in heads)),
        "tags:",
        *(f"- {tag}" for tag in tags),
        "pipeline_tag: token-classification",
        f"model_name: {json.dumps(title)}",
    ]
    for prefix, unit in _tables(scores):
        lines += [
            *(["model-index:", f"- name: {json.dumps(title)}", "  results:"] if unit else []),
            "  - task:",
            "      type: token-classification",
            f"      name: {json.dumps(unit)}",
            "    dataset:",
            f"      type: {json.dumps(dataset)}",
            f"      name: {json.dumps(dataset)}",
            "    metrics:",
        ]
        for key, name in (("p", "precision"), ("r", "recall"), ("f", "f1")):
            value = scores.get(f"{prefix}_{key}")
            if value is not None:
                lines += [f"    - type: {name}", f"      name: {name}", f"      value: {value:.4f}"]
        break
    return "\n".join([*lines, "---"])


# Texts --------------------------------------------------------------------------------------


def _introduction(heads: Sequence[HeadFacts]) -> str:
    labels = list(dict.fromkeys(label for head in heads for label in head.labels))
    llms = " and ".join(dict.fromkeys(f"`{head.base_model}`" for head in heads))
    what = "mentions of names" if labels == ["MENTION"] else "named entities"
    return (
        f"Finds {what} ({', '.join(f'`{label}`' for label in labels) or 'no labels yet'}) in the "
        f"hidden states of {llms}. The LLM is frozen: nothing in it was changed, and it is not "
        f"part of this repository. What was trained, and what is stored here, is a head of "
        f"{sum(head.parameters for head in heads):,} parameters. It runs as a component of "
        f"[spaCy](https://spacy.io), through the plugin `spacy-llm2ner`."
    )


def _details(head: HeadFacts) -> str:
    kind = str(head.head.get("@architectures", "")).removeprefix("spacy_llm2ner.")
    shown = {key: value for key, value in head.head.items() if key != "@architectures"}
    rows = [
        ("Component", f"`{head.name}` (factory `{head.factory}`)"),
        ("LLM", f"`{head.base_model}`"),
        ("Layers read", ", ".join(map(str, head.layers)) or "chosen by the depth of the LLM"),
        ("Each text is read", head.reading),
        ("Pooling of pieces", head.pooling),
        ("Head", f"{kind}: " + ", ".join(f"`{k} = {json.dumps(v)}`" for k, v in shown.items())),
        ("Parameters trained", f"{head.parameters:,}"),
        ("Labels", ", ".join(f"`{label}`" for label in head.labels)),
    ]
    rows += [(key.capitalize().replace("_", " "), f"`{v}`") for key, v in head.settings.items()]
    if "model" in head.identity:
        rows.append(("sha256 of the LLM's weights and config", f"`{head.identity['model']}`"))
        rows.append(("sha256 of its tokenizer", f"`{head.identity['tokenizer']}`"))
    return _table(("", ""), rows)


def _usage(head: HeadFacts, repo_id: str | None) -> str:
    if head.shipped and repo_id is None:
        load = _ADD_PRETRAINED
    elif repo_id:
        load = f'import spacy_llm2ner\n\nnlp = spacy_llm2ner.from_pretrained("{repo_id}")'
    else:
        load = _FROM_FOLDER
    key = head.settings.get("spans_key", "sc")
    return (
        f"```bash\npip install .  # in a checkout of spacy-llm2ner\n```\n\n```python\n{load}\n"
        f'doc = nlp("Ada Lovelace met Charles Babbage in London.")\n'
        f"for ent in doc.ents:\n    print(ent.text, ent.label_, ent._.score)\n"
        f'print(doc.spans["{key}"])\n```\n\n'
        f"The LLM `{head.base_model}` is loaded when the first text comes; only its blocks up to "
        f"the highest layer named above are. Where it lies elsewhere, say so by the setting "
        f"`components.{head.name}.model.llm.name`; {_other_llms(head)}, because the head's scores "
        f"would mean nothing."
    )


def _other_llms(head: HeadFacts) -> str:
    if head.takes_copies:
        return (
            "the same LLM with other weights (not quantised, or otherwise) runs with a warning "
            "[L2N-W03], and scores may move; another LLM is refused"
        )
    return "an LLM with other weights is refused"


def _training(nlp: Language, head: HeadFacts) -> str:
    if head.shipped:
        return _shipped_training(head)
    config = nlp.config.interpolate()
    training, rows = config["training"], []
    loss = {key: value for key, value in head.loss.items() if not key.startswith("@")}
    rows.append(("Loss", f"{head.loss.get('@misc', 'the default')} `{json.dumps(loss)}`"))
    for key in ("seed", "dropout", "max_epochs", "max_steps", "accumulate_gradient", "patience"):
        rows.append((key.replace("_", " ").capitalize(), f"`{json.dumps(training.get(key))}`"))
    for key in ("batcher", "optimizer"):
        rows.append((key.capitalize(), f"`{json.dumps(training.get(key), default=str)}`"))
    source = head.head.get("source")
    start = f"The head starts from the published ToMMeR head `{source}`. " if source else ""
    return (
        f"{start}The LLM reads every text once and what it read is remembered; only the head is "
        f"updated. The settings of `spacy train` in the pipeline's config:\n\n"
        f"{_table(('', ''), rows)}"
    )


def _shipped_training(head: HeadFacts) -> str:
    meta = head.shipped
    rows = [(part, f"{n:,} texts") for part, n in meta.get("texts", {}).items()]
    settings = json.dumps(meta.get("training", {}))
    return (
        f"{meta.get('about', '')}\n\nTrained on {meta.get('mentions', 0):,} mentions:\n\n"
        f"{_table(('Data', ''), rows)}\n\nSettings: `{settings}`. Epoch and threshold were chosen "
        f"on the development parts of the same corpora (mean F1)."
    ).strip()


def _shipped_scores(heads: Sequence[HeadFacts], dataset: str) -> tuple[dict[str, Any], str]:
    for head in heads:
        if head.shipped.get("performance"):
            return dict(head.shipped["performance"]), str(head.shipped["performance_data"])
    return {}, dataset


def _tables(scores: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Prefixes of the scores that there are, and what they count."""
    found = [("ents", "entities")] if scores.get("ents_f") is not None else []
    keys = [k for k in scores if k.startswith("spans_") and k.endswith("_f")]
    return found + [
        (k[:-2], f'spans in doc.spans["{k[6:-2]}"]') for k in keys if scores[k] is not None
    ]


def _evaluation(scores: Mapping[str, Any], dataset: str) -> str:
    tables = []
    for prefix, unit in _tables(scores):
        overall = [scores.get(f"{prefix}_{key}") for key in "prf"]
        rows = [("all", *map(_percent, overall))]
        for label, values in sorted((scores.get(f"{prefix}_per_type") or {}).items()):
            rows.append((label, *(_percent(values.get(key)) for key in "prf")))
        tables.append(
            f"{unit.capitalize()}, exact boundaries and label, on {dataset}:\n\n"
            + _table(("", "P", "R", "F1"), rows)
        )
    extra = scores.get("notes")
    if extra:
        tables.append(str(extra))
    return "\n\n".join(tables) or (
        "No scores are stored with this pipeline. `spacy evaluate` measures them, and "
        "`spacy llm2ner card --metrics` puts them here."
    )


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.2f}"


def _limitations(heads: Sequence[HeadFacts]) -> str:
    points = [
        "The head only means something with the LLM named above, read in the same way; the plugin "
        f"checks that: {'; '.join(dict.fromkeys(map(_other_llms, heads)))}.",
        "It finds what resembles its training data; on texts of other kinds, languages or years "
        "precision and recall fall, and scores are no longer what they say they are.",
        "What the LLM has learnt, biases included, shows in what is found: names of some regions "
        "and cultures may be recognised less well than others.",
    ]
    if any(head.reading == "once" for head in heads):
        points.append(
            "The text is read once by a causal LLM, so that a word's state knows nothing of what "
            "follows it, except for one piece to the right."
        )
    for head in heads:
        points += [str(point) for point in head.shipped.get("limitations", [])]
    return "\n".join(f"- {point}" for point in points)


def _license(license: str, heads: Sequence[HeadFacts]) -> str:
    if license == "unknown":
        text = "The pipeline's meta.json names no license for its weights."
    else:
        text = f"The head: {license}."
    credits = [str(credit) for head in heads for credit in head.shipped.get("credits", [])]
    about = "The LLM is not part of this repository and comes under its own license."
    plugin = f"Made with spacy-llm2ner {version('spacy-llm2ner')} (Apache-2.0)."
    return "\n\n".join([text, *credits, about, plugin])


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(c).replace("|", "\\|") for c in row) + " |" for row in rows]
    return "\n".join(lines)
