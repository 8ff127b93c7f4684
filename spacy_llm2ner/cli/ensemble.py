"""`python -m spacy llm2ner ensemble`: several trained pipelines as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from spacy import util
from wasabi import Printer

from ..pipeline.ensemble import join_heads
from .debug_data import find_component


def ensemble(
    output: Annotated[Path, typer.Argument(help="Folder for the new pipeline")],
    models: Annotated[
        list[str], typer.Argument(help="Two or more pipelines, trained alike with other seeds")
    ],
    component: Annotated[
        str, typer.Option("--component", "-p", help="Name of the component; default: the only one")
    ] = "",
) -> None:
    """
    Join the heads of pipelines that were trained with other seeds, on the same LLM and labels: the
    mean of their logits counts. The LLM reads each text once, as before.
    """
    msg = Printer()
    try:
        if len(models) < 2:
            raise ValueError(f"two or more pipelines are needed, given is {len(models)}")
        pipelines = [util.load_model(model) for model in models]
        pipe = find_component(pipelines[0], component, msg)
        kept = join_heads(pipelines, pipe.name)
        pipelines[0].to_disk(output)
    # What is wrong with paths and pipelines comes as these, in words for the user.
    except (ValueError, OSError) as error:
        msg.fail(f"Can't join {', '.join(models)}", str(error), exits=1)
    if not kept:
        msg.warn(
            "Thresholds or temperatures differ: the threshold is 0.5 now",
            "Calibrate on dev data: python -m spacy llm2ner calibrate",
        )
    msg.good(f"Wrote {output}: {len(models)} heads, of which the mean counts")
