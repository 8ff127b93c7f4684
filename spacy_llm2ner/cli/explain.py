"""`python -m spacy llm2ner explain`: a pipeline and a text -> a page on what it sees there."""

from pathlib import Path
from typing import Annotated, Optional

import typer
from spacy import util
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import Printer

from ..reports.error_classes import make_mark
from ..reports.explanation_page import ExplanationPage, choose_spans, render_explanation_page
from ..reports.score_parts import explain as take_apart

_PAGE = "explain.html"
# A page of more cells than this would be slow to open.
_MOST_TOKENS = 2_000


def explain(
    model: Annotated[str, typer.Argument(help="Name or path of a trained pipeline")],
    text: Annotated[str, typer.Argument(help="The text, or the path of a text file")],
    out: Annotated[Path, typer.Argument(help="The HTML file to write")] = Path(_PAGE),
    component: Annotated[
        Optional[str], typer.Option("--component", "-c", help="The component; default: the first")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-l", min=1, help="How many spans to take apart")
    ] = 30,
    title: Annotated[
        Optional[str], typer.Option("--title", "-t", help="The page's heading")
    ] = None,
) -> None:
    """
    Write a page that shows what a pipeline sees in a text: the spans that it finds, the scores of
    all spans as a heat map, and what the best scores are made of. It needs no network and no other
    file.
    """
    msg = Printer()
    try:
        nlp = util.load_model(model)
        path = Path(text)
        if len(text) < 256 and path.suffix == ".txt" and path.is_file():
            text = path.read_text(encoding="utf8")
        page = explain_text(nlp, text, component=component, limit=limit, title=title)
        out = out / _PAGE if out.is_dir() else out
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf8")
    except (ValueError, OSError, ImportError) as error:
        msg.fail(f"Can't explain what {model} sees", str(error), exits=1)
    msg.good(f"Wrote {out}")


def explain_text(
    nlp: Language,
    text: str,
    *,
    component: str | None = None,
    limit: int = 30,
    title: str | None = None,
) -> str:
    """The page on one text.

    nlp: the pipeline.
    text: the text.
    component: the name of the component; None for the first whose scores can be taken apart.
    limit: how many spans to take apart, the most probable first.
    title: the heading; None for the pipeline's name.
    RETURNS: a whole HTML document.
    RAISES: ValueError, in sentences, if there is no such component or the text is too long.
    """
    doc = nlp(text)
    if not 0 < len(doc) <= _MOST_TOKENS:
        raise ValueError(
            f"the text has {len(doc):,} tokens; a page shows 1 to {_MOST_TOKENS:,}. Give a part."
        )
    name = component or _first(nlp)
    if name not in nlp.pipe_names:
        raise ValueError(
            f"the pipeline has no component '{name}'; its components are "
            f"{', '.join(nlp.pipe_names) or 'none'}."
        )
    pipe = nlp.get_pipe(name)
    explained = take_apart(pipe.model, doc)  # type: ignore[attr-defined]
    if explained is None:
        raise ValueError(
            f"the scores of the component '{name}' cannot be taken apart: a model of "
            f"SpanRecognizer.v1 with SpanScorer.v1, or ToMMeR.v1, is needed."
        )
    key = getattr(pipe, "key", "sc")
    page = ExplanationPage(
        title=title or f"What {nlp.meta['lang']}_{nlp.meta['name']} sees",
        facts=[("Component", name), *_facts(pipe), ("Tokens", f"{len(doc):,}")],
        text=doc.text,
        tokens=[token.text for token in doc],
        token_starts=[token.idx for token in doc],
        labels=list(pipe.labels),  # type: ignore[attr-defined]
        marks=_marks(doc, key),
        logits=explained.logits,
        parts=explained.parts,
        details=explained.details,
        values=explained.values,
        chosen=choose_spans(explained.logits, limit),
        language=nlp.lang or "en",
    )
    return render_explanation_page(page)


def _first(nlp: Language) -> str:
    names = [name for name in nlp.pipe_names if nlp.get_pipe_meta(name).factory == "llm2ner"]
    if not names:
        raise ValueError(
            f"the pipeline has no 'llm2ner' component; its components are "
            f"{', '.join(nlp.pipe_names) or 'none'}."
        )
    return names[0]


def _marks(doc: Doc, key: str) -> list:
    spans = list(doc.spans[key]) if key in doc.spans else list(doc.ents)
    return [make_mark(doc, span, span._.get("score")) for span in spans]


def _facts(pipe: object) -> list[tuple[str, str]]:
    facts = []
    for node in pipe.model.walk():  # type: ignore[attr-defined]
        for shim in node.shims:
            llm = getattr(shim, "llm", None)
            if llm is not None:
                layers = ", ".join(str(layer) for layer in llm.layers)
                read = f"{Path(llm.settings.name).name}, layers {layers}"
                facts.append(("LLM", f"{read}, read {llm.settings.reading}"))
    cfg = pipe.cfg  # type: ignore[attr-defined]
    facts.append(("Threshold", str(cfg.get("threshold"))))
    facts.append(("Decoding", str(cfg.get("decoding"))))
    return facts
