"""Prompted prediction: from docs to questions, from answers to tags with probabilities."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from spacy.tokens import Doc
from tqdm import tqdm

from ..batching import batches_by_length
from ..compat import encode_all
from ..errors import Errors
from ..llm.alignment import is_blank
from ..tags import TagSet, TagSpan
from .aligning import AlignedAnswer, RoundTrip, read_answer
from .generation import Answer
from .prompt import make_prompt
from .shim import GeneratorShim

DECODING = ("free", "constrained")
# Generation holds the last logits only, and is faster with many rows.
_FREE_FACTOR = 4
# Room for answers that deviate from the format: a share, and a number of pieces.
_SLACK_SHARE, _SLACK = 1.25, 8
# Ends of sentences in docs without sentence starts.
_ENDS = frozenset(".!?…。！？")


# Chunks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chunk:
    """Consecutive words of a doc, which are asked about together.

    tokens (List[int]): Their indices in the doc; whitespace tokens are left out.
    words (List[str]): Their texts.
    """

    tokens: list[int]
    words: list[str]

    def halves(self) -> tuple[Chunk, Chunk]:
        """Split the chunk in two."""
        middle = len(self.words) // 2
        return (
            Chunk(self.tokens[:middle], self.words[:middle]),
            Chunk(self.tokens[middle:], self.words[middle:]),
        )


def cut_chunks(doc: Doc, most: int) -> list[Chunk]:
    """Split a doc into chunks of whole sentences.

    doc (Doc): The doc. Without sentence starts, sentences end at a period or similar mark and at a
        line break.
    most (int): Maximum number of words in a chunk; longer sentences are split.
    RETURNS (List[Chunk]): The chunks, which cover all words.
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
        if is_blank(token.text):
            ended = ended or "\n" in token.text
        else:
            ended = token.text in _ENDS
            sentence.append(token.i)
    if sentence:
        yield sentence


# Questions and answers ------------------------------------------------------------------------


@dataclass
class Tagged:
    """The tags of a chunk.

    tags (List[str]): One per word, with the label names of the prompt.
    scores (List[float]): The probability of each tag.
    counts, unknown_labels, repairs (Counter): Losses and repairs, see `Report`.
    answer (Optional[str]): The answer, if the LLM generated freely.
    """

    tags: list[str]
    scores: list[float]
    counts: Counter[str] = field(default_factory=Counter)
    unknown_labels: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    answer: str | None = None


@dataclass(frozen=True)
class Question:
    """A prompt about a chunk.

    chunk (Chunk): The words.
    prompt (List[int]): The pieces of the prompt.
    units (List[List[List[int]]]): The pieces of each word with each tag.
    room (int): Pieces to reserve for the answer.
    """

    chunk: Chunk
    prompt: list[int]
    units: list[list[list[int]]]
    room: int

    @property
    def length(self) -> int:
        """Pieces of the prompt and of the longest answer."""
        return len(self.prompt) + self.room


@dataclass(frozen=True)
class Recognizer:
    """An LLM with the settings of its prompts and answers.

    shim (GeneratorShim): The LLM.
    names (Sequence[str]): The labels, by their names in the prompt.
    descriptions (Mapping[str, str]): The descriptions of names.
    decoding (str): "free" or "constrained".
    mode (str): The parser of free answers: "robust" or "gner".
    beams (int): Beams of free answers; 1 = greedy.
    dataset (Optional[str]): See `make_prompt`.
    """

    shim: GeneratorShim
    names: Sequence[str]
    descriptions: Mapping[str, str]
    decoding: str
    mode: str = "robust"
    beams: int = 1
    dataset: str | None = None

    @property
    def tag_set(self) -> TagSet:
        """The BIO tags of the names."""
        return TagSet.of_labels(self.names, "BIO")

    @property
    def tags(self) -> list[str]:
        """All tags of the labels, "O" first."""
        return [*self.tag_set.tags]

    @property
    def follows(self) -> np.ndarray:
        """Valid successors of each tag: bool (tags + 1, tags); the last row is for the start."""
        return self.tag_set.legal()[:-1]

    def prompt(self, words: Sequence[str], names: Sequence[str]) -> str:
        """Return the prompt about words for some labels."""
        given = self.descriptions
        return make_prompt(words, names, descriptions=given, dataset=self.dataset)

    def ask(self, chunk: Chunk) -> list[Question]:
        """Make the questions about a chunk, which is halved until it fits the LLM's context.

        chunk (Chunk): The words.
        RETURNS (List[Question]): One or more.
        RAISES (ValueError): If even a single word does not fit (E512).
        """
        asking, generator = self.shim.asking, self.shim.generator
        prompt = asking.prompt(self.prompt(chunk.words, self.names))
        units = asking.units(chunk.words, self.tags)
        longest = sum(max(len(way) for way in word) for word in units) + 1
        room = longest
        if self.decoding == "free":
            room = math.ceil(longest * _SLACK_SHARE) + _SLACK
        needed = len(prompt) + room
        most = generator.max_pieces
        if generator.is_seq2seq:
            needed = max(len(prompt), room)
        if most is None or needed <= most:
            return [Question(chunk, prompt, units, room)]
        if len(chunk.words) == 1:
            raise ValueError(
                Errors.E512.format(
                    folder=generator.spec.folder, most=most, labels=len(self.names), needed=needed
                )
            )
        one, other = chunk.halves()
        return [*self.ask(one), *self.ask(other)]

    def answer(self, questions: Sequence[Question], name: str) -> list[Tagged]:
        """Answer questions, in order; a progress bar appears after 5 seconds."""
        budget = self.shim.settings.batch_pieces
        lengths = [question.length for question in questions]
        if self.decoding == "free":
            budget *= _FREE_FACTOR
        answer = self._free if self.decoding == "free" else self._chosen
        found: dict[int, Tagged] = {}
        words = sum(len(question.chunk.words) for question in questions)
        with tqdm(total=words, desc=name, unit="word", delay=5, leave=False) as bar:
            for batch in batches_by_length(lengths, budget):
                some = [questions[index] for index in batch]
                found.update(zip(batch, answer(some), strict=True))
                bar.update(sum(len(question.chunk.words) for question in some))
        return [found[index] for index in range(len(questions))]

    # Chosen -----------------------------------------------------------------------------------

    def _chosen(self, questions: list[Question]) -> list[Tagged]:
        from .constrained import choose_exact

        chosen = choose_exact(
            self.shim.generator,
            [question.prompt for question in questions],
            [question.units for question in questions],
            self.follows,
        )
        tags = self.tags
        return [Tagged([tags[t] for t in c.tags], list(c.probabilities)) for c in chosen]

    # Free -------------------------------------------------------------------------------------

    def _free(self, questions: list[Question]) -> list[Tagged]:
        generator = self.shim.generator
        answers = generator.generate(
            [question.prompt for question in questions],
            [question.room for question in questions],
            beams=self.beams,
        )
        probable = self._log_probs(questions, answers)
        tagged = []
        for question, answer, scores in zip(questions, answers, probable, strict=True):
            reading = read_answer(
                answer.text,
                question.chunk.words,
                self.names,
                self.mode,
                round_trip=self._round_trip() if self.mode == "gner" else None,
            )
            tagged.append(self._tagged(reading, answer, scores))
        return tagged

    def _round_trip(self) -> RoundTrip:
        """Encode and decode words: some tokenizers lose characters (T5: curly brackets)."""
        generator = self.shim.generator
        backend = generator.tokenizer.backend_tokenizer

        def back(words: list[str]) -> list[str]:
            encodings = encode_all(backend, words, device=generator.spec.device)
            return [generator.text(encoding.ids) for encoding in encodings]

        return back

    def _log_probs(
        self, questions: Sequence[Question], answers: Sequence[Answer]
    ) -> list[np.ndarray]:
        """Compute the log probabilities of generated pieces by one more pass."""
        import torch

        some = [index for index, answer in enumerate(answers) if answer.pieces]
        found: list[Any] = [np.zeros(0) for _ in answers]
        if some:
            with torch.no_grad():
                rows = self.shim.generator.log_probs(
                    [questions[index].prompt for index in some],
                    [answers[index].pieces for index in some],
                )
            for index, row in zip(some, rows, strict=True):
                found[index] = row.double().cpu().numpy()
        return found

    def _tagged(self, reading: AlignedAnswer, answer: Answer, log_probs: np.ndarray) -> Tagged:
        # The end of each piece in the text of the answer, in characters.
        text = self.shim.generator.text
        ends = [len(text(answer.pieces[: i + 1])) for i in range(len(answer.pieces))]
        starts = [0, *ends[:-1]]
        scores = []
        for place in reading.matched:
            score = 0.0
            if place is not None:
                tag = reading.tagged[place]
                inside = [
                    value
                    for value, start, end in zip(log_probs, starts, ends, strict=True)
                    if start < tag.end and end > tag.start
                ]
                score = float(np.exp(np.sum(inside)))
            scores.append(score)
        counts = Counter(
            lost_words=reading.lost_words,
            invented_words=reading.invented_words,
            truncated=int(reading.truncated or not answer.complete),
        )
        return Tagged(
            reading.tags, scores, counts, reading.unknown_labels, reading.repairs, answer.text
        )


# Reports --------------------------------------------------------------------------------------


@dataclass
class Report:
    """Counts of questions about a doc, and of losses and repairs in the answers.

    chunks, words (int): Chunks and words asked about.
    lost_words (int): Words missing from an answer, which count as outside of entities.
    invented_words (int): Words of answers that are not in the text.
    truncated (int): Incomplete answers.
    unknown_labels (Counter): Labels in answers that were not in the prompt.
    repairs (Counter): Repairs of answers, by kind (see `prompted.parsing.ANSWER_REPAIRS`).
    answers (List[str]): The answers, with the setting `keep_answers`.
    """

    chunks: int = 0
    words: int = 0
    lost_words: int = 0
    invented_words: int = 0
    truncated: int = 0
    unknown_labels: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    answers: list[str] = field(default_factory=list)

    def add(self, tagged: Tagged, words: int, keep_answer: bool) -> None:
        """Add the answer about one chunk."""
        self.chunks += 1
        self.words += words
        self.lost_words += tagged.counts["lost_words"]
        self.invented_words += tagged.counts["invented_words"]
        self.truncated += tagged.counts["truncated"]
        self.unknown_labels.update(tagged.unknown_labels)
        self.repairs.update(tagged.repairs)
        if keep_answer and tagged.answer is not None:
            self.answers.append(tagged.answer)

    def update(self, other: Report) -> None:
        """Add the counts of another report."""
        for name in ("chunks", "words", "lost_words", "invented_words", "truncated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unknown_labels.update(other.unknown_labels)
        self.repairs.update(other.repairs)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, invented, repaired or truncated."""
        lost = self.lost_words or self.invented_words or self.truncated
        return not (lost or self.unknown_labels or self.repairs)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for `doc.user_data`."""
        return {
            "chunks": self.chunks,
            "words": self.words,
            "lost_words": self.lost_words,
            "invented_words": self.invented_words,
            "truncated": self.truncated,
            "unknown_labels": dict(self.unknown_labels),
            "repairs": dict(self.repairs),
            **({"answers": list(self.answers)} if self.answers else {}),
        }

    def __str__(self) -> str:
        parts = [f"of {self.words} words in {self.chunks} chunks, {self.lost_words} are lost"]
        if self.invented_words:
            parts.append(f"{self.invented_words} are invented")
        if self.truncated:
            parts.append(f"{self.truncated} answers break off")
        for name, counter in (("unknown labels", self.unknown_labels), ("repairs", self.repairs)):
            if counter:
                shown = ", ".join(f"{key} {n}" for key, n in counter.most_common(5))
                parts.append(f"{name}: {sum(counter.values())} ({shown})")
        return "; ".join(parts)


@dataclass
class Found:
    """Predicted spans of a doc (in tokens), their scores, and the report."""

    spans: list[TagSpan] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    report: Report = field(default_factory=Report)
