"""`python -m spacy llm2ner import-hf`: convert a token-classification model to a pipeline."""

import warnings
from pathlib import Path
from typing import Annotated, Any, Optional

import spacy
import typer
from spacy.language import Language
from wasabi import Printer

from .output import Force, check_free

FACTORY = "llm2ner_tagger"


def import_hf(
    name: Annotated[str, typer.Argument(help="Hub id or folder of a token-classification model")],
    output_path: Annotated[Path, typer.Argument(help="Output folder for the pipeline")],
    lang: Annotated[str, typer.Option("--lang", "-l", help="Language of the tokenizer")] = "en",
    words: Annotated[
        str,
        typer.Option(
            "--words",
            help='"pipeline": words as in transformers, for identical results; "tokens": those of '
            "spaCy, better for training",
        ),
    ] = "pipeline",
    revision: Annotated[
        Optional[str], typer.Option("--revision", help="Branch, tag or commit of a hub id")
    ] = None,
    annotate: Annotated[
        str, typer.Option("--annotate", help='Annotation to write: "ents", "spans" or "both"')
    ] = "ents",
    force: Force = False,
) -> None:
    """
    Make a pipeline from a token-classification checkpoint.

    It has the checkpoint's labels and contains the model: the checkpoint's folder is no longer
    needed. Its predictions are those of transformers.pipeline("token-classification",
    aggregation_strategy="first"), and it can be trained further with `spacy train`.

    Example:

        python -m spacy llm2ner import-hf dslim/bert-base-NER my_ner

    DOCS: docs/cli.md#import-hf
    """
    msg = Printer()
    try:
        check_free(output_path, force)
        nlp, reports = import_checkpoint(
            name, lang=lang, words=words, revision=revision, annotate=annotate
        )
    except (ValueError, OSError, ImportError) as error:
        msg.fail(f"Can't import {name}", str(error), exits=1)
    pipe: Any = nlp.get_pipe(FACTORY)
    nlp.to_disk(output_path)
    size = sum(f.stat().st_size for f in output_path.rglob("*") if f.is_file())
    msg.info(f"Read {name}")
    table = {"Labels": ", ".join(pipe.labels), "Tags": ", ".join(pipe.tag_set.tags)}
    msg.table({**table, "On disk": f"{size / 1e6:,.1f} MB"}, aligns=("l", "l"))
    for report in reports:
        msg.warn(report)
    msg.good(f"Wrote {output_path}")


def import_checkpoint(
    name: str,
    *,
    lang: str = "en",
    words: str = "pipeline",
    revision: str | None = None,
    annotate: str = "ents",
) -> tuple[Language, list[str]]:
    """Make a blank pipeline with the checkpoint as its only component.

    name (str): Hub id or folder of a token-classification model.
    lang (str): The language of spaCy's tokenizer.
    words (str): "pipeline" or "tokens", see `spacy_llm2ner.HFTokenClassifier.v1`.
    revision (Optional[str]): Branch, tag or commit of a hub id.
    annotate (str): "ents", "spans" or "both".
    RETURNS (Tuple[Language, List[str]]): The pipeline, and warnings about the checkpoint's labels.
    RAISES (ValueError, OSError, ImportError): If the checkpoint cannot be loaded.
    """
    nlp = spacy.blank(lang)
    model = {
        "@architectures": "spacy_llm2ner.HFTokenClassifier.v1",
        "name": name,
        "revision": revision,
        "words": words,
    }
    nlp.add_pipe(FACTORY, config={"model": model, "decoding": "argmax", "annotate": annotate})
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message=r"\[L2N-W26\]")
        nlp.initialize()
    return nlp, [str(warning.message) for warning in caught if "L2N-W26" in str(warning.message)]
