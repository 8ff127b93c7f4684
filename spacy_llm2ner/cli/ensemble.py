"""`python -m spacy llm2ner ensemble`: join the heads of several trained pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from spacy import util
from spacy.cli._util import import_code
from wasabi import Printer

from ..errors import Errors
from ..pipeline.ensemble import join_heads
from ..pipeline.meta_facts import forget_evaluation
from .debug_data import find_component
from .options import Code
from .output import Force, check_free


def ensemble(
    output: Annotated[Path, typer.Argument(help="Folder for the new pipeline")],
    models: Annotated[
        list[str], typer.Argument(help="Two or more pipelines, trained with different seeds")
    ],
    component: Annotated[
        str, typer.Option("--component", "-p", help="Name of the component; default: the only one")
    ] = "",
    force: Force = False,
    code_path: Code = None,
) -> None:
    """
    Join pipelines that were trained with different seeds.

    They have the same LLM and labels. The joint head predicts the mean of their logits; the LLM
    still reads each text once.

    Example:

        python -m spacy llm2ner ensemble joined a/model-best b/model-best

    DOCS: docs/cli.md#ensemble
    """
    msg = Printer()
    import_code(code_path)
    try:
        if len(models) < 2:
            raise ValueError(Errors.E912.format(given=len(models)))
        check_free(output, force)
        pipelines = [util.load_model(model) for model in models]
        pipe = find_component(pipelines[0], component, msg)
        kept = join_heads(pipelines, pipe.name)
        forget_evaluation(pipelines[0].meta)
        pipelines[0].to_disk(output)
    # Faults of paths and pipelines: their messages are written for users.
    except (ValueError, OSError) as error:
        msg.fail(f"Can't join {', '.join(models)}", str(error), exits=1)
    if not kept:
        msg.warn(
            "Thresholds or temperatures differ: the threshold is reset to 0.5",
            "Calibrate on dev data: python -m spacy llm2ner calibrate",
        )
    msg.good(f"Wrote {output}: {len(models)} heads, averaged")
