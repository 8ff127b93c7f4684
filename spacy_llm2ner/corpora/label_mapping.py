"""Other names for labels, when a user asks for them: a file of label -> label, or a shipped map."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spacy.tokens import Doc, Span

from ..errors import Errors, reason
from .documents import Sentence
from .findings import Findings
from .streams import Item, tidy

SHIPPED = {"tner": Path(__file__).parent / "label_maps" / "tner.json"}
"""Name -> file of a map that comes with the package: "tner", the label set that T-NER unifies the
labels of its datasets to."""


@dataclass
class LabelMap:
    """Label -> the label that it becomes.

    labels (Dict[str, Optional[str]]): Label -> label; None if its spans are left out.
    unknown (Counter): Labels without an entry, which stay as they are, with the number of spans.
    left_out (Counter): Labels that become nothing, with the number of spans.
    """

    labels: dict[str, str | None]
    unknown: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    @classmethod
    def load(cls, name: str | Path) -> LabelMap:
        """Read a map.

        name (Union[str, Path]): The name of a shipped map; a JSON file with an object label ->
            label, or null to leave spans out; a CSV file with a label and its new one (or nothing)
            per line.
        RETURNS (LabelMap): The map.
        RAISES (ValueError): If it cannot be read, or is no map of labels (E762).
        """
        path = SHIPPED.get(str(name), Path(name))
        try:
            text = path.read_text(encoding="utf-8-sig")
            found = _csv(text) if path.suffix == ".csv" else json.loads(text)
        except (OSError, ValueError) as error:
            shipped = ", ".join(SHIPPED)
            problem = reason(error)
            raise ValueError(
                Errors.E762.format(name=name, problem=problem, shipped=shipped)
            ) from error
        if not isinstance(found, dict) or not all(
            new is None or (isinstance(new, str) and new.strip()) for new in found.values()
        ):
            problem = "a label becomes something else than a name or null"
            shipped = ", ".join(SHIPPED)
            raise ValueError(Errors.E762.format(name=name, problem=problem, shipped=shipped))
        return cls(found)

    def clear(self) -> None:
        """Forget the counts, before the data is read again."""
        self.unknown.clear()
        self.left_out.clear()

    def of(self, label: str) -> str | None:
        """The label that a label becomes, which is counted.

        label (str): The label.
        RETURNS (Optional[str]): The new one; None if its span is left out.
        """
        if label not in self.labels:
            self.unknown[label] += 1
            return label
        new = self.labels[label]
        if new is None:
            self.left_out[label] += 1
        return new

    def items(self, items: Iterable[Item], findings: Findings, source: str) -> Iterator[Item]:
        """Rename the labels of sentences.

        items (Iterable[Union[Sentence, DocumentStart]]): A stream.
        findings (Findings): Counts spans that become the same.
        source (str): The file, for messages.
        YIELDS (Union[Sentence, DocumentStart]): The stream with new labels.
        """
        for item in items:
            if isinstance(item, Sentence) and item.spans:
                renamed = [(start, end, self.of(label)) for start, end, label in item.spans]
                spans = [(start, end, label) for start, end, label in renamed if label]
                where = f"{source}, line {item.line}"
                item = replace(item, spans=tidy(spans, findings, where))
            yield item

    def doc(self, doc: Doc) -> Doc:
        """Rename the labels of a Doc, in doc.ents and all of doc.spans.

        doc (Doc): The Doc, which is changed.
        RETURNS (Doc): The same Doc.
        """
        unannotated = [doc[token.i : token.i + 1] for token in doc if not token.ent_iob]
        # Labels are counted once, in the group that has all spans.
        groups: dict[str, list[Span]] = {
            key: [span for old in group if (span := self._span(doc, old))]
            for key, group in doc.spans.items()
        }
        counted = self if not groups else LabelMap(self.labels)
        ents = [span for old in doc.ents if (span := counted._span(doc, old))]
        doc.set_ents(ents, missing=unannotated, default="outside")
        for key, spans in groups.items():
            doc.spans[key] = spans
        return doc

    def _span(self, doc: Doc, old: Any) -> Span | None:
        label = self.of(old.label_)
        if label is None:
            return None
        return Span(doc, old.start, old.end, label=label, kb_id=old.kb_id, span_id=old.id)


def _csv(text: str) -> dict[str, str | None]:
    rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    if not all(len(row) == 2 and row[0].strip() for row in rows):
        raise ValueError("a line has not two columns, a label and its new one")
    return {old.strip(): new.strip() or None for old, new in rows}
