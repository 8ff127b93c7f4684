"""`python -m spacy llm2ner card`: a pipeline -> a model card for the Hugging Face hub."""

from pathlib import Path
from typing import Annotated, Optional

import srsly
import typer
from spacy import util
from wasabi import Printer

from ..hub.card import make_card


def card(
    model: Annotated[str, typer.Argument(help="Name or path of a trained pipeline")],
    out: Annotated[
        Optional[Path],
        typer.Argument(help="The file to write; default: README.md in the pipeline's folder"),
    ] = None,
    metrics: Annotated[
        Optional[Path],
        typer.Option("--metrics", "-m", help="Scores, as `spacy evaluate --output` writes them"),
    ] = None,
    dataset: Annotated[
        Optional[str],
        typer.Option("--dataset", "-d", help="The name of the data that they were measured on"),
    ] = None,
    title: Annotated[Optional[str], typer.Option("--title", "-t", help="The model's name")] = None,
    license: Annotated[
        Optional[str],
        typer.Option("--license", "-l", help="The weights' license, as the hub abbreviates it"),
    ] = None,
    repo_id: Annotated[
        Optional[str], typer.Option("--repo-id", "-r", help="The hub id it will be found under")
    ] = None,
) -> None:
    """
    Write the model card of a pipeline: meta data for the hub, what the LLM and the head are, how it
    was trained, what it scores, its limits, and how to cite it.
    """
    msg = Printer()
    try:
        path = write_card(
            model,
            out,
            metrics=metrics,
            dataset=dataset,
            title=title,
            license=license,
            repo_id=repo_id,
        )
    except (ValueError, OSError) as error:
        msg.fail(f"Can't write a card of {model}", str(error), exits=1)
    msg.good(f"Wrote {path}")


def write_card(
    model: str | Path,
    out: Path | None = None,
    *,
    metrics: Path | None = None,
    dataset: str | None = None,
    title: str | None = None,
    license: str | None = None,
    repo_id: str | None = None,
) -> Path:
    """Load a pipeline and write its card.

    model: name or path of a pipeline.
    out: the file to write; None for README.md in the pipeline's folder.
    metrics: a JSON file of scores.
    dataset, title, license, repo_id: see `hub.card.make_card`.
    RETURNS: the card's path.
    RAISES: OSError or ValueError, in sentences, if something is missing or unreadable.
    """
    nlp = util.load_model(model)
    if out is None:
        if not Path(model).is_dir():
            raise ValueError(f"{model} is no folder, so that it must be said where to write to.")
        out = Path(model) / "README.md"
    if out.is_dir():
        out = out / "README.md"
    scores = srsly.read_json(metrics) if metrics is not None else None
    if scores is not None and not isinstance(scores, dict):
        raise ValueError(f"{metrics} holds no scores: a JSON object is expected.")
    text = make_card(
        nlp, metrics=scores, dataset=dataset, title=title, license=license, repo_id=repo_id
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf8")
    return out
