"""Accuracy of the presets, and of other heads on the same frozen states.

python benchmarks/accuracy.py --data FOLDER --corpus conll2003 --systems fast balanced accurate
    [--seeds 0 1 2] [--ensemble] [--dtype bfloat16] [--sizes 100 500 2000]

FOLDER holds conll2003/, wnut17/ and litbank/. Each run is `spacy train` on a config that
`llm2ner init-config --preset` makes; settings are chosen on dev, test is scored once per seed. What
the LLM has read is kept in benchmarks/.cache, and so are finished runs: a stopped run goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from pathlib import Path

import spacy
from accuracy_corpora import CORPORA, Corpus, examples_of
from accuracy_systems import PRESETS, SYSTEMS, config_for
from results import environment, markdown_table, write
from seqeval.metrics import f1_score
from spacy.cli.train import train
from spacy.scorer import Scorer
from spacy.tokens import Span, SpanGroup
from spacy.training import Example
from spacy.util import load_config, load_model_from_config
from thinc.api import Config, Model

from spacy_llm2ner.architectures.shims import HeadShim
from spacy_llm2ner.calibration.calibrate import (
    CalibrationSettings,
    apply_calibration,
    calibrate_pipe,
)
from spacy_llm2ner.corpora import spans_to_tags
from spacy_llm2ner.llm.frozen import FrozenLLM
from spacy_llm2ner.pipeline.ensemble import join_heads

CACHE = Path(__file__).parent / ".cache"


def span_scores(examples: list[Example], key: str, **settings) -> dict:
    """spaCy's scorer over all spans of a group, nested ones included."""
    scores = Scorer.score_spans(
        examples,
        f"spans_{key}",
        getter=lambda doc, _: doc.spans.get(key, []),
        allow_overlap=True,
        has_annotation=None,
        **settings,
    )
    return {name.removeprefix(f"spans_{key}_"): score for name, score in scores.items()}


def seqeval_f1(examples: list[Example]) -> float:
    def tags(doc) -> list[str]:
        return spans_to_tags([(e.start, e.end, e.label_) for e in doc.ents], len(doc), "BIO2")

    gold = [tags(example.reference) for example in examples]
    return float(f1_score(gold, [tags(example.predicted) for example in examples]))


def best_disjoint(group: SpanGroup) -> list[Span]:
    """`spancat` writes no entities: its best spans first, as far as they are disjoint."""
    kept: list[Span] = []
    for _, span in sorted(
        zip(group.attrs["scores"], group, strict=True), key=lambda pair: -pair[0]
    ):
        if all(span.end <= other.start or other.end <= span.start for other in kept):
            kept.append(span)
    return kept


def evaluate(nlp, examples: list[Example], nested: bool) -> dict:
    """Score a split: entities by spaCy and by seqeval, or all spans where they may be nested."""
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
        scores = Scorer.score_spans(
            examples, "ents", getter=lambda doc, _: doc.ents, has_annotation=None
        )
        found = {name.removeprefix("ents_"): score for name, score in scores.items()}
        found["seqeval_f"] = seqeval_f1(examples)
        untyped = Scorer.score_spans(
            examples, "ents", getter=lambda doc, _: doc.ents, labeled=False, has_annotation=None
        )["ents_f"]
    tokens = sum(len(example.reference) for example in examples)
    return {**found, "untyped_f": untyped, "seconds": seconds, "tokens": tokens}


def remembering(nlp) -> str | None:
    """Let every frozen LLM of a pipeline use its store. RETURNS: The fingerprint of one."""
    fingerprint = None
    for _, pipe in nlp.pipeline:
        for node in filter(is_reader, pipe.model.walk()):
            node.shims[0].llm.remember()
            fingerprint = node.shims[0].llm.fingerprint
    return fingerprint


def is_reader(node: Model) -> bool:
    """Whether a layer is a frozen LLM."""
    return any(isinstance(getattr(shim, "llm", None), FrozenLLM) for shim in node.shims)


def head_parameters(nlp) -> int:
    """What is trained: the numbers in the torch modules and Thinc layers of a pipeline."""
    count = 0
    for _, pipe in nlp.pipeline:
        for node in pipe.model.walk():
            count += sum(node.get_param(name).size for name in node.param_names)
            for shim in node.shims:
                if isinstance(shim, HeadShim):
                    count += sum(value.numel() for value in shim.module.parameters())
    return count


def train_lengths(setting: Corpus, data: Path, size: int) -> list[int]:
    examples = examples_of(setting, data, "train", spacy.blank("en"))
    return [len(example.reference) for example in examples[: size or None]]


def read_ahead(config: Config, setting: Corpus, data: Path, size: int) -> None:
    """Let the LLM read what it has not read yet, so that other times are the head's."""
    nlp = load_model_from_config(config, auto_fill=True)
    remembering(nlp)
    docs = [
        example.predicted
        for split, limit in (("train", size), ("dev", 0), ("test", 0))
        for example in examples_of(setting, data, split, nlp)[: limit or None]
    ]
    (reader,) = (node for node in nlp.get_pipe(nlp.pipe_names[0]).model.walk() if is_reader(node))
    for start in range(0, len(docs), 64):
        reader.predict(docs[start : start + 64])


def key_of(config: str, args: argparse.Namespace, seed: int) -> str:
    """Another config, seed or version of a package is another run; another folder is not."""
    config = config.replace(str(args.data), "DATA").replace(str(CACHE.parents[1]), "")
    state = [config, args.corpus, seed, environment()["packages"]]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode("utf8")).hexdigest()[:12]


def run(system: str, seed: int, args: argparse.Namespace, size: int) -> dict | None:
    """Train and score one system; what is finished is not done again, or nothing else is shown."""
    setting = CORPORA[args.corpus]
    lengths = train_lengths(setting, args.data, size)
    config = config_for(
        system, setting, args.data, limit=size, dtype=args.dtype, train_docs=lengths
    )
    name = f"accuracy-{args.corpus}-{system}-{size}-{seed}"
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
            "read_seconds": read_seconds,  # short if another system or seed has read the texts
            "train_seconds": time.perf_counter() - started,
        }
        facts = {"config": config.replace(f"{CACHE.parents[1]}/", ""), **times}
        measure(output, {"system": system, "seed": seed, "train_size": size or None, **facts}, args)
    return {**finished_result(output, setting, args.data), "folder": str(output)}


def run_ensemble(members: list[dict], args: argparse.Namespace) -> dict:
    """Score the heads of several runs of one system as one, as `llm2ner ensemble` joins them."""
    folders = [Path(member["folder"]) for member in members]
    names = "-".join(folder.name.rsplit("-", 1)[1] for folder in folders)
    key = hashlib.sha256(names.encode("utf8")).hexdigest()[:12]
    output = CACHE / f"accuracy-{args.corpus}-{members[0]['system']}-ensemble-{key}"
    if not (output / "result.json").is_file():
        pipelines = [spacy.load(folder / "model-best") for folder in folders]
        join_heads(pipelines, "llm2ner")
        output.mkdir(parents=True, exist_ok=True)
        pipelines[0].to_disk(output / "model-best")
        facts = {
            "system": f"{members[0]['system']}, mean of {len(members)} heads",
            "seed": [member["seed"] for member in members],
            "train_size": members[0]["train_size"],
            "train_seconds": sum(member["train_seconds"] for member in members),
        }
        measure(output, facts, args)
    return finished_result(output, CORPORA[args.corpus], args.data)


def measure(output: Path, facts: dict, args: argparse.Namespace) -> None:
    """Score the pipeline in a run's folder, and write what is known of the run."""
    setting, model = CORPORA[args.corpus], output / "model-best"
    nlp = spacy.load(model)
    result = {
        "corpus": args.corpus,
        **facts,
        "fingerprint": remembering(nlp),
        "parameters": head_parameters(nlp),
        "checkpoint_bytes": sum(f.stat().st_size for f in model.rglob("*") if f.is_file()),
        "dev": evaluate(nlp, examples_of(setting, args.data, "dev", nlp), setting.nested),
        "test": evaluate(nlp, examples_of(setting, args.data, "test", nlp), setting.nested),
    }
    (output / "result.json").write_text(json.dumps(result, indent=2), encoding="utf8")


def finished_result(output: Path, setting: Corpus, data: Path) -> dict:
    """What was measured, with the scores that `llm2ner calibrate` leads to."""
    finished = output / "result.json"
    text = finished.read_text(encoding="utf8").replace(f"{CACHE.parents[1]}/", "")
    result = json.loads(text)
    if "parameters" not in result:
        result["parameters"] = head_parameters(spacy.load(output / "model-best"))
        finished.write_text(json.dumps(result, indent=2), encoding="utf8")
    return with_tuned_thresholds(result, setting, data, output)


def with_tuned_thresholds(result: dict, setting: Corpus, data: Path, output: Path) -> dict:
    """Add what `llm2ner calibrate` with its defaults, on the dev data, does to the test score."""
    kept = output / "calibrated.json"
    if result["system"] not in ("spancat", "spancat-states", "probe") and not kept.is_file():
        nlp = spacy.load(output / "model-best")
        remembering(nlp)
        dev = examples_of(setting, data, "dev", nlp)
        calibration = calibrate_pipe(nlp.get_pipe("llm2ner"), dev, CalibrationSettings())
        apply_calibration(nlp, calibration)
        test = evaluate(nlp, examples_of(setting, data, "test", nlp), setting.nested)
        thresholds = nlp.get_pipe("llm2ner").cfg["threshold"]
        kept.write_text(json.dumps({"threshold": thresholds, "test": test}), encoding="utf8")
    tuned = json.loads(kept.read_text(encoding="utf8")) if kept.is_file() else None
    return {**result, "tuned": tuned}


def mean_and_range(values: list[float]) -> str:
    percent = [100 * value for value in values]
    if len(percent) == 1:
        return f"{percent[0]:.2f}"
    return f"{statistics.mean(percent):.2f} ({min(percent):.2f}-{max(percent):.2f})"


def row(runs: list[dict]) -> tuple[str, ...]:
    first = runs[0]
    flat = "seqeval_f" in first["test"]
    size = f", {first['train_size']:,} docs" if first["train_size"] else ""
    return (
        first["system"] + size,
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpus", choices=sorted(CORPORA), required=True)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(PRESETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sizes", type=int, nargs="+", default=[0], help="training docs; 0: all")
    parser.add_argument("--dtype", default="float32", help="precision of the LLM")
    parser.add_argument("--ensemble", action="store_true", help="the seeds' heads as one, too")
    parser.add_argument("--finished", action="store_true", help="only show what is finished")
    parser.add_argument("--name", default="", help="of the result's files, behind the corpus")
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
    name = f"accuracy-{args.corpus}" + (f"-{args.name}" if args.name else "")
    write(name, {"runs": runs}, markdown_table(HEADER, rows))


if __name__ == "__main__":
    main()
