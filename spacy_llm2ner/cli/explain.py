"""`python -m spacy llm2ner explain`: write a page of the scores of a text's spans."""

from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from spacy import util
from spacy.cli._util import import_code, setup_gpu
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import Printer

from ..errors import Errors
from ..pipeline.base import DEFAULT_TEMPERATURE, EntityPipe
from ..pipeline.thresholds import PerLabel, threshold_text
from ..reports.error_classes import make_mark
from ..reports.explanation_page import ExplanationPage, choose_spans, render_explanation_page
from ..reports.score_parts import split_scores
from .options import GpuId, LongCode
from .output import Force, check_free

_FACTORY = "llm2ner"
_PAGE = "explain.html"
# A page of a longer text would be slow to open.
_MOST_TOKENS = 2_000


def explain(
    model: Annotated[str, typer.Argument(help="Name or path of a trained pipeline")],
    text: Annotated[str, typer.Argument(help="The text, or the path of a text file")],
    out: Annotated[Path, typer.Argument(help="The HTML file to write")] = Path(_PAGE),
    component: Annotated[
        Optional[str], typer.Option("--component", "-p", help="The component; default: the first")
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", "-l", min=1, help="Number of spans whose scores are split into parts"
        ),
    ] = 30,
    title: Annotated[
        Optional[str], typer.Option("--title", "-t", help="The page's heading")
    ] = None,
    force: Force = False,
    code_path: LongCode = None,
    gpu_id: GpuId = -1,
) -> None:
    """
    Write an HTML page of the scores of a text's spans.

    It shows the predicted spans, a heat map of all scores, and the parts of the best scores. The
    page is one file and needs no network.

    Example:

        python -m spacy llm2ner explain training/model-best "Ada met Babbage."

    DOCS: docs/cli.md#explain
    """
    msg = Printer()
    import_code(code_path)
    try:
        setup_gpu(gpu_id, silent=False)
        out = out / _PAGE if out.is_dir() else out
        check_free(out, force)
        nlp = util.load_model(model)
        path = Path(text)
        if len(text) < 256 and path.suffix == ".txt" and path.is_file():
            text = path.read_text(encoding="utf8")
        page = explain_text(nlp, text, component=component, limit=limit, title=title)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf8")
    except (ValueError, OSError, ImportError) as error:
        msg.fail(f"Can't explain the scores of {model}", str(error), exits=1)
    msg.good(f"Wrote {out}")


def explain_text(
    nlp: Language,
    text: str,
    *,
    component: str | None = None,
    limit: int = 30,
    title: str | None = None,
) -> str:
    """Render the page with the scores of a text's spans.

    nlp (Language): The pipeline.
    text (str): The text.
    component (Optional[str]): The name of the component; None for the first `llm2ner` component.
    limit (int): The number of spans, the most probable first, whose scores are split into parts.
    title (Optional[str]): The heading; None for one with the pipeline's name.
    RETURNS (str): A whole HTML document.
    RAISES (ValueError): If the text is empty or too long, or if there is no such component
        (E906-E909).
    """
    doc = nlp(text)
    if not 0 < len(doc) <= _MOST_TOKENS:
        raise ValueError(Errors.E906.format(tokens=f"{len(doc):,}", most=f"{_MOST_TOKENS:,}"))
    name = component or _first(nlp)
    if name not in nlp.pipe_names:
        raise ValueError(Errors.E908.format(name=name, components=_components(nlp)))
    pipe: Any = nlp.get_pipe(name)
    explained = split_scores(pipe.model, doc) if isinstance(pipe, EntityPipe) else None
    if explained is None:
        raise ValueError(Errors.E909.format(name=name))
    temperatures = pipe._temperatures()
    page = ExplanationPage(
        title=title or f"Span scores of {nlp.meta['lang']}_{nlp.meta['name']}",
        facts=[("Component", name), *_facts(pipe), ("Tokens", f"{len(doc):,}")],
        text=doc.text,
        tokens=[token.text for token in doc],
        token_starts=[token.idx for token in doc],
        labels=list(pipe.labels),
        marks=_marks(doc, pipe.key),
        logits=explained.logits,
        temperatures=temperatures,
        thresholds=pipe._thresholds(),
        parts=explained.parts,
        details=explained.details,
        values=explained.values,
        chosen=choose_spans(explained.logits, limit, temperatures),
        language=nlp.lang or "en",
    )
    return render_explanation_page(page)


def _first(nlp: Language) -> str:
    names = [name for name in nlp.pipe_names if nlp.get_pipe_meta(name).factory == _FACTORY]
    if not names:
        raise ValueError(Errors.E907.format(factory=_FACTORY, components=_components(nlp)))
    return names[0]


def _components(nlp: Language) -> str:
    return ", ".join(nlp.pipe_names) or "none"


def _marks(doc: Doc, key: str) -> list:
    if key not in doc.spans:
        return [make_mark(doc, span, span._.get("score")) for span in doc.ents]
    # Two labels on the same tokens share `span._.score`, but not the scores of the group.
    scores = doc.spans[key].attrs.get("scores", [span._.get("score") for span in doc.spans[key]])
    return [
        make_mark(doc, span, None if score is None else float(score))
        for span, score in zip(doc.spans[key], scores, strict=True)
    ]


def _facts(pipe: EntityPipe) -> list[tuple[str, str]]:
    facts = []
    for node in pipe.model.walk():
        for shim in node.shims:
            llm = getattr(shim, "llm", None)
            if llm is not None:
                layers = ", ".join(str(layer) for layer in llm.layers)
                read = f"{Path(llm.settings.name).name}, layers {layers}"
                facts.append(("LLM", f"{read}, read {llm.settings.reading}"))
    facts.append(("Threshold", _shown(pipe.threshold)))
    if pipe.temperature != DEFAULT_TEMPERATURE:
        facts.append(("Temperature", _shown(pipe.temperature)))
    facts.append(("Decoding", str(pipe.settings["decoding"])))
    return facts


def _shown(value: PerLabel) -> str:
    return threshold_text(value).replace(",", ", ").replace("=", " ")
