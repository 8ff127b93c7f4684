"""`python -m spacy llm2ner init-config`: write a full training config from a preset."""

from __future__ import annotations

import configparser
import json
import math
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from spacy.tokens import DocBin
from thinc.api import Config
from wasabi import Printer

from ..corpora.conll import ConllError
from ..corpora.formats import format_of
from ..corpora.reader import open_corpus, reader_block
from ..errors import Errors
from ..settings import check_choice

Values = dict[str, dict[str, Any]]  # section -> setting -> value

# The LLM that the presets are made for, and its depth.
DEFAULT_LLM = "HuggingFaceTB/SmolLM2-135M-Instruct"
_DEFAULT_DEPTH = 30
_LLM = "components.llm2ner.model.llm"
_SUFFIX = ".spacy"
# Size of a training step: tokens (about) and docs (at most).
_TOKENS_PER_STEP, _DOCS_PER_STEP = 1000, 32
_MOST_WARMUP_STEPS = 200
# Small corpora are trained for more epochs, up to this number of steps.
_LEAST_STEPS = 400
_MOST_EVALUATIONS = 10
_GPU: Values = {
    "system": {"gpu_allocator": "pytorch"},
    _LLM: {"dtype": "bfloat16", "batch_pieces": 32768},
}
_CALIBRATE = {"@callbacks": "spacy_llm2ner.calibrate.v1"}


class Preset(str, Enum):
    """The presets; each is a file in `spacy_llm2ner/presets`."""

    fast = "fast"
    balanced = "balanced"
    accurate = "accurate"


def init_config(
    out: Annotated[Path, typer.Argument(help="Output config, or - for standard output")],
    preset: Annotated[
        Preset, typer.Option("--preset", "-p", help="Trade-off between speed and accuracy")
    ] = Preset.balanced,
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language code")] = "en",
    llm: Annotated[
        str, typer.Option("--llm", help="Hub id, model folder or .gguf file of the LLM")
    ] = DEFAULT_LLM,
    train: Annotated[
        Optional[Path],
        typer.Option(
            "--train", help="Training data: .spacy (file or folder), .jsonl, CoNLL file or dataset"
        ),
    ] = None,
    dev: Annotated[
        Optional[Path], typer.Option("--dev", help="Dev data, in any of these formats")
    ] = None,
    gpu: Annotated[
        bool, typer.Option("--gpu", "-G", help="For a GPU: bfloat16 and larger batches")
    ] = False,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Calibrate every checkpoint on the dev data")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", "-F", help="Overwrite an existing file")
    ] = False,
) -> None:
    """
    Write a full config with comments for `spacy train`. With --train, the number of training steps
    is fitted to the data.
    """
    to_stdout = str(out) == "-"
    msg = Printer(no_print=to_stdout)
    try:
        if not to_stdout and out.exists() and not force:
            raise ValueError(Errors.E920.format(path=out))
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
            "The schedule is not fitted to training data: set total_steps in "
            "[training.optimizer.learn_rate], max_steps and eval_frequency in [training], or pass "
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
    """Make a full config with comments.

    preset (str): "fast", "balanced" or "accurate".
    lang (str): Language code.
    llm (str): Hub id, model folder or GGUF file. The presets name layers of the default LLM. For
        another LLM whose depth is known from a folder's config.json, layers at the same relative
        depths are chosen; else the setting is null, which means the four default layers.
    train, dev (Optional[Path]): The data. Existing training data is counted for the schedule.
    gpu (bool): Whether a GPU will be used.
    calibrate (bool): Whether to calibrate checkpoints.
    RETURNS (str): The text of the config.
    RAISES (ValueError): For an unknown preset or unreadable data.
    """
    check_choice("preset", preset, [*Preset.__members__], component="init-config")
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
    """Return the settings of the reader for a path; None for spaCy's own reader."""
    if format_of(path) == "conll" and not path.exists() and not path.suffix:
        raise ValueError(Errors.E922.format(path=path))
    return reader_block(path)


def read_preset(preset: str) -> Values:
    """Read a preset: section -> setting -> value."""
    # Not a spaCy config, which requires all parents of a section.
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
    """Map layers of the default LLM to those of another one.

    llm (str): See `make_config`.
    layers (Optional[List[int]]): Layers of the default LLM, or None.
    RETURNS (Optional[List[int]]): Layers at the same relative depths; None (the default layers) if
        the depth is unknown.
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
    """Size of the training data: docs and tokens."""

    docs: int
    tokens: int


def count_corpus(path: Path) -> CorpusSize:
    """Count docs and tokens of data in any format that `open_corpus` supports.

    path (Path): The data.
    RETURNS (CorpusSize): The counts.
    RAISES (ValueError): If it cannot be read or is empty (E923 to E925).
    """
    if format_of(path) == "spacy":
        files = sorted(path.rglob(f"*{_SUFFIX}")) if path.is_dir() else [path]
        if not files:
            raise ValueError(Errors.E923.format(path=path))
        try:
            bins = [DocBin().from_disk(file) for file in files]
        except Exception as error:  # zlib, msgpack and srsly each have their own
            raise ValueError(Errors.E924.format(path=path, problem=error)) from error
        size = CorpusSize(sum(map(len, bins)), sum(len(t) for b in bins for t in b.tokens))
    else:
        report = open_corpus(path).file.report  # type: ignore[attr-defined]
        size = CorpusSize(report.sentences, report.tokens)
    if not size.docs:
        raise ValueError(Errors.E925.format(path=path))
    return size


def _schedule(size: CorpusSize, epochs: int) -> Values:
    """Convert epochs to steps, such that the last step is evaluated.

    spaCy evaluates at multiples of `eval_frequency`; a limit in epochs would end between two.
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


# Editing the text, which keeps the comments -------------------------------------------------


def set_values(text: str, values: Values) -> str:
    """Replace values in the text of a config and keep the rest.

    text (str): A config with one line per value.
    values (Dict[str, Dict[str, Any]]): Section -> setting -> value.
    RETURNS (str): The new text.
    RAISES (ValueError): If the text has no such setting (E926).
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
        raise ValueError(Errors.E926.format(settings=names))
    return "\n".join(lines) + "\n"


def _replace_section(text: str, section: str, block: dict[str, Any]) -> str:
    head, rest = text.split(f"[{section}]\n", 1)
    after = rest[rest.index("\n[") :]
    lines = (
        f"{key} = {value if str(value).startswith('$') else json.dumps(value)}"
        for key, value in block.items()
    )
    return f"{head}[{section}]\n" + "\n".join(lines) + "\n" + after
