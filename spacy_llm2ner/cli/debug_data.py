"""`python -m spacy llm2ner debug-data`: check the training data of a config for a component.

spaCy's `debug data` supports the labels of spaCy's factories only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from spacy import util
from spacy.cli._util import import_code, parse_config_overrides, show_validation_error
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.util import registry, resolve_dot_names
from wasabi import Printer

from ..architectures.shims import TunedShim
from ..pipeline.base import EntityPipe
from ..pipeline.span_recognizer import MAX_SPAN_TOKENS_CAP, SpanRecognizer
from ..pipeline.token_tagger import TokenTagger
from ..reports.data_report import SHOWN, DataReport, ReadBy, report_examples
from ..tags import TagSet
from .options import Code

# Labels with fewer training spans are reported.
_FEW_SPANS = 20
# Count -> the heading of its examples.
_HEADINGS = {
    "unannotated": "docs without annotation",
    "empty": "annotated docs without spans",
    "lost": "spans that are not aligned with tokens",
    "nested": "nested pairs",
    "crossing": "crossing pairs",
    "unsayable": "spans not expressible by tags",
    "windows": "docs over one window",
    "unread": "tokens without a piece",
    "same": "texts of an earlier doc",
    "near": "texts nearly those of an earlier doc",
    "known": "texts of the training data",
    "nearly_known": "texts nearly those of the training data",
}


def debug_data(
    ctx: typer.Context,
    config_path: Annotated[Path, typer.Argument(help="Training config", exists=True)],
    component: Annotated[
        str, typer.Option("--component", "-p", help="Name of the component; default: the only one")
    ] = "",
    code_path: Code = None,
) -> None:
    """
    Check training data: labels, lengths, lost annotation.

    Settings of the config can be overridden as in `spacy train`: --paths.train FILE.

    Example:

        python -m spacy llm2ner debug-data config.cfg --paths.train train.spacy

    DOCS: docs/cli.md#debug-data
    """
    overrides = parse_config_overrides(ctx.args)
    import_code(code_path)
    msg = Printer()
    with show_validation_error(config_path):
        config = util.load_config(config_path, overrides=overrides)
        nlp = util.load_model_from_config(config)
    pipe = find_component(nlp, component, msg)
    training = registry.resolve(nlp.config.interpolate()["training"], schema=ConfigSchemaTraining)
    names = (training["train_corpus"], training["dev_corpus"])
    corpora = resolve_dot_names(nlp.config.interpolate(), list(names))
    try:
        llm, tags_for = ReadBy.of_component(pipe), _tags_for(pipe)
        train, dev = (report_examples(corpus(nlp), pipe.key, llm, tags_for) for corpus in corpora)
        dev.compare(train)
    except (OSError, ValueError) as error:
        msg.fail("The training data or the LLM cannot be read.", error, exits=1)
    _print_reports(msg, pipe, train, dev, llm)


def find_component(nlp: Language, name: str, msg: Printer) -> EntityPipe:
    """Return the component `name`, or the only one; else end the command with an error."""
    found = {n: pipe for n, pipe in nlp.pipeline if isinstance(pipe, EntityPipe)}
    if name and name not in found:
        msg.fail(
            f"There is no llm2ner component '{name}' in the pipeline {nlp.pipe_names}.", exits=1
        )
    if not found:
        msg.fail(f"There is no llm2ner component in the pipeline {nlp.pipe_names}.", exits=1)
    if not name and len(found) > 1:
        msg.fail(
            f"Several llm2ner components: choose one by --component ({', '.join(found)}).",
            exits=1,
        )
    return found[name] if name else next(iter(found.values()))


def _own_tags(pipe: TokenTagger) -> list[str]:
    """Return the tags of a checkpoint, before `initialize` adopts them."""
    if "load_tags" not in pipe.model.attrs:
        return []
    return list(pipe._shims(TunedShim)[0].reader.tags)


def _tags_for(pipe: EntityPipe) -> Callable[[Iterable[str]], TagSet] | None:
    """Return a function from labels to a tagger's tags; None for other components."""
    if not isinstance(pipe, TokenTagger):
        return None
    own, scheme = _own_tags(pipe), pipe.scheme
    known = TagSet(tuple(own)).labels

    def tags_for(labels: Iterable[str]) -> TagSet:
        new = TagSet.of_labels((x for x in labels if x not in known), scheme).tags
        return TagSet((*own, *new[1:])) if own else TagSet(new)

    return tags_for


def _print_reports(
    msg: Printer, pipe: EntityPipe, train: DataReport, dev: DataReport, llm: ReadBy | None
) -> None:
    msg.divider(f"Data of '{pipe.name}'")
    rows: list[tuple[str, Any, Any]] = [
        ("docs", train.docs, dev.docs),
        ("docs without annotation", train.unannotated, dev.unannotated),
        ("annotated docs without spans", train.empty, dev.empty),
        ("texts of an earlier doc", train.same, dev.same),
        ("  nearly the same", train.near, dev.near),
        ("texts of the training data", "", dev.known),
        ("  nearly the same", "", dev.nearly_known),
        ("tokens", train.tokens, dev.tokens),
        ("gold spans", train.spans, dev.spans),
        ("  not aligned with tokens", train.lost, dev.lost),
        ("  nested pairs", train.nested, dev.nested),
        ("  crossing pairs", train.crossing, dev.crossing),
        ("  longest, tokens", max(train.lengths, default=0), max(dev.lengths, default=0)),
    ]
    if isinstance(pipe, TokenTagger):
        rows.append(("  not expressible by tags", train.unsayable, dev.unsayable))
    if llm is not None:
        called = f"LLM '{llm.member}'" if llm.member else "LLM"
        rows += [
            (f"{called} pieces (one copy)", train.pieces, dev.pieces),
            ("  of the longest doc", train.longest, dev.longest),
            (f"docs over one window ({llm.window})", train.windows, dev.windows),
            ("tokens without a piece", train.unread, dev.unread),
        ]
    shown = [(name, a if a == "" else f"{a:,}", f"{b:,}") for name, a, b in rows]
    msg.table(shown, header=("", "train", "dev"), divider=True, aligns=("l", "r", "r"))
    if llm is not None and llm.others:
        msg.text(f"Pieces and windows of the other LLMs ({', '.join(llm.others)}) are not counted.")
    labels = sorted({*train.labels, *dev.labels})
    per_label = [(label, f"{train.labels[label]:,}", f"{dev.labels[label]:,}") for label in labels]
    msg.table(per_label, header=("label", "train", "dev"), divider=True, aligns=("l", "r", "r"))
    _print_examples(msg, pipe, train, dev)
    if isinstance(pipe, SpanRecognizer):
        special, learnt = _band_warnings(pipe, train, dev)
    elif isinstance(pipe, TokenTagger):
        special, learnt = _tag_warnings(pipe, train, dev)
    else:
        special, learnt = [], ""
    _print_verdicts(msg, special, _common_warnings(pipe, train, dev), learnt)


def _print_examples(msg: Printer, pipe: EntityPipe, train: DataReport, dev: DataReport) -> None:
    """Print the first examples of each count, and of labels with few examples."""
    blocks = []
    for name, report in (("training", train), ("dev", dev)):
        found = {heading: report.examples.get(key, []) for key, heading in _HEADINGS.items()}
        if isinstance(pipe, SpanRecognizer):
            width = _band_width(pipe, train)
            heading = f"spans longer than max_span_tokens ({width})"
            found[heading] = report.examples_longer_than(width)
        blocks += [(f"{name}: {heading}", lines) for heading, lines in found.items() if lines]
    for label, count in sorted(train.labels.items()):
        if count < _FEW_SPANS:
            blocks.append((f"training: label {label}", train.examples[f"label {label}"]))
    for label in sorted(set(dev.labels) - set(train.labels)):
        blocks.append((f"dev: label {label}", dev.examples[f"label {label}"]))
    if blocks:
        msg.divider(f"Examples (the first {SHOWN} of each)")
    for heading, lines in blocks:
        msg.text(heading)
        for line in lines:
            print(f"  {line}")
        print()


def _band_width(pipe: SpanRecognizer, train: DataReport) -> int:
    """The longest spans that a span scorer will learn, in tokens."""
    return pipe.max_span_tokens or min(max(train.lengths, default=0), MAX_SPAN_TOKENS_CAP)


def _band_warnings(
    pipe: SpanRecognizer, train: DataReport, dev: DataReport
) -> tuple[list[str], str]:
    """Return warnings about spans that a span scorer cannot learn, and its setting."""
    width = _band_width(pipe, train)
    warnings = [
        f"{long} of {report.spans} {name} spans are longer than max_span_tokens ({width})."
        for name, report in (("training", train), ("dev", dev))
        if (long := report.longer_than(width))
    ]
    if train.nested + train.crossing and pipe.settings["decoding"] in ("flat", "greedy"):
        warnings.append(
            f"Gold spans overlap, but decoding = '{pipe.settings['decoding']}' finds only disjoint "
            f"spans: set it to 'nested' or 'all'."
        )
    return warnings, f"max_span_tokens = {width}"


def _tag_warnings(pipe: TokenTagger, train: DataReport, dev: DataReport) -> tuple[list[str], str]:
    """Return warnings about spans that tags cannot express, and the tags."""
    warnings = [
        f"{report.unsayable} of {report.spans} {name} spans overlap another one, or cannot be "
        f"expressed by the tags: of overlapping spans, the first and longest one is used. For "
        f"overlapping spans, use the component 'llm2ner'."
        for name, report in (("training", train), ("dev", dev))
        if report.unsayable
    ]
    own = TagSet(tuple(_own_tags(pipe)))
    if own.tags:
        for what, labels in (
            (
                "The checkpoint has no label {}: its tags are initialised anew.",
                [label for label in sorted(train.labels) if label not in own.labels],
            ),
            (
                "No training span has the checkpoint's label {}: it may be forgotten.",
                [label for label in own.labels if train.spans and label not in train.labels],
            ),
            (
                "The checkpoint has no B- tag for {}: touching entities are read as one.",
                [label for label in own.without_begin if label in train.labels],
            ),
        ):
            warnings += [what.format(label) for label in labels]
    return warnings, f"{'its own' if own.tags else pipe.scheme} tags"


def _common_warnings(pipe: EntityPipe, train: DataReport, dev: DataReport) -> list[str]:
    warnings = []
    if not train.spans:
        warnings.append(
            f"No gold spans in the training data (doc.spans['{pipe.key}'] or doc.ents)."
        )
    for name, report in (("training", train), ("dev", dev)):
        if report.lost:
            warnings.append(
                f"{report.lost} of {report.spans} {name} spans do not begin and end at token "
                f"boundaries."
            )
        if report.unread:
            warnings.append(f"{report.unread} {name} tokens have no piece of the LLM's tokenizer.")
    if dev.known + dev.nearly_known:
        warnings.append(
            f"{dev.known} of {dev.docs} dev texts are in the training data, and "
            f"{dev.nearly_known} nearly: scores on them say little about new texts."
        )
    for label in sorted(set(dev.labels) - set(train.labels)):
        warnings.append(f"Label {label} is in the dev data, but not in the training data.")
    for label, count in sorted(train.labels.items()):
        if count < _FEW_SPANS:
            warnings.append(f"Label {label} has only {count} training spans.")
    return warnings


def _print_verdicts(msg: Printer, special: list[str], common: list[str], learnt: str) -> None:
    for sentence in [*special, *common]:
        msg.warn(sentence)
    if not special and not common:
        msg.good(f"Nothing is lost: all gold spans can be learnt ({learnt}).")
