"""`python -m spacy llm2ner card`: write the model card of a pipeline."""

from pathlib import Path
from typing import Annotated, Optional

import srsly
import typer
from spacy import util
from spacy.cli._util import import_code
from wasabi import Printer

from ..errors import Errors
from ..hub import card as model_card
from .options import Code
from .output import Force, check_free


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
        Optional[str],
        typer.Option("--repo-id", "-r", help="The pipeline's hub id, for the code on usage"),
    ] = None,
    force: Force = False,
    code_path: Code = None,
) -> None:
    """
    Write the model card of a pipeline.

    A card has metadata for the hub, the LLM and the head, training, scores, limitations and
    citation.

    Example:

        python -m spacy llm2ner card training/model-best --license mit

    DOCS: docs/cli.md#card
    """
    msg = Printer()
    import_code(code_path)
    try:
        check_free(_place(model, out), force)
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
    if metrics is not None and dataset is None:
        msg.warn(f"The card doesn't say on what data {metrics} was measured: name it by --dataset")
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

    model (Union[str, Path]): Name or path of a pipeline.
    out (Optional[Path]): The file to write; None for README.md in the pipeline's folder.
    metrics (Optional[Path]): A JSON file of scores.
    dataset (Optional[str]): The name of the data that they were measured on.
    title (Optional[str]): The model's name.
    license (Optional[str]): The weights' license.
    repo_id (Optional[str]): The pipeline's hub id. See `hub.card.make_card` for the defaults.
    RETURNS (Path): The card's path.
    RAISES (ValueError, OSError): If something is missing or unreadable (E801, E805, E806).
    """
    nlp = util.load_model(model)
    out = _place(model, out)
    scores = srsly.read_json(metrics) if metrics is not None else None
    if scores is not None and not isinstance(scores, dict):
        raise ValueError(Errors.E806.format(metrics=metrics))
    model_card.write_card(
        nlp, out, metrics=scores, dataset=dataset, title=title, license=license, repo_id=repo_id
    )
    return out


def _place(model: str | Path, out: Path | None) -> Path:
    """The file to write."""
    if out is None and not Path(model).is_dir():
        raise ValueError(Errors.E805.format(model=model))
    out = Path(model) if out is None else out
    return out / "README.md" if out.is_dir() else out
