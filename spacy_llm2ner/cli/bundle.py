"""`python -m spacy llm2ner bundle`: write a pipeline that carries its LLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from spacy import util
from spacy.cli._util import import_code, setup_gpu
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example
from wasabi import Printer, table

from ..errors import Errors
from ..pipeline.bundle import Carried, state_difference, write_bundled
from .data import DataOptions, open_data, require_data
from .data_block import reads_data
from .options import Code, GpuId
from .output import Force, check_free

# Read by both LLMs, if there is no --data, to see that the new pipeline works.
_TRIAL = "Ada Lovelace met Charles Babbage in London, and wrote to Michael Faraday in 1844."
# Texts of --data on which states are compared.
_STATE_TEXTS = 20


class Precision(str, Enum):
    """The precision of the stored weights."""

    original = "original"
    float16 = "float16"
    four_bits = "4bit"


@reads_data
def bundle(
    model: Annotated[str, typer.Argument(help="Name or path of a trained pipeline")],
    out: Annotated[Path, typer.Argument(help="Folder for the pipeline that carries its LLM")],
    dtype: Annotated[
        Precision,
        typer.Option("--dtype", help="The LLM's weights on disk: exactly, rounded, packed"),
    ] = Precision.original,
    data: Annotated[
        Optional[Path],
        typer.Option("--data", help="Annotated data: compare the predictions of both pipelines"),
    ] = None,
    *,
    options: DataOptions,
    force: Force = False,
    code_path: Code = None,
    gpu_id: GpuId = -1,
) -> None:
    """
    Write a pipeline that carries its LLM.

    The copy runs where the LLM is missing. Only the blocks that the head reads go along.

    Example:

        python -m spacy llm2ner bundle training/model-best carried --dtype 4bit

    DOCS: docs/cli.md#bundle
    """
    msg = Printer()
    import_code(code_path)
    try:
        setup_gpu(gpu_id, silent=True)
        _check_output(model, out, force)
        require_data(data, options, "--data")
        examples = None if data is None else open_data(data, options)
        before = util.load_model(model)
        measured = None if examples is None else measure(before, list(examples(before)))
        carried = write_bundled(before, out, dtype.value)
        after = util.load_model(out)
        again = None if examples is None else measure(after, list(examples(after)))
        docs = [before.make_doc(_TRIAL)] if measured is None else measured.docs[:_STATE_TEXTS]
        difference = state_difference(before, after, docs)
    # Faults of paths, pipelines and LLMs: their messages are written for users.
    except (ValueError, OSError, ImportError) as error:
        msg.fail(f"Can't bundle {model}", str(error), exits=1)
    for llm in carried:
        _print_sizes(msg, llm, out)
    msg.text(f"Its states differ by {100 * difference:.2f}% (root mean square, {len(docs)} texts)")
    if measured is not None and again is not None:
        _print_comparison(msg, measured, again)
    msg.good(f"Wrote {out}", f"To make a package of it: python -m spacy package {out} PACKAGES")


@dataclass(frozen=True)
class Measured:
    """What a pipeline found in annotated data.

    docs (List[Doc]): The texts with its predictions.
    scores (Dict[str, Any]): The scores.
    """

    docs: list[Doc]
    scores: dict[str, Any]


def measure(nlp: Language, examples: Sequence[Example]) -> Measured:
    """Run a pipeline on annotated data."""
    docs = list(nlp.pipe([example.predicted for example in examples]))
    judged = [Example(doc, example.reference) for doc, example in zip(docs, examples, strict=True)]
    return Measured(docs, Scorer(nlp).score(judged))


def changed_docs(before: Sequence[Doc], after: Sequence[Doc]) -> int:
    """The number of texts in which two pipelines found other entities or spans."""

    def found(doc: Doc) -> set[tuple[str, int, int, str]]:
        groups = {"": doc.ents, **{key: tuple(group) for key, group in doc.spans.items()}}
        return {
            (key, span.start_char, span.end_char, span.label_)
            for key, spans in groups.items()
            for span in spans
        }

    return sum(found(a) != found(b) for a, b in zip(before, after, strict=True))


def _check_output(model: str, out: Path, force: bool) -> None:
    if out.exists() and Path(model).exists() and out.samefile(model):
        raise ValueError(Errors.E960.format(path=out))
    if out.exists() and not out.is_dir():
        raise ValueError(Errors.E910.format(path=out))
    check_free(out, force)


def _size(folder: Path) -> str:
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return f"{used / 1e6:.1f} MB"


def _print_sizes(msg: Printer, llm: Carried, out: Path) -> None:
    msg.info(f"{', '.join(llm.components)}: {llm.blocks} of {llm.of_blocks} blocks of '{llm.name}'")
    rows = [
        ("the LLM's folder", _size(llm.source)),
        ("what the pipeline carries of it", _size(llm.folder)),
        ("the pipeline, all in all", _size(out)),
    ]
    print(table(rows, aligns=("l", "r")))


def _print_comparison(msg: Printer, before: Measured, after: Measured) -> None:
    rows = []
    for key, score in before.scores.items():
        other = after.scores.get(key)
        if key.endswith("_f") and key != "token_f" and isinstance(score, float):
            after_score = f"{100 * other:.2f}" if isinstance(other, float) else "-"
            rows.append((key, f"{100 * score:.2f}", after_score))
    changed = changed_docs(before.docs, after.docs)
    rows.append(("texts with other spans", "", f"{changed} of {len(after.docs)}"))
    print(table(rows, header=("", "before", "after"), divider=True, aligns=("l", "r", "r")))
