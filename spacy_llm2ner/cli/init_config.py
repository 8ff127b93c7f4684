"""`python -m spacy llm2ner init-config`: write a full training config from a preset."""

from __future__ import annotations

import configparser
import json
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from thinc.api import Config
from wasabi import Printer

from ..errors import Errors
from ..settings import check_choice
from .config_choices import (
    DEFAULT_LLM,
    Choice,
    LLMFacts,
    Schedule,
    check_gold,
    count_corpus,
    span_choice,
)
from .data import (
    DataOptions,
    InputError,
    corpus_block,
    options_of_each,
    require_data,
    with_lang,
)
from .data_block import reads_data

Values = dict[str, dict[str, Any]]  # section -> setting -> value

_LLM = "components.llm2ner.model.llm"
_GPU: Values = {
    "system": {"gpu_allocator": "pytorch"},
    _LLM: {"dtype": "bfloat16", "batch_pieces": 32768},
}
_CALIBRATE = {"@callbacks": "spacy_llm2ner.calibrate.v1"}
_NOT_FITTED = (
    "The schedule is not fitted to training data: set total_steps in "
    "[training.optimizer.learn_rate], max_steps and eval_frequency in [training], or pass --train"
)


class Preset(str, Enum):
    """The presets; each is a file in `spacy_llm2ner/presets`."""

    fast = "fast"
    balanced = "balanced"
    accurate = "accurate"


@reads_data(without=("split",))
def init_config(
    out: Annotated[Path, typer.Argument(help="Output config, or - for standard output")],
    preset: Annotated[
        Preset, typer.Option("--preset", help="Trade-off between speed and accuracy")
    ] = Preset.balanced,
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language code")] = "en",
    llm: Annotated[
        str, typer.Option("--llm", help="Hub id, model folder or .gguf file of the LLM")
    ] = DEFAULT_LLM,
    train: Annotated[
        Optional[Path],
        typer.Option(
            "--train",
            help="Training data: .spacy (file or folder), .jsonl, CoNLL, dataset or export",
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
    *,
    options: DataOptions,
    # The former short name of --preset; elsewhere -p is --component.
    former_preset: Annotated[Optional[Preset], typer.Option("-p", hidden=True)] = None,
) -> None:
    """
    Write a training config that fits your data and LLM.

    The config is full, with comments, for `spacy train`. With --train, batch size and number of
    steps are fitted to the data. The choices and their reasons are printed.

    Example:

        python -m spacy llm2ner init-config config.cfg --train train.spacy

    DOCS: docs/cli.md#init-config
    """
    to_stdout = str(out) == "-"
    # Messages must not get into a config on standard output.
    with redirect_stdout(sys.stderr if to_stdout else sys.stdout):
        msg = Printer()
        try:
            if not to_stdout and out.exists() and not force:
                raise ValueError(Errors.E920.format(path=out))
            plan = plan_config(
                (former_preset or preset).value,
                lang=lang,
                llm=llm,
                train=train,
                dev=dev,
                gpu=gpu,
                calibrate=calibrate,
                options=options,
            )
        except (ValueError, OSError) as error:
            msg.fail(f"Can't make a config for {out}", str(error), exits=1)
        _print_plan(msg, plan)
        if not to_stdout:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(plan.text, encoding="utf8")
            msg.good(f"Wrote {out}", f"python -m spacy train {out} --output training")
    if to_stdout:
        typer.echo(plan.text, nl=False)


def _print_plan(msg: Printer, plan: ConfigPlan) -> None:
    rows = [(choice.setting, choice.value, choice.reason) for choice in plan.choices]
    msg.table(rows, header=("setting", "value", "why"), divider=True)
    for sentence in plan.warnings:
        msg.warn(sentence)


@dataclass(frozen=True)
class ConfigPlan:
    """A config, and what there is to say about it.

    text (str): The text of the config.
    choices (List[Choice]): Settings that were chosen for the LLM and the data.
    warnings (List[str]): Sentences about what is missing or not known.
    """

    text: str
    choices: list[Choice]
    warnings: list[str]


def make_config(preset: str, **settings: Any) -> str:
    """Make a full config with comments.

    preset (str): "fast", "balanced" or "accurate".
    settings (Any): See `plan_config`.
    RETURNS (str): The text of the config.
    RAISES (ValueError): For an unknown preset or unreadable data.
    """
    return plan_config(preset, **settings).text


def plan_config(
    preset: str,
    *,
    lang: str = "en",
    llm: str = DEFAULT_LLM,
    train: Path | None = None,
    dev: Path | None = None,
    gpu: bool = False,
    calibrate: bool = False,
    options: DataOptions | None = None,
) -> ConfigPlan:
    """Choose the settings of a config.

    preset (str): "fast", "balanced" or "accurate".
    lang (str): Language code.
    llm (str): Hub id, model folder or GGUF file. The presets name layers of the default LLM. For
        another LLM whose config.json is at hand, measured layers or those at the same relative
        depths are chosen, and an encoder is read once; else `layers` is null, which means the four
        default layers.
    train, dev (Optional[Path]): The data. Training data is counted for the schedule.
    gpu (bool): Whether a GPU will be used.
    calibrate (bool): Whether to calibrate checkpoints.
    options (Optional[DataOptions]): How the data is read.
    RETURNS (ConfigPlan): The config, and the reasons for its settings.
    RAISES (FileNotFoundError): If there is no such LLM (E104 to E106).
    RAISES (ValueError): For an unknown preset, or data that is missing, unreadable or without
        entities (E922 to E927).
    """
    check_choice("preset", preset, [*Preset.__members__], component="init-config")
    values = read_preset(preset)
    facts = LLMFacts.of(llm)
    chosen = values.setdefault(_LLM, {})
    chosen["name"] = llm
    chosen["layers"] = facts.layers(chosen.get("layers"), chosen["reading"])
    chosen["reading"], choices = facts.choices(chosen["layers"], chosen["reading"])
    values["nlp"] = {"lang": lang}
    paths = {"train": train, "dev": dev}
    values["paths"] = {name: None if p is None else str(p) for name, p in paths.items()}
    if calibrate:
        values.setdefault("training", {})["before_to_disk"] = _CALIBRATE
    text = set_values(_preset_text("base"), values)
    text = set_values(text, _GPU if gpu else {})
    given = _options(paths, options or DataOptions())
    for name, path in paths.items():
        block = None if path is None else corpus_block(path, given[name])
        if block is not None:
            reader = {"path": f"${{paths.{name}}}", **block}
            text = _replace_section(text, f"corpora.{name}", reader)
    counts = {
        name: None if path is None else count_corpus(path, with_lang(path, given[name], lang))
        for name, path in paths.items()
    }
    warnings = [*facts.warnings, *check_gold(counts["train"], counts["dev"], values["paths"])]
    choices.append(span_choice(counts["train"]))
    if counts["train"] is None:
        warnings.append(_NOT_FITTED)
    else:
        epochs = Config().from_str(text, interpolate=False)["training"]["max_epochs"]
        schedule = Schedule.of(counts["train"], epochs)
        text = set_values(text, schedule.values)
        choices += schedule.choices()
    return ConfigPlan(text, choices, warnings)


def _options(paths: dict[str, Path | None], options: DataOptions) -> dict[str, DataOptions]:
    """The options of training and dev data."""
    known = {name: path for name, path in paths.items() if path is not None}
    require_data(next(iter(known), None), options, "--train or --dev")
    for path in known.values():
        if not path.exists():
            raise InputError(Errors.E922.format(path=path))
    return dict(zip(known, options_of_each([*known.values()], options), strict=True))


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
