"""WebAnno TSV 3, as WebAnno and INCEpTION write it: tokens with offsets, spans of several layers.

    #FORMAT=WebAnno TSV 3.3
    #T_SP=de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity|identifier|value

    #Text=Ms. Haag plays
    1-1    0-3    Ms.    *       PER[1]|PERpart[2]
    1-2    4-8    Haag   *       PER[1]

A number in brackets marks the units of one span, "|" separates stacked spans, a number after the
token's is a part of it. Offsets count UTF-16 units of the whole document.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Errors
from .documents import CorpusError, DocumentStart, Sentence
from .lines import Lines
from .offsets import Counting, RawSpan, RawText
from .outgoing import OutText
from .streams import Item, Stream, shown_span
from .token_spans import SpanAligner
from .values import Source, files_in, listed

WEBANNO_READER = "spacy_llm2ner.WebAnnoCorpus.v1"
NAMED_ENTITY = "de.tudarmstadt.ukp.dkpro.core.api.ner.type.NamedEntity"
_MARK = "#FORMAT=WebAnno TSV 3"
_NONE, _NULL = "_", "*"
_STACK = re.compile(r"(?<!\\)\|")
_NUMBERED = re.compile(r"(?P<value>.*?)(?<!\\)\[(?P<number>\d+)\]")
_UNIT = re.compile(r"\d+-\d+(?P<part>\.\d+)?")


class WebAnnoError(CorpusError):
    """Raised for a file that is not WebAnno TSV 3, or does not have the layer."""


@dataclass(frozen=True)
class _Layer:
    """A column of values: the layer and the feature that it shows."""

    layer: str
    feature: str
    column: int


@dataclass
class _Block:
    """The lines of one sentence."""

    text: list[str] = field(default_factory=list)
    units: list[tuple[int, str, int, int, str, list[str]]] = field(default_factory=list)


class WebAnnoStream(Stream):
    """The sentences of a WebAnno TSV file, or of a folder of them.

    path (Path): The file or folder.
    layer (Optional[str]): The layer, by its name or the last part of it, and a feature after a "|"
        if it has several; None for named entities or, if there is no such layer, the only one.
    fix (str): What becomes of spans of parts of tokens.
    """

    border = "file"

    def __init__(self, path: Path, *, layer: str | None = None, fix: str = "drop") -> None:
        super().__init__(Source(str(path), "line", WebAnnoError))
        self.path = path
        self.layer = layer
        self.fix = fix

    def items(self) -> Iterator[Item]:
        """Read the files.

        YIELDS (Union[Sentence, DocumentStart]): For each file its start, then its sentences.
        RAISES (WebAnnoError): With file and line, for what cannot be read.
        """
        found = False
        for path in files_in(self.path, ".tsv") if self.path.is_dir() else [self.path]:
            yield DocumentStart(1, named=True)
            for sentence in _File(path, self.layer, self.fix, self).sentences():
                found = True
                yield sentence
        if not found:
            expected = "sentences of WebAnno TSV 3"
            raise WebAnnoError(Errors.E757.format(source=self.source.name, expected=expected))


class _File:
    """One file."""

    def __init__(self, path: Path, layer: str | None, fix: str, stream: WebAnnoStream) -> None:
        self.source = Source(str(path), "line", WebAnnoError)
        self.lines = Lines(path, self.source)
        self.wanted = layer
        self.findings = stream.findings
        self.aligner = SpanAligner(Counting(), fix, stream.findings)
        self.before: set[tuple[int, str]] = set()  # the spans of the sentence before

    def sentences(self) -> Iterator[Sentence]:
        layers: list[_Layer] = []
        chosen: list[_Layer] | None = None
        n_columns = 0
        block = _Block()
        for number, raw in enumerate(self.lines, 1):
            line = raw.rstrip("\r")
            if number == 1 and not line.startswith(_MARK):
                self.source.fail(Errors.E754, 1, expected=f"{_MARK}.3", found=line[:60])
            if line.startswith(("#T_SP=", "#T_CH=", "#T_RL=")):
                new = _columns(line, n_columns)
                n_columns += len(new)
                layers += new if line.startswith("#T_SP=") else []
            elif line.startswith("#Text="):
                block.text.append(line.removeprefix("#Text="))
            elif line.startswith("#") and not block.units:
                continue
            elif line:
                chosen = chosen or self._choose(layers)
                block.units.append(self._unit(line, number))
            elif block.units:
                yield self._sentence(block, chosen or [])
                block = _Block()
        if block.units:
            yield self._sentence(block, chosen or [])

    def _choose(self, layers: list[_Layer]) -> list[_Layer]:
        """The columns that are read."""
        if self.wanted is None:
            own = [x for x in layers if x.layer == NAMED_ENTITY]
            own = own or (layers if len({x.layer for x in layers}) == 1 else [])
        else:
            name, _, feature = self.wanted.partition("|")
            own = [x for x in layers if name in (x.layer, x.layer.rpartition(".")[2])]
            own = [x for x in own if feature in ("", x.feature)]
        values = [x for x in own if x.feature == "value"]
        chosen = own if len(own) == 1 else values
        if len(chosen) != 1:
            named = [f"{layer.layer}|{layer.feature}" for layer in layers]
            self.source.fail(Errors.E761, None, layer=self.wanted, layers=listed(named, 20))
        return chosen

    def _unit(self, line: str, number: int) -> tuple[int, str, int, int, str, list[str]]:
        cells = line.split("\t")
        match = _UNIT.fullmatch(cells[0])
        try:
            start, end = map(int, cells[1].split("-"))
        except (ValueError, IndexError):
            match = None
        if match is None or len(cells) < 3:
            expected = "a token: number, offsets, word and values, separated by TAB"
            self.source.fail(Errors.E754, number, expected=expected, found=line[:60])
        return number, match["part"] or "", start, end, _unescaped(cells[2]), cells[3:]

    def _sentence(self, block: _Block, layers: list[_Layer]) -> Sentence:
        tokens = [unit for unit in block.units if not unit[1]]
        line, _, begin, _, _, _ = tokens[0]
        find = _Utf16(begin, [unit[4] for unit in tokens], [unit[2:4] for unit in tokens])
        spans: dict[tuple[int, str], list[tuple[int, int, str]]] = {}
        for number, _, start, end, _, cells in block.units:
            for layer in layers:
                value = cells[layer.column] if layer.column < len(cells) else _NONE
                for key, label in _values(value, (number, start)):
                    spans.setdefault((layer.column, key), []).append((start, end, label))
        raw = []
        for parts in spans.values():
            first, last = min(part[0] for part in parts), max(part[1] for part in parts)
            label = parts[0][2]
            raw.append(RawSpan(find(first), find(last), "" if label == _NULL else label))
        for again in self.before & spans.keys():
            start, end, label = spans[again][0]
            self.findings.add("cut", self.source.at(line), shown_span((start, end, label)))
        self.before = {place for place in spans if place[1].startswith("[")}
        words = [unit[4] for unit in tokens]
        starts = [find(unit[2]) for unit in tokens]
        ends = [start + len(word) for start, word in zip(starts, words, strict=True)]
        spaces = [a < b for a, b in zip(ends, starts[1:], strict=False)] + [False]
        text = "".join(
            word + " " * (following - end)
            for word, end, following in zip(words, ends, [*starts[1:], ends[-1]], strict=True)
        )
        found = self.aligner.align(RawText(text, raw, line), starts, ends, self.source.at(line))
        return Sentence(words, [], found, line, spaces)


class _Utf16:
    """Offsets of UTF-16 units in the document -> code points in the sentence."""

    def __init__(self, begin: int, words: list[str], places: list[tuple[int, ...]]) -> None:
        self.tokens: list[tuple[int, int, str]] = []
        at, unit = 0, begin
        for word, place in zip(words, places, strict=True):
            start, end = place
            at += start - unit  # white space between tokens is of the basic plane
            self.tokens.append((start, at, word))
            at, unit = at + len(word), end

    def __call__(self, offset: int) -> int:
        start, at, word = max(
            (token for token in self.tokens if token[0] <= offset), default=self.tokens[0]
        )
        units = offset - start
        for i, char in enumerate(word):
            if units <= 0:
                return at + i
            units -= 1 + (char > "\uffff")
        return at + len(word) + max(units, 0)


def _columns(line: str, n_before: int) -> list[_Layer]:
    """The columns of a layer, of which role links have two, and relations one more."""
    layer, *features = line.partition("=")[2].split("|")
    # A layer without features has one column all the same.
    return [_Layer(layer, feature, n_before + i) for i, feature in enumerate(features or [""])]


def _values(cell: str, own: tuple[int, int]) -> Iterator[tuple[str, str]]:
    """What identifies each span of a cell, and its label."""
    if cell in (_NONE, ""):
        return
    for place, value in enumerate(_STACK.split(cell)):
        if match := _NUMBERED.fullmatch(value):
            label, key = match["value"], f"[{match['number']}]"
        else:
            label, key = value, f"{own}{place}"
        yield key, label if label == _NULL else _unescaped(label)


def _unescaped(value: str) -> str:
    escapes = {"t": "\t", "n": "\n", "r": "\r"}
    return re.sub(r"\\(->|.)", lambda m: escapes.get(m[1], m[1]), value)


def _escaped(value: str) -> str:
    value = re.sub(r"->|[\\\[\]|_;*]", lambda m: "\\" + m[0], value)
    return value.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


HEADER = f"#FORMAT=WebAnno TSV 3.3\n#T_SP={NAMED_ENTITY}|identifier|value\n\n\n"


class SentenceWriter:
    """Writes the sentences of one file, whose offsets and numbers go on from text to text."""

    def __init__(self) -> None:
        self.number = 0
        self.offset = 0
        self.spans = 0

    def lines_of(self, text: OutText) -> str:
        """Write a text.

        text (OutText): The text.
        RETURNS (str): Its sentences.
        """
        parts = []
        cells: list[list[str]] = [[] for _ in text.words]
        ids: list[list[str]] = [[] for _ in text.words]
        for start, end, label in text.spans:
            alone = end - start == 1 and sum(s < end and start < e for s, e, _ in text.spans) == 1
            mark = ""
            if not alone:
                self.spans += 1
                mark = f"[{self.spans}]"
            for i in range(start, end):
                cells[i].append(_escaped(label) + mark)
                ids[i].append(_NULL + mark)
        for start, end in text.sentences or [(0, len(text.words))]:
            kept = range(start, end)
            self.number += 1
            first, last = text.starts[kept[0]], text.starts[kept[-1]] + len(text.words[kept[-1]])
            shown = text.text[first:last]
            parts += [f"#Text={_escaped_text(line)}" for line in shown.split("\n")]
            for number, i in enumerate(kept, 1):
                begin = self.offset + _units(text.text[first : text.starts[i]])
                stop = begin + _units(text.words[i])
                parts.append(
                    f"{self.number}-{number}\t{begin}-{stop}\t{_escaped(text.words[i])}\t"
                    f"{'|'.join(ids[i]) or _NONE}\t{'|'.join(cells[i]) or _NONE}\t"
                )
            parts.append("")
            self.offset += _units(shown) + 1
        return "".join(f"{part}\n" for part in parts)


def _escaped_text(line: str) -> str:
    return line.replace("\\", "\\\\").replace("\t", "\\t").replace("\r", "\\r")


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
