"""`llm2ner` and spaCy's `spancat` over a frozen `transformer`: same LLM, same data.

python -m benchmarks.spancat FOLDER [--sentences 1000] [--dev 500] [--epochs 5]

FOLDER contains train.txt and dev.txt of CoNLL-2003. Both use the same frozen LLM (`reading` =
"once", the only reading in spacy-transformers) and train on the same sentences for the same number
of epochs, each in a separate process and with its usual learning rate (spaCy's default 0.001; ours
0.002, as in configs/). A third system is ours with `reading` = "twice". `spancat` reads the last
block of the LLM, as provided by spacy-transformers; ours reads four layers and runs no block above.
"""

from __future__ import annotations

import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.command import command_line
from benchmarks.paths import CACHE, LLM
from benchmarks.pipelines import bytes_of
from benchmarks.results import environment, markdown_table, write

SYSTEMS = ("spancat", "ours-once", "ours-twice")
RATES = {"spancat": 0.001, "ours-once": 0.002, "ours-twice": 0.002}
BATCH = 32

SPANCAT = """
[nlp]
lang = "en"
pipeline = ["transformer", "spancat"]

[components]

[components.transformer]
factory = "transformer"

[components.transformer.model]
@architectures = "spacy-transformers.TransformerModel.v3"
name = "{llm}"
tokenizer_config = {{"use_fast": true}}

[components.transformer.model.get_spans]
@span_getters = "spacy-transformers.strided_spans.v1"
window = 128
stride = 96

[components.spancat]
factory = "spancat"
spans_key = "sc"

[components.spancat.suggester]
@misc = "spacy.ngram_range_suggester.v1"
min_size = 1
max_size = {width}

[components.spancat.model]
@architectures = "spacy.SpanCategorizer.v1"
scorer = {{"@layers": "spacy.LinearLogistic.v1"}}

[components.spancat.model.reducer]
@layers = spacy.mean_max_reducer.v1
hidden_size = 128

[components.spancat.model.tok2vec]
@architectures = "spacy-transformers.TransformerListener.v1"
grad_factor = 0.0
pooling = {{"@layers": "reduce_mean.v1"}}
"""

OURS = """
[nlp]
lang = "en"
pipeline = ["llm2ner"]

[components]

[components.llm2ner]
factory = "llm2ner"

[components.llm2ner.model]
@architectures = "spacy_llm2ner.SpanRecognizer.v1"

[components.llm2ner.model.llm]
@architectures = "spacy_llm2ner.FrozenLLM.v1"
name = "{llm}"
layers = [8, 12, 16, 20]
reading = "{reading}"

[components.llm2ner.model.head]
@architectures = "spacy_llm2ner.SpanScorer.v1"
max_span_tokens = {width}
"""


def llm_with_pad_token(folder: Path) -> Path:
    """A copy of the LLM whose tokenizer has a pad token, which spacy-transformers requires."""
    for file in LLM.iterdir():
        if file.name != "tokenizer_config.json":
            (folder / file.name).symlink_to(file)
    config = json.loads((LLM / "tokenizer_config.json").read_text(encoding="utf8"))
    config["pad_token"] = config["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf8")
    return folder


def examples_for(nlp, path: Path, limit: int) -> list:
    from spacy_llm2ner.corpora import ConllCorpus

    examples = list(ConllCorpus(path, limit=limit)(nlp))
    for example in examples:
        # `spancat` reads gold spans under its key only.
        example.reference.spans["sc"] = list(example.reference.ents)
    return examples


def worker(system: str, folder: Path, sentences: int, dev: int, epochs: int) -> dict:
    """Train and evaluate one system in this process."""
    import torch
    from spacy.training import Example
    from spacy.util import load_model_from_config, minibatch
    from thinc.api import Adam, Config, fix_random_seed, warmup_linear

    fix_random_seed(0)
    scratch = Path(tempfile.mkdtemp())
    width = 10
    if system == "spancat":
        text = SPANCAT.format(llm=llm_with_pad_token(scratch), width=width)
    else:
        text = OURS.format(llm=LLM, reading=system.removeprefix("ours-"), width=width)
    nlp = load_model_from_config(Config().from_str(text), auto_fill=True)
    train = examples_for(nlp, folder / "train.txt", sentences)
    held_out = examples_for(nlp, folder / "dev.txt", dev)
    started = time.perf_counter()
    nlp.initialize(lambda: train)
    initialize_seconds = time.perf_counter() - started
    frozen = ["transformer"] if system == "spancat" else []
    steps = epochs * -(-len(train) // BATCH)
    optimizer = Adam(
        learn_rate=warmup_linear(RATES[system], steps // 10, steps),
        L2_is_weight_decay=True,
        L2=0.01,
    )
    epoch_seconds = []
    for _ in range(epochs):
        random.shuffle(train)
        started = time.perf_counter()
        for batch in minibatch(train, BATCH):
            fresh = [Example(nlp.make_doc(eg.text), eg.reference) for eg in batch]
            for copy, eg in zip(fresh, batch, strict=True):
                copy.predicted = eg.predicted.copy()
            nlp.update(fresh, sgd=optimizer, drop=0.3, annotates=frozen, exclude=frozen)
            optimizer.step_schedules()
        epoch_seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    scores = nlp.evaluate(held_out)
    evaluate_seconds = time.perf_counter() - started
    saved = scratch / "saved"
    nlp.to_disk(saved)
    return {
        "system": system,
        "threads": torch.get_num_threads(),
        "initialize_seconds": initialize_seconds,
        "epoch_seconds": epoch_seconds,
        "evaluate_seconds": evaluate_seconds,
        "spans_p": scores["spans_sc_p"],
        "spans_r": scores["spans_sc_r"],
        "spans_f": scores["spans_sc_f"],
        "checkpoint_bytes": bytes_of(saved),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    parser = command_line("spancat", __doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--dev", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--worker", choices=SYSTEMS)
    args = parser.parse_args()
    if args.worker:
        result = worker(args.worker, args.folder, args.sentences, args.dev, args.epochs)
        print(json.dumps(result))
        return
    results = []
    # Finished systems are kept. Changed settings, packages or source code need a new run.
    state = str(
        [sorted(vars(args).items()), environment()["packages"], Path(__file__).read_text("utf8")]
    )
    kept = CACHE / f"vs_spancat-{hashlib.sha256(state.encode('utf8')).hexdigest()[:12]}"
    kept.mkdir(parents=True, exist_ok=True)
    for system in SYSTEMS:
        finished = kept / f"{system}.json"
        if not finished.is_file():
            worker_args = [*sys.argv[1:], "--worker", system]
            command = [sys.executable, "-m", "benchmarks.spancat", *worker_args]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            finished.write_text(done.stdout.splitlines()[-1], encoding="utf8")
        results.append(json.loads(finished.read_text(encoding="utf8")))
    base = results[0]
    rows = []
    for r in results:
        # Reading ahead counts as training time.
        total = r["initialize_seconds"] + sum(r["epoch_seconds"])
        base_total = base["initialize_seconds"] + sum(base["epoch_seconds"])
        rows.append(
            (
                r["system"],
                f"{100 * r['spans_f']:.2f}",
                f"{r['initialize_seconds']:.1f}",
                f"{sum(r['epoch_seconds']) / len(r['epoch_seconds']):.1f}",
                f"{base_total / total:.1f}x",
                f"{r['peak_memory_bytes'] / 2**30:.2f}",
                f"{r['checkpoint_bytes'] / 1e6:.1f}",
            )
        )
    header = (
        *("system", "dev F1", "initialize s", "s / epoch", "training speed-up"),
        *("peak GiB", "checkpoint MB"),
    )
    settings = {"sentences": args.sentences, "dev": args.dev, "epochs": args.epochs}
    write("vs_spancat", {"settings": settings, "runs": results}, markdown_table(header, rows))
