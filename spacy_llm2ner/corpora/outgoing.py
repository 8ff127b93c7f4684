"""A Doc as writers of formats need it: text, words, and spans by words and by characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from spacy.tokens import Doc

from ..tags import TagSpan


@dataclass(frozen=True)
class OutText:
    """A text that is written.

    text (str): The text.
    words (List[str]): Its tokens.
    spaces (List[bool]): Whether a space follows each of them.
    starts (List[int]): Where each of them starts, in code points.
    spans (List[Tuple[int, int, str]]): All spans, in tokens, by their starts.
    sentences (List[Tuple[int, int]]): The sentences, in tokens; none if they are not known.
    number (int): The number of the text, from 1.
    document (int): The number of its document.
    """

    text: str
    words: list[str]
    spaces: list[bool]
    starts: list[int]
    spans: list[TagSpan]
    sentences: list[tuple[int, int]]
    number: int
    document: int

    @classmethod
    def of(cls, doc: Doc, number: int, document: int, spans_key: str) -> OutText:
        """Make one of a Doc.

        doc (Doc): The Doc.
        number, document (int): The numbers of the text and of its document.
        spans_key (str): The key of `doc.spans` with all spans; `doc.ents` count where it is not.
        RETURNS (OutText): The text.
        """
        found = doc.spans.get(spans_key, doc.ents)
        spans = [(span.start, span.end, span.label_) for span in found]
        known = doc.has_annotation("SENT_START")
        return cls(
            text=doc.text,
            words=[token.text for token in doc],
            spaces=[bool(token.whitespace_) for token in doc],
            starts=[token.idx for token in doc],
            spans=sorted(spans, key=lambda span: (span[0], -span[1])),
            sentences=[(sent.start, sent.end) for sent in doc.sents] if known else [],
            number=number,
            document=document,
        )

    def by_chars(self, spans: Iterable[TagSpan]) -> list[tuple[int, int, str]]:
        """Spans by characters: code points, with exclusive ends.

        spans (Iterable[Tuple[int, int, str]]): Spans in tokens.
        """
        return [
            (self.starts[start], self.starts[end - 1] + len(self.words[end - 1]), label)
            for start, end, label in spans
        ]

    def visible(self) -> OutText:
        """The text without tokens of white space, and without spans of nothing else."""
        kept = [i for i, word in enumerate(self.words) if not word.isspace()]
        if len(kept) == len(self.words):
            return self
        places = [0]
        for word in self.words:
            places.append(places[-1] + (not word.isspace()))
        moved = [(places[start], places[end], label) for start, end, label in self.spans]
        borders = [(places[start], places[end]) for start, end in self.sentences]
        ends = [self.starts[i] + len(self.words[i]) for i in kept]
        starts = [self.starts[i] for i in kept]
        return replace(
            self,
            words=[self.words[i] for i in kept],
            spaces=[end < start for end, start in zip(ends, starts[1:], strict=False)]
            + [self.spaces[i] for i in kept[-1:]],
            starts=starts,
            spans=[span for span in moved if span[0] < span[1]],
            sentences=[border for border in borders if border[0] < border[1]],
        )

    def by_sentence(self) -> Iterator[OutText]:
        """The sentences as texts of their own, unless a span reaches beyond one.

        YIELDS (OutText): The sentences; the text itself if they are not known.
        """
        if len(self.sentences) < 2 or not all(
            any(first <= start and end <= last for first, last in self.sentences)
            for start, end, _ in self.spans
        ):
            yield self
            return
        for first, last in self.sentences:
            base = self.starts[first]
            end = self.starts[last - 1] + len(self.words[last - 1])
            yield replace(
                self,
                text=self.text[base:end],
                words=self.words[first:last],
                spaces=self.spaces[first:last],
                starts=[start - base for start in self.starts[first:last]],
                spans=[
                    (s - first, e - first, label)
                    for s, e, label in self.spans
                    if first <= s and e <= last
                ],
                sentences=[(0, last - first)],
            )

    def flat(self) -> list[TagSpan]:
        """The longest disjoint spans, measured in the words that are written."""
        if not self.nested:
            return self.spans
        kept: list[TagSpan] = []
        taken: set[int] = set()
        # As spacy.util.filter_spans: the longest first, then the first.
        for span in sorted(self.spans, key=lambda s: (s[0] - s[1], s[0])):
            if taken.isdisjoint((span[0], span[1] - 1)):
                kept.append(span)
                taken.update(range(span[0], span[1]))
        return sorted(kept, key=lambda span: span[:2])

    @property
    def nested(self) -> bool:
        """Whether spans overlap."""
        return any(a[1] > b[0] for a, b in zip(self.spans, self.spans[1:], strict=False))

    def sentence_chars(self) -> Iterator[tuple[int, int]]:
        """The characters of the sentences.

        YIELDS (Tuple[int, int]): Start and end, without the white space after a sentence.
        """
        for start, end, _ in self.by_chars([(s, e, "") for s, e in self.sentences]):
            yield start, end
