"""`python -m spacy llm2ner debug-data`: check the training data of a config for a component.

spaCy's `debug data` supports the labels of spaCy's factories only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer
from spacy import util
from spacy.cli._util import import_code, parse_config_overrides, show_validation_error
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.util import registry, resolve_dot_names
from wasabi import Printer

from ..architectures.shims import TunedShim
from ..llm.alignment import token_boundaries
from ..pipeline.base import EntityPipe
from ..pipeline.gold import annotated_spans, read_gold, unsayable
from ..pipeline.span_recognizer import MAX_SPAN_TOKENS_CAP, SpanRecognizer
from ..pipeline.token_tagger import TokenTagger
from ..tags import TagSet

# Labels with fewer training spans are reported.
_FEW_SPANS = 50


@dataclass
class DataReport:
    """Counts over the examples of one corpus.

    docs, tokens, spans (int): Their numbers.
    unannotated (int): Docs without entity annotation, which are not trained on.
    empty (int): Annotated docs without a span: negative examples.
    labels (Counter): Spans per label.
    lengths (Counter): Spans per length in tokens.
    lost (int): Gold spans that do not align with the tokens of the pipeline's tokenizer.
    nested, crossing (int): Pairs of nested spans; pairs of spans that overlap without nesting.
    unread (int): Tokens other than whitespace that no piece of the LLM touches.
    windows (int): Docs that need more than one window.
    pieces (int): Pieces of the LLM in one copy of the text.
    longest (int): Pieces of the longest doc.
    unsayable (int): For a tagger: spans that overlap another one or have no representation in its
        tags.
    """

    docs: int = 0
    tokens: int = 0
    spans: int = 0
    unannotated: int = 0
    empty: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    nested: int = 0
    crossing: int = 0
    unread: int = 0
    windows: int = 0
    pieces: int = 0
    longest: int = 0
    unsayable: int = 0

    def longer_than(self, width: int) -> int:
        """Count the spans that are longer than `width` tokens."""
        return sum(count for length, count in self.lengths.items() if length > width)


@dataclass(frozen=True)
class ReadBy:
    """The tokenizer and the window (in pieces) of the LLM that will read the texts."""

    tokenizer: Any
    window: int

    @classmethod
    def of_component(cls, pipe: EntityPipe) -> ReadBy | None:
        """Return those of a component; None if it listens to a `transformer` component."""
        for shim in pipe._llm_shims():
            return cls(shim.llm.tokenizer, shim.llm.window)
        for tuned in pipe._shims(TunedShim):
            reader = tuned.reader
            # The window is known without loading the LLM, unlike the direction of its attention.
            return cls(reader.tokenizer, reader.window)
        return None


def report_examples(
    examples: Iterable[Example],
    spans_key: str,
    llm: ReadBy | None,
    tags_for: Callable[[Iterable[str]], TagSet] | None = None,
) -> DataReport:
    """Compute the counts of a corpus; of the LLM, only the tokenizer is needed.

    examples (Iterable[Example]): The corpus.
    spans_key (str): The component's span group.
    llm (Optional[ReadBy]): The LLM that will read the texts.
    tags_for (Optional[Callable]): For a tagger: function from labels to its tags.
    RETURNS (DataReport): The counts.
    """
    report = DataReport()
    for example in examples:
        report.docs += 1
        report.tokens += len(example.predicted)
        if annotated_spans(example.reference, spans_key) is None:
            report.unannotated += 1
        gold = read_gold(example, spans_key)
        report.lost += gold.lost
        report.spans += len(gold.spans) + gold.lost
        report.empty += not gold.spans and bool(gold.known.any())
        report.labels.update(label for _, _, label in gold.spans)
        report.lengths.update(end - start for start, end, _ in gold.spans)
        if tags_for is not None and gold.spans:
            report.unsayable += unsayable(gold, tags_for({label for _, _, label in gold.spans}))
        nested, crossing = _overlaps(gold.spans)
        report.nested += nested
        report.crossing += crossing
        if llm is not None and len(example.predicted):
            _count_pieces(report, example, llm)
    return report


def _overlaps(spans: Sequence[tuple[int, int, str]]) -> tuple[int, int]:
    """Count pairs of nested and of crossing spans."""
    nested = crossing = 0
    ordered = sorted(spans, key=lambda span: (span[0], -span[1]))
    for index, (_, end, _) in enumerate(ordered):
        for other_start, other_end, _ in ordered[index + 1 :]:
            if other_start >= end:
                break
            if other_end <= end:
                nested += 1
            else:
                crossing += 1
    return nested, crossing


def _count_pieces(report: DataReport, example: Example, llm: ReadBy) -> None:
    from ..llm.alignment import align

    text = example.predicted.text
    encoded = llm.tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    touched = align(text, encoded["offset_mapping"], token_boundaries(example.predicted)).touched
    space = np.array([token.is_space for token in example.predicted], dtype=bool)
    report.pieces += len(encoded["input_ids"])
    report.longest = max(report.longest, len(encoded["input_ids"]))
    report.unread += int((~touched & ~space).sum())
    report.windows += len(encoded["input_ids"]) > llm.window


def debug_data(
    ctx: typer.Context,
    config_path: Annotated[Path, typer.Argument(help="Training config", exists=True)],
    component: Annotated[
        str, typer.Option("--component", "-p", help="Name of the component; default: the only one")
    ] = "",
    code_path: Annotated[
        Optional[Path], typer.Option("--code", "-c", help="Python file with registered functions")
    ] = None,
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
        rows += [
            ("LLM pieces (one copy)", train.pieces, dev.pieces),
            ("  of the longest doc", train.longest, dev.longest),
            (f"docs over one window ({llm.window})", train.windows, dev.windows),
            ("tokens without a piece", train.unread, dev.unread),
        ]
    shown = [(name, f"{a:,}", f"{b:,}") for name, a, b in rows]
    msg.table(shown, header=("", "train", "dev"), divider=True, aligns=("l", "r", "r"))
    labels = sorted({*train.labels, *dev.labels})
    per_label = [(label, f"{train.labels[label]:,}", f"{dev.labels[label]:,}") for label in labels]
    msg.table(per_label, header=("label", "train", "dev"), divider=True, aligns=("l", "r", "r"))
    if isinstance(pipe, SpanRecognizer):
        special, learnt = _band_warnings(pipe, train, dev)
    elif isinstance(pipe, TokenTagger):
        special, learnt = _tag_warnings(pipe, train, dev)
    else:
        special, learnt = [], ""
    _print_verdicts(msg, special, _common_warnings(pipe, train, dev), learnt)


def _band_warnings(
    pipe: SpanRecognizer, train: DataReport, dev: DataReport
) -> tuple[list[str], str]:
    """Return warnings about spans that a span scorer cannot learn, and its setting."""
    width = pipe.max_span_tokens or min(max(train.lengths, default=0), MAX_SPAN_TOKENS_CAP)
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
