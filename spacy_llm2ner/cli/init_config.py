"""`python -m spacy llm2ner init-config`: a full training config from a preset."""

from __future__ import annotations

import configparser
import json
import math
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Optional

import spacy
import typer
from spacy.tokens import DocBin
from thinc.api import Config
from wasabi import Printer

from ..corpora.conll import ConllError, read_conll
from ..corpora.hf_dataset import HFDatasetCorpus, is_hf_dataset
from ..corpora.reader import open_corpus

Values = dict[str, dict[str, Any]]  # section -> setting -> value

# The LLM whose layers the presets name, and its depth.
DEFAULT_LLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
_DEFAULT_DEPTH = 30
_LLM = "components.llm2ner.model.llm"
_SUFFIX = ".spacy"
# A step of training sees about so many tokens, and at most so many docs.
_TOKENS_PER_STEP, _DOCS_PER_STEP = 1000, 32
_MOST_WARMUP_STEPS = 200
# A few docs need more epochs until a head has seen enough steps.
_LEAST_STEPS = 400
_MOST_EVALUATIONS = 10
_GPU: Values = {
    "system": {"gpu_allocator": "pytorch"},
    _LLM: {"dtype": "bfloat16", "batch_pieces": 32768},
}
_CALIBRATE = {"@callbacks": "spacy_llm2ner.calibrate.v1"}
_CONLL = {
    "@readers": "spacy_llm2ner.ConllCorpus.v1",
    "sentences_per_doc": 1,
    "limit": 0,
    "word_column": 0,
    "tag_column": -1,
    "comments": False,
    "retokenize": False,
    "spans_key": None,
}
_JSONL = {
    "@readers": "spacy_llm2ner.JsonlCorpus.v1",
    "sentences_per_doc": 1,
    "limit": 0,
    "spans_key": "sc",
    "label2id": None,
}


_DATASET: dict[str, Any] = {
    "@readers": "spacy_llm2ner.HFDatasetCorpus.v1",
    **dict.fromkeys(("split", "tokens_column", "tags_column", "document_column")),
    **dict.fromkeys(("labels", "subset", "revision")),
    "sentences_per_doc": 1,
    "limit": 0,
    "spans_key": None,
}


class Preset(str, Enum):
    """The presets; each is a file in `spacy_llm2ner/presets`."""

    fast = "fast"
    balanced = "balanced"
    accurate = "accurate"


def init_config(
    out: Annotated[Path, typer.Argument(help="The config to write, or - for standard output")],
    preset: Annotated[
        Preset, typer.Option("--preset", "-p", help="What to spend on accuracy")
    ] = Preset.balanced,
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language code")] = "en",
    llm: Annotated[
        str, typer.Option("--llm", help="Hub id, model folder or .gguf file of the LLM")
    ] = DEFAULT_LLM,
    train: Annotated[
        Optional[Path],
        typer.Option("--train", help="Training data: .spacy (file or folder), .jsonl or CoNLL"),
    ] = None,
    dev: Annotated[Optional[Path], typer.Option("--dev", help="Dev data, likewise")] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", "-G", help="For a GPU: bfloat16 and larger batches")
    ] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Calibrate every checkpoint on the dev data")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-F", help="Overwrite the file")] = False,
) -> None:
    """
    Write a full, commented config for `spacy train`. With --train, the steps of the schedule are
    fitted to the data.
    """
    to_stdout = str(out) == "-"
    msg = Printer(no_print=to_stdout)
    try:
        if not to_stdout and out.exists() and not force:
            raise ValueError(f"{out} is there already; --force overwrites it")
        text = make_config(
            preset.value, lang=lang, llm=llm, train=train, dev=dev, gpu=gpu, calibrate=calibrate
        )
    except (ValueError, OSError, ConllError) as error:
        msg.fail(f"Can't make a config for {out}", str(error))
        raise typer.Exit(1) from None
    if to_stdout:
        typer.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf8")
    if train is None or not train.exists():
        msg.warn(
            "The length of the schedule does not know the training data: set total_steps in "
            "[training.optimizer.learn_rate], max_steps and eval_frequency in [training], or give "
            "--train"
        )
    msg.good(f"Wrote {out}", f"python -m spacy train {out} --output training")


def make_config(
    preset: str,
    *,
    lang: str = "en",
    llm: str = DEFAULT_LLM,
    train: Path | None = None,
    dev: Path | None = None,
    gpu: bool = False,
    calibrate: bool = False,
) -> str:
    """The text of a full config, with comments.

    preset: "fast", "balanced" or "accurate".
    lang: language code.
    llm: hub id, model folder or GGUF file. The presets name layers of the default LLM. For another,
        they are taken at the same parts of its depth if it is a folder whose config.json tells the
        depth; else the setting is null, the four default layers.
    train, dev: data. Where the training data exists, it is counted for the length of the schedule.
    gpu: whether a GPU will be used.
    calibrate: whether checkpoints are calibrated.
    RETURNS: the config.
    RAISES: ValueError for an unknown preset or unreadable data.
    """
    if preset not in list(Preset.__members__):
        raise ValueError(f"preset '{preset}': accepted are {', '.join(Preset.__members__)}")
    values = read_preset(preset)
    chosen = values.setdefault(_LLM, {})
    chosen["name"] = llm
    chosen["layers"] = layers_for(llm, chosen.get("layers"))
    values["nlp"] = {"lang": lang}
    paths = {"train": train, "dev": dev}
    values["paths"] = {name: None if p is None else str(p) for name, p in paths.items()}
    if calibrate:
        values.setdefault("training", {})["before_to_disk"] = _CALIBRATE
    text = set_values(_preset_text("base"), values)
    text = set_values(text, _GPU if gpu else {})
    for name, path in paths.items():
        block = None if path is None else _reader_of(path)
        if block is not None:
            reader = {"path": f"${{paths.{name}}}", **block}
            text = _replace_section(text, f"corpora.{name}", reader)
    if train is not None and train.exists():
        epochs = Config().from_str(text, interpolate=False)["training"]["max_epochs"]
        text = set_values(text, _schedule(count_corpus(train), epochs))
    return text


def _reader_of(path: Path) -> dict[str, Any] | None:
    """The settings of the reader for data in this form; None for those of spaCy."""
    if is_hf_dataset(path):
        return _DATASET
    if path.suffix == _SUFFIX or path.is_dir():
        return None
    if not path.exists() and not path.suffix:
        raise ValueError(
            f"data path {path}: there is no such file or folder. A dataset on the hub is read by "
            f"a block with spacy_llm2ner.HFDatasetCorpus.v1, to be written by hand"
        )
    return _JSONL if path.suffix == ".jsonl" else _CONLL


def read_preset(preset: str) -> Values:
    """A preset's values: section -> setting -> value."""
    # Not a spaCy config: that would need a section for every part of a section's name.
    config = configparser.ConfigParser(interpolation=None)
    config.optionxform = str  # type: ignore[assignment, method-assign]
    config.read_string(_preset_text(preset))
    return {
        section: {key: json.loads(value) for key, value in config[section].items()}
        for section in config.sections()
    }


def _preset_text(name: str) -> str:
    package = __package__.split(".")[0]
    return resources.files(package).joinpath(f"presets/{name}.cfg").read_text(encoding="utf8")


def layers_for(llm: str, layers: list[int] | None) -> list[int] | None:
    """The layers of another LLM that correspond to layers of the default one.

    llm: see `make_config`.
    layers: of the default LLM, or None.
    RETURNS: layers at the same parts of the LLM's depth; None, the default ones, if unknown.
    """
    if layers is None or llm == DEFAULT_LLM:
        return layers
    config = Path(llm) / "config.json"
    if not config.is_file():
        return None
    depth = json.loads(config.read_text(encoding="utf8")).get("num_hidden_layers")
    if not isinstance(depth, int):
        return None
    return sorted({max(1, round(layer * depth / _DEFAULT_DEPTH)) for layer in layers})


# The training data ------------------------------------------------------------------------


@dataclass(frozen=True)
class CorpusSize:
    """How much training data there is."""

    docs: int
    tokens: int


def count_corpus(path: Path) -> CorpusSize:
    """Count docs and tokens of data in any of the forms that `open_corpus` knows.

    RAISES: ValueError if it cannot be read or is empty.
    """
    if is_hf_dataset(path):
        report = HFDatasetCorpus(path).file.report
        size = CorpusSize(report.sentences, report.tokens)
    elif path.is_dir() or path.suffix == _SUFFIX:
        files = sorted(path.rglob(f"*{_SUFFIX}")) if path.is_dir() else [path]
        if not files:
            raise ValueError(
                f"data path {path}: there are no {_SUFFIX} files in this folder. Make them of a "
                f"dataset's files by `python -m spacy llm2ner convert`"
            )
        try:
            bins = [DocBin().from_disk(file) for file in files]
        except Exception as error:  # zlib, msgpack and srsly each have their own
            raise ValueError(f"data path {path}: no {_SUFFIX} data ({error})") from error
        size = CorpusSize(sum(map(len, bins)), sum(len(t) for b in bins for t in b.tokens))
    elif path.suffix == ".jsonl":
        lengths = [len(example) for example in open_corpus(path)(spacy.blank("xx"))]
        size = CorpusSize(len(lengths), sum(lengths))
    else:
        report = read_conll(path).report
        size = CorpusSize(report.sentences, report.tokens)
    if not size.docs:
        raise ValueError(f"data path {path}: there are no texts in it")
    return size


def _schedule(size: CorpusSize, epochs: int) -> Values:
    """Steps instead of epochs: spaCy looks at the dev data at steps that divide by
    `eval_frequency`, and only so is the end of the training one of them.
    """
    fitting = round(_TOKENS_PER_STEP * size.docs / max(size.tokens, 1))
    per_step = max(1, min(_DOCS_PER_STEP, fitting))
    per_epoch = math.ceil(size.docs / per_step)
    epochs = max(epochs, math.ceil(_LEAST_STEPS / per_epoch))
    evaluations = min(epochs, _MOST_EVALUATIONS)
    frequency = math.ceil(per_epoch * epochs / evaluations)
    total = frequency * evaluations
    return {
        "training": {"max_epochs": 0, "max_steps": total, "eval_frequency": frequency},
        "training.batcher": {"size": per_step},
        "training.optimizer.learn_rate": {
            "total_steps": total,
            "warmup_steps": min(_MOST_WARMUP_STEPS, math.ceil(total / 10)),
        },
    }


# Editing the text, so that the comments stay -------------------------------------------------


def set_values(text: str, values: Values) -> str:
    """Put values in the place of those that a config's text has; all else stays as it is.

    text: a config whose values stand on one line each.
    values: section -> setting -> value.
    RAISES: ValueError if the text has no such setting.
    """
    missing = {(section, key) for section, block in values.items() for key in block}
    lines, section = [], ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        key = line.partition("=")[0].strip()
        if (section, key) in missing and not line.startswith("#"):
            missing.remove((section, key))
            line = f"{key} = {json.dumps(values[section][key])}"
        lines.append(line)
    if missing:
        names = ", ".join(f"[{section}] {key}" for section, key in sorted(missing))
        raise ValueError(f"the config has no setting {names}")
    return "\n".join(lines) + "\n"


def _replace_section(text: str, section: str, block: dict[str, Any]) -> str:
    head, rest = text.split(f"[{section}]\n", 1)
    after = rest[rest.index("\n[") :]
    lines = (
        f"{key} = {value if str(value).startswith('$') else json.dumps(value)}"
        for key, value in block.items()
    )
    return f"{head}[{section}]\n" + "\n".join(lines) + "\n" + after
