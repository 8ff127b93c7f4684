"""Accuracy of the presets and of other heads, all on the same frozen states.

python -m benchmarks.accuracy --data FOLDER --corpus conll2003 --systems fast balanced accurate
    [--seeds 0 1 2] [--ensemble] [--dtype bfloat16] [--sizes 100 500 2000]
    [--llm assets/llm/gemma-3-270m] [--layers 5 8 11 14] [--reading twice]
    [--llm gemma-3-270m SmolLM2-135M-Instruct --layers 5 8 11 14 --layers 8 12 16 20]

FOLDER contains conll2003/, wnut17/ and litbank/. Each run is `spacy train` with a config made by
`llm2ner init-config --preset`. Settings are chosen on dev; test is scored once per seed. States and
finished runs are kept in benchmarks/.cache, so that a stopped benchmark can continue.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from pathlib import Path

import spacy
from spacy.cli.train import train
from spacy.language import Language
from spacy.tokens import Span, SpanGroup
from spacy.training import Example
from spacy.util import load_config, load_model_from_config
from thinc.api import Config

from benchmarks.accuracy.corpora import CORPORA, Corpus, examples_of
from benchmarks.accuracy.llms import add_options, label_of, readers_of, suffix_of
from benchmarks.accuracy.systems import PRESETS, SYSTEMS, config_for
from benchmarks.command import command_line
from benchmarks.paths import CACHE, ROOT
from benchmarks.pipelines import bytes_of, head_parameters, is_frozen_llm, layers_of, use_store
from benchmarks.results import environment, markdown_table, mean_and_range, write
from benchmarks.scoring import entity_scores, seqeval_scores, span_scores
from spacy_llm2ner.calibration.calibrate import (
    CalibrationSettings,
    apply_calibration,
    calibrate_pipe,
)
from spacy_llm2ner.pipeline.ensemble import join_heads


def best_disjoint(group: SpanGroup) -> list[Span]:
    """The best disjoint spans of `spancat`, which writes no entities."""
    kept: list[Span] = []
    for _, span in sorted(
        zip(group.attrs["scores"], group, strict=True), key=lambda pair: -pair[0]
    ):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return kept


def evaluate(nlp: Language, examples: list[Example], nested: bool) -> dict:
    """Score a split: its entities by spaCy and by seqeval, or all its spans if they may nest."""
    started = time.perf_counter()
    docs = nlp.pipe([example.predicted for example in examples])
    for example, doc in zip(examples, docs, strict=True):
        example.predicted = doc
        if "spancat" in nlp.pipe_names and not nested:
            doc.set_ents(best_disjoint(doc.spans["sc"]), default="outside")
    seconds = time.perf_counter() - started
    if nested:
        found = span_scores(examples, "sc")
        untyped = span_scores(examples, "sc", labeled=False)["f"]
    else:
        found = {**entity_scores(examples), "seqeval_f": seqeval_scores(examples)["f1"]}
        untyped = entity_scores(examples, labeled=False)["f"]
    tokens = sum(len(example.reference) for example in examples)
    return {**found, "untyped_f": untyped, "seconds": seconds, "tokens": tokens}


def train_lengths(setting: Corpus, data: Path, size: int) -> list[int]:
    examples = examples_of(setting, data, "train", spacy.blank("en"))
    return [len(example.reference) for example in examples[: size or None]]


def read_ahead(config: Config, setting: Corpus, data: Path, size: int) -> None:
    """Read the texts that are not in the store, so that the training time excludes the LLM."""
    nlp = load_model_from_config(config, auto_fill=True)
    use_store(nlp)
    docs = [
        example.predicted
        for split, limit in (("train", size), ("dev", 0), ("test", 0))
        for example in examples_of(setting, data, split, nlp)[: limit or None]
    ]
    for reader in filter(is_frozen_llm, layers_of(nlp)):
        for start in range(0, len(docs), 64):
            reader.predict(docs[start : start + 64])


def key_of(config: str, args: argparse.Namespace, seed: int) -> str:
    """The key of a run: its config, seed and package versions, without machine-specific paths."""
    config = config.replace(str(args.data), "DATA").replace(str(ROOT), "")
    state = [config, args.corpus, seed, environment()["packages"]]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode("utf8")).hexdigest()[:12]


def run(system: str, seed: int, args: argparse.Namespace, size: int) -> dict | None:
    """Train and score one system, unless that run is finished.

    RETURNS (Optional[dict]): The result; None if it is missing and --finished is set.
    """
    setting = CORPORA[args.corpus]
    lengths = train_lengths(setting, args.data, size)
    llms = readers_of(args)
    config = config_for(
        system, setting, args.data, limit=size, dtype=args.dtype, train_docs=lengths, llms=llms
    )
    name = f"accuracy-{args.corpus}-{system}{suffix_of(args)}-{size}-{seed}"
    output = CACHE / f"{name}-{key_of(config, args, seed)}"
    finished = output / "result.json"
    if not finished.is_file():
        if args.finished:
            return None
        output.mkdir(parents=True, exist_ok=True)
        path = output / "config.cfg"
        path.write_text(config, encoding="utf8")
        overrides = {"system.seed": seed, "paths.store": str(CACHE / f"{setting.states}-states")}
        started = time.perf_counter()
        read_ahead(load_config(path, overrides, interpolate=True), setting, args.data, size)
        read_seconds = time.perf_counter() - started
        started = time.perf_counter()
        train(path, output, overrides=overrides)
        times = {
            "read_seconds": read_seconds,  # short if another run has read the texts
            "train_seconds": time.perf_counter() - started,
        }
        facts = {
            "system": system,
            **({"llm": label_of(llms)} if label_of(llms) else {}),
            "seed": seed,
            "train_size": size or None,
            "config": config.replace(f"{ROOT}/", "").replace(str(args.data), "CORPORA"),
            **times,
        }
        measure(output, facts, args)
    return {**finished_result(output, setting, args.data), "folder": str(output)}


def run_ensemble(members: list[dict], args: argparse.Namespace) -> dict:
    """Score the joined heads of several runs of a system (`llm2ner ensemble`)."""
    folders = [Path(member["folder"]) for member in members]
    names = "-".join(folder.name.rsplit("-", 1)[1] for folder in folders)
    key = hashlib.sha256(names.encode("utf8")).hexdigest()[:12]
    system = members[0]["system"] + suffix_of(args)
    output = CACHE / f"accuracy-{args.corpus}-{system}-ensemble-{key}"
    if not (output / "result.json").is_file():
        pipelines = [spacy.load(folder / "model-best") for folder in folders]
        join_heads(pipelines, "llm2ner")
        output.mkdir(parents=True, exist_ok=True)
        pipelines[0].to_disk(output / "model-best")
        facts = {
            "system": f"{members[0]['system']}, mean of {len(members)} heads",
            **({"llm": members[0]["llm"]} if "llm" in members[0] else {}),
            "seed": [member["seed"] for member in members],
            "train_size": members[0]["train_size"],
            "train_seconds": sum(member["train_seconds"] for member in members),
        }
        measure(output, facts, args)
    return finished_result(output, CORPORA[args.corpus], args.data)


def measure(output: Path, facts: dict, args: argparse.Namespace) -> None:
    """Score the pipeline in a run's folder, and write result.json."""
    setting, model = CORPORA[args.corpus], output / "model-best"
    nlp = spacy.load(model)
    result = {
        "corpus": args.corpus,
        **facts,
        "fingerprint": use_store(nlp),
        "parameters": head_parameters(nlp),
        "checkpoint_bytes": bytes_of(model),
        "dev": evaluate(nlp, examples_of(setting, args.data, "dev", nlp), setting.nested),
        "test": evaluate(nlp, examples_of(setting, args.data, "test", nlp), setting.nested),
    }
    (output / "result.json").write_text(json.dumps(result, indent=2), encoding="utf8")


def finished_result(output: Path, setting: Corpus, data: Path) -> dict:
    """The result in a run's folder, with the scores after `llm2ner calibrate`."""
    finished = output / "result.json"
    text = finished.read_text(encoding="utf8").replace(f"{ROOT}/", "")
    result = json.loads(text)
    if "parameters" not in result:
        result["parameters"] = head_parameters(spacy.load(output / "model-best"))
        finished.write_text(json.dumps(result, indent=2), encoding="utf8")
    return with_tuned_thresholds(result, setting, data, output)


def with_tuned_thresholds(result: dict, setting: Corpus, data: Path, output: Path) -> dict:
    """Add the test score after `llm2ner calibrate` on the dev data, with its defaults."""
    kept = output / "calibrated.json"
    if result["system"] not in ("spancat", "spancat-states", "probe") and not kept.is_file():
        nlp = spacy.load(output / "model-best")
        use_store(nlp)
        dev = examples_of(setting, data, "dev", nlp)
        calibration = calibrate_pipe(nlp.get_pipe("llm2ner"), dev, CalibrationSettings())
        apply_calibration(nlp, calibration)
        test = evaluate(nlp, examples_of(setting, data, "test", nlp), setting.nested)
        thresholds = nlp.get_pipe("llm2ner").settings["threshold"]
        kept.write_text(json.dumps({"threshold": thresholds, "test": test}), encoding="utf8")
    tuned = json.loads(kept.read_text(encoding="utf8")) if kept.is_file() else None
    return {**result, "tuned": tuned}


def row(runs: list[dict]) -> tuple[str, ...]:
    first = runs[0]
    flat = "seqeval_f" in first["test"]
    llm = f", {first['llm']}" if "llm" in first else ""
    size = f", {first['train_size']:,} docs" if first["train_size"] else ""
    return (
        first["system"] + llm + size,
        str(len(runs)),
        mean_and_range([r["dev"]["f"] for r in runs]),
        mean_and_range([r["test"]["p"] for r in runs]),
        mean_and_range([r["test"]["r"] for r in runs]),
        mean_and_range([r["test"]["f"] for r in runs]),
        mean_and_range([r["test"]["seqeval_f"] for r in runs]) if flat else "-",
        mean_and_range([r["test"]["untyped_f"] for r in runs]),
        mean_and_range([r["tuned"]["test"]["f"] for r in runs]) if first["tuned"] else "-",
        f"{statistics.median(r['train_seconds'] for r in runs):.0f}",
        f"{statistics.median(r['test']['seconds'] for r in runs):.1f}",
        f"{first['parameters']:,}",
        f"{first['checkpoint_bytes'] / 1e6:.1f}",
    )


HEADER = (
    *("system", "seeds", "dev F1", "test P", "test R", "test F1", "test F1 (seqeval)"),
    *(
        "test F1, types ignored",
        "test F1, thresholds from dev",
        "train s",
        "predict s",
        "head parameters",
        "checkpoint MB",
    ),
)


def main() -> None:
    parser = command_line("accuracy", __doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", choices=sorted(CORPORA), required=True)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(PRESETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sizes", type=int, nargs="+", default=[0], help="training docs; 0: all")
    parser.add_argument("--dtype", default="float32", help="precision of the LLM")
    add_options(parser)
    parser.add_argument("--ensemble", action="store_true", help="also join the heads of all seeds")
    parser.add_argument("--finished", action="store_true", help="show finished runs only")
    parser.add_argument("--name", default="", help="suffix of the result files")
    args = parser.parse_args()
    rows, runs = [], []
    for system in args.systems:
        for size in args.sizes:
            each = [run(system, seed, args, size) for seed in args.seeds]
            found = [result for result in each if result]
            runs += found
            rows += [row(found)] if found else []
            if args.ensemble and len(found) > 1:
                runs.append(run_ensemble(found, args))
                rows.append(row(runs[-1:]))
    for result in runs:
        result.pop("folder", None)
    name = f"accuracy-{args.corpus}{suffix_of(args)}" + (f"-{args.name}" if args.name else "")
    write(name, {"runs": runs}, markdown_table(HEADER, rows))
