"""Long texts -> chunks of whole sentences, each asked about by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spacy.tokens import Doc

_ENDS = frozenset(".!?…。！？")


@dataclass(frozen=True)
class Chunk:
    """Some words of a doc.

    tokens (List[int]): Their places in the doc; white space is no word.
    words (List[str]): Their texts.
    """

    tokens: list[int]
    words: list[str]

    def halves(self) -> tuple[Chunk, Chunk]:
        """The chunk in two parts."""
        middle = len(self.words) // 2
        return (
            Chunk(self.tokens[:middle], self.words[:middle]),
            Chunk(self.tokens[middle:], self.words[middle:]),
        )


def cut_chunks(doc: Doc, most: int) -> list[Chunk]:
    """The words of a doc in chunks of whole sentences.

    doc (Doc): Any doc. Without sentence starts, a sentence ends behind "." and the like, or with a
        line.
    most (int): The most words in a chunk; a longer sentence is cut after as many.
    """
    chunks: list[Chunk] = []
    current: list[int] = []
    for sentence in _sentences(doc):
        if current and len(current) + len(sentence) > most:
            chunks.append(_chunk(doc, current))
            current = []
        current = [*current, *sentence]
        while len(current) > most:
            chunks.append(_chunk(doc, current[:most]))
            current = current[most:]
    if current:
        chunks.append(_chunk(doc, current))
    return chunks


def _chunk(doc: Doc, tokens: list[int]) -> Chunk:
    return Chunk(tokens, [doc[i].text for i in tokens])


def _sentences(doc: Doc) -> Iterator[list[int]]:
    known = doc.has_annotation("SENT_START")
    sentence: list[int] = []
    ended = False
    for token in doc:
        starts = token.is_sent_start if known else ended
        if starts and sentence:
            yield sentence
            sentence = []
        if token.is_space:
            ended = ended or "\n" in token.text
        else:
            ended = token.text in _ENDS
            sentence.append(token.i)
    if sentence:
        yield sentence


def check_least_one(name: str, **settings: int) -> None:
    """RAISES: ValueError for a setting of the component `name` that is below 1."""
    for setting, value in settings.items():
        if value < 1:
            raise ValueError(f"{name}: the setting '{setting}' is {value}; at least 1 is accepted.")
