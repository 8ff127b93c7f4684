"""`python -m spacy llm2ner adapt` and `suggest-names`: few-shot labels and the user's own texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, cast

import srsly
import typer
from spacy import util
from spacy.cli._util import import_code, setup_gpu
from spacy.language import Language
from spacy.training import Example
from wasabi import Printer

from ..errors import Errors
from ..pipeline.meta_facts import forget_evaluation
from .data import DataOptions, open_data, require_data
from .data_block import reads_data
from .options import Code, GpuId
from .output import Force, check_free
from .texts import read_texts

if TYPE_CHECKING:
    from ..few_shot.component import FewShotRecognizer

_FACTORY = "llm2ner_fewshot"

Model = Annotated[str, typer.Argument(help=f"Name or path of a pipeline with {_FACTORY}")]
Texts = Annotated[
    Path, typer.Argument(help='Texts: .txt (one a line), .jsonl (with "text") or .spacy')
]
Component = Annotated[
    str, typer.Option("--component", "-p", help="Name of the component; default: the only one")
]


@reads_data
def adapt(
    model: Model,
    texts: Texts,
    out: Annotated[Path, typer.Argument(help="Folder for the new pipeline")],
    examples: Annotated[
        Optional[Path],
        typer.Option(
            "--examples", help="Annotated data, held back, to compare F1 before and after"
        ),
    ] = None,
    patterns: Annotated[
        Optional[Path],
        typer.Option("--patterns", help="Further names: a .jsonl file in the EntityRuler's format"),
    ] = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=0, help="Most rounds on the texts; 0: names only")
    ] = 4,
    component: Component = "",
    *,
    options: DataOptions,
    gpu_id: GpuId = -1,
    code_path: Code = None,
    force: Force = False,
) -> None:
    """
    Adapt few-shot labels to your own, unlabelled texts.

    The names of labels are looked for in the texts, and a few rounds add the surest mentions.
    Examples of annotated texts are kept. With annotated data that is held back, the command says
    whether it helped, and writes nothing if it made things worse.

    Example:

        python -m spacy llm2ner adapt my-pipeline texts.txt adapted

    DOCS: docs/cli.md#adapt
    """
    msg = Printer()
    import_code(code_path)
    setup_gpu(gpu_id)
    try:
        check_free(out, force)
        require_data(examples, options, "--examples")
        nlp = util.load_model(model)
        pipe = _component(nlp, component)
        docs = read_texts(texts, nlp)
        held_back = [] if examples is None else list(open_data(examples, options)(nlp))
        before = _score(nlp, held_back)
        if patterns is not None:
            pipe.add_patterns(srsly.read_jsonl(patterns))
        learnt = pipe.adapt(docs, rounds=rounds, progress=True)
        sources = learnt.evidence.sources
        msg.info(
            f"{len(docs)} texts: {sources.count('name')} occurrences of names, "
            f"{sources.count('guess')} mentions guessed in {learnt.rounds} rounds"
        )
        if learnt.rounds > 1:
            msg.info(f"The last two rounds agree on {100 * learnt.agreement:.0f} % of the mentions")
        if "name" not in sources and "guess" not in sources:
            msg.warn(
                "No mention of any label was found in the texts",
                "They served as examples of no label only. Add names that occur in them: "
                "python -m spacy llm2ner suggest-names lists candidates",
            )
        after = _score(nlp, held_back)
        if before is not None and after is not None:
            said = {"examples": examples, "before": before, "after": after}
            if after < before and not force:
                raise ValueError(Errors.E970.format(**said))
            tell = msg.good if after >= before else msg.warn
            tell(f"F1 on {examples}: {before:.1f} before, {after:.1f} after")
        forget_evaluation(nlp.meta)
        nlp.to_disk(out)
    # Faults of paths and pipelines: their messages are written for users.
    except (ValueError, OSError) as error:
        msg.fail(f"Can't adapt {model}", str(error), exits=1)
    msg.good(f"Wrote {out}")


def suggest_names(
    model: Model,
    texts: Texts,
    out: Annotated[Path, typer.Argument(help="The .jsonl file to write")],
    most: Annotated[int, typer.Option("--most", "-n", min=1, help="Most names of a label")] = 20,
    component: Component = "",
    gpu_id: GpuId = -1,
    code_path: Code = None,
    force: Force = False,
) -> None:
    """
    List names from your texts that few-shot labels may have.

    The file has a line per name, in the format of spaCy's EntityRuler, with score, count and a
    text. Delete the lines that are wrong, and give the file to `adapt --patterns`.

    Example:

        python -m spacy llm2ner suggest-names my-pipeline texts.txt names.jsonl

    DOCS: docs/cli.md#suggest-names
    """
    msg = Printer()
    import_code(code_path)
    setup_gpu(gpu_id)
    try:
        if out.suffix != ".jsonl":
            raise ValueError(Errors.E940.format(path=out, suffix=".jsonl"))
        check_free(out, force)
        nlp = util.load_model(model)
        pipe = _component(nlp, component)
        suggestions = pipe.suggest(read_texts(texts, nlp), most)
        srsly.write_jsonl(out, [one.as_pattern() for one in suggestions])
    # Faults of paths and pipelines: their messages are written for users.
    except (ValueError, OSError) as error:
        msg.fail(f"Can't suggest names for {model}", str(error), exits=1)
    rows = [(one.label, one.name, f"{one.score:.2f}", one.count) for one in suggestions]
    if rows:
        msg.table(rows, header=("label", "name", "score", "count"), divider=True)
    else:
        msg.warn("No new name was found in the texts")
    msg.good(f"Wrote {out}: {len(rows)} names. Delete the wrong ones, then adapt --patterns {out}")


def _component(nlp: Language, name: str) -> FewShotRecognizer:
    """The few-shot component `name`, or the only one.

    RAISES (ValueError): If there is no such component (E907, E908), or several (E973).
    """
    found = [each for each in nlp.pipe_names if nlp.get_pipe_meta(each).factory == _FACTORY]
    pipes = ", ".join(nlp.pipe_names) or "none"
    if name and name not in found:
        raise ValueError(Errors.E908.format(name=name, components=", ".join(found) or pipes))
    if not found:
        raise ValueError(Errors.E907.format(factory=_FACTORY, components=pipes))
    if not name and len(found) > 1:
        raise ValueError(Errors.E973.format(factory=_FACTORY, components=", ".join(found)))
    return cast("FewShotRecognizer", nlp.get_pipe(name or found[0]))


def _score(nlp: Language, examples: list[Example]) -> float | None:
    """F1 of the entities, in per cent; None without examples."""
    if not examples:
        return None
    return 100 * float(nlp.evaluate(examples)["ents_f"] or 0.0)
