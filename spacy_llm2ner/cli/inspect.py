"""`python -m spacy llm2ner inspect`: facts, checks and suggested settings of an LLM."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Optional

import spacy
import typer
from spacy.cli._util import setup_gpu
from thinc.api import Config
from wasabi import Printer

from ..errors import Errors
from ..llm.inspection import Facts, Inspection, PieceCounts, inspect_llm
from .data import DataOptions, open_data, require_data
from .data_block import reads_data
from .output import Force, check_free

_LARGEST_FLOAT16 = 65504


@reads_data
def inspect(
    name: Annotated[str, typer.Argument(help="Hub id, model folder or .gguf file", metavar="LLM")],
    data: Annotated[
        Optional[Path],
        typer.Option(
            "--data", help="Your texts: .spacy (file or folder), .jsonl, CoNLL file or dataset"
        ),
    ] = None,
    *,
    options: DataOptions,
    limit: Annotated[
        int, typer.Option("--limit", help="Number of texts of the data to split; 0 for all")
    ] = 1000,
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language code")] = "en",
    revision: Annotated[
        Optional[str], typer.Option("--revision", help="Branch, tag or commit of a hub id")
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the LLM")
    ] = False,
    run: Annotated[
        bool,
        typer.Option("--run/--no-run", help="Run the LLM, for likelihood and speed"),
    ] = True,
    json_path: Annotated[
        Optional[Path],
        typer.Option("--json", "-j", help="JSON file for all figures, or - for standard output"),
    ] = None,
    use_gpu: Annotated[int, typer.Option("--gpu-id", "-g", help="GPU number; -1 for the CPU")] = -1,
    force: Force = False,
) -> None:
    """
    Check an LLM before you choose it, and suggest settings.

    Prints what its files say, how its tokenizer splits English and your texts, whether it
    understands a paragraph, its speed and memory here, and a config block. An LLM that cannot be
    used is an error; what may go wrong is said in sentences.

    Example:

        python -m spacy llm2ner inspect assets/llm/gemma-3-270m

    DOCS: docs/cli.md#inspect
    """
    to_stdout = str(json_path) == "-"
    # Messages must not get into JSON on standard output.
    with redirect_stdout(sys.stderr if to_stdout else sys.stdout):
        msg = Printer()
        setup_gpu(use_gpu, silent=True)
        try:
            check_free(None if to_stdout else json_path, force)
            require_data(data, options, "--data")
            found = inspect_llm(
                name,
                revision=revision,
                trust_remote_code=trust_remote_code,
                texts=list(islice(_texts(data, lang, options), limit or None)) if data else (),
                run=run,
            )
        except (ValueError, OSError, ImportError) as error:
            msg.fail(f"Can't use {name}", str(error), exits=1)
        config = suggested_config(found.settings, lang)
        _print_facts(msg, found.facts)
        _print_checks(msg, found, data)
        _print_cost(msg, found)
        msg.divider("Suggested settings")
        print(config)
        for sentence in found.warnings:
            msg.warn(sentence)
        if not found.warnings:
            msg.good("No fault was found" if run else "No fault was found; the LLM was not run")
    if json_path:
        _write_json(json_path, found, config)


def suggested_config(settings: dict[str, Any], lang: str) -> str:
    """Make a config with the component on an LLM, which `spacy init fill-config` completes.

    settings (Dict[str, Any]): Settings of the LLM, as `Inspection` has them.
    lang (str): Language code.
    RETURNS (str): The text of the config.
    """
    model = {
        "@architectures": "spacy_llm2ner.SpanRecognizer.v1",
        "llm": {"@architectures": "spacy_llm2ner.FrozenLLM.v1", **settings},
        "head": {"@architectures": "spacy_llm2ner.SpanScorer.v1"},
    }
    return Config(
        {
            "nlp": {"lang": lang, "pipeline": ["llm2ner"]},
            "components": {"llm2ner": {"factory": "llm2ner", "model": model}},
        }
    ).to_str()


def _texts(path: Path, lang: str, options: DataOptions) -> Iterator[tuple[str, int]]:
    """Yield the texts of the data with their numbers of words, marks not counted.

    RAISES (ValueError): If there are none (E925).
    """
    nlp = spacy.blank(lang)
    empty = True
    for example in open_data(path, options)(nlp):
        doc, empty = example.reference, False
        yield doc.text, sum(not (token.is_punct or token.is_space) for token in doc)
    if empty:
        raise ValueError(Errors.E925.format(path=path))


# Printing -----------------------------------------------------------------------------------


def _print_facts(msg: Printer, facts: Facts) -> None:
    direction = {
        True: "causal: a piece sees those before it",
        False: "a piece sees those on both sides",
        None: "not known: config.json does not say",
    }
    special = {
        "before the text": facts.prefix,
        "between two copies": facts.separator,
        "after the text": facts.suffix,
    }
    msg.divider(facts.name)
    rows = {
        "folder": facts.folder,
        "architecture": facts.architecture,
        "parameters": f"{facts.parameters / 1e6:,.1f} million, without LM head",
        "blocks": f"{facts.blocks} of width {facts.width:,}",
        "positions": f"{facts.positions:,}" if facts.positions else "no limit",
        "direction": direction[facts.causal],
        "tokenizer": f"{facts.tokenizer}; {facts.vocabulary:,} pieces",
        "special pieces": "; ".join(
            f"{where}: {' '.join(map(ascii, pieces))}"
            for where, pieces in special.items()
            if pieces
        ),
    }
    msg.table(rows, aligns=("l", "l"))


def _print_checks(msg: Printer, found: Inspection, data: Path | None) -> None:
    msg.divider("Checks")
    rows = [("pieces per word, a paragraph of English", *_pieces(found.paragraph))]
    if found.data is not None and data is not None:
        rows.append((f"pieces per word, {data.name}", *_pieces(found.data)))
    likely = found.likelihood
    if likely is not None:
        beside = f"its words shuffled: {likely.shuffled:.2f}"
        rows.append(("negative log-likelihood per character", f"{likely.paragraph:.2f}", beside))
    else:
        rows.append(("negative log-likelihood per character", "-", "no LM head, or not run"))
    if found.largest_state is not None:
        over = found.largest_state > _LARGEST_FLOAT16
        fits = "too large for float16" if over else "float16 can hold it"
        rows.append(("largest number in the states", f"{found.largest_state:,.0f}", fits))
    msg.table(rows, aligns=("l", "r", "l"))


def _pieces(counts: PieceCounts) -> tuple[str, str]:
    lost = f"{counts.uncovered:,} characters without a piece; {counts.empty:,} empty pieces; "
    return f"{counts.pieces_per_word:.2f}", f"{lost}{counts.unknown:,} unknown"


def _print_cost(msg: Printer, found: Inspection) -> None:
    msg.divider(f"Cost at layers {found.settings['layers']}, on {found.device}")
    dtypes = list(found.memory.weights)
    rates = {(s.reading, s.dtype): f"{s.words_per_second:,.0f}" for s in found.speeds}
    rows = [
        (f"words per second, reading {reading}", *(rates.get((reading, d), "-") for d in dtypes))
        for reading in dict.fromkeys(reading for reading, _ in rates)
    ]
    weights = [f"{found.memory.weights[dtype] / 1e6:,.0f} MB" for dtype in dtypes]
    rows.append(("memory for weights", *weights))
    per_thousand = f"{found.memory.states_per_word / 1e3:,.1f} MB"
    rows.append(("store for 1,000 words", *([per_thousand] * len(dtypes))))
    msg.table(rows, header=("", *dtypes), divider=True, aligns=("l", *("r" for _ in dtypes)))


def _write_json(path: Path, found: Inspection, config: str) -> None:
    figures = asdict(found)
    for counts in (figures["paragraph"], figures["data"]):
        if counts is not None:
            counts["pieces_per_word"] = counts["pieces"] / max(counts["words"], 1)
    text = json.dumps({**figures, "config": config}, indent=2, ensure_ascii=False)
    if str(path) == "-":
        typer.echo(text)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf8")
