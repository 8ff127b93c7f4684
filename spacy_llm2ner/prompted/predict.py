"""Docs -> questions to an LLM -> tags with probabilities, and a report of what was lost."""

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
from ..tags import TagSet, TagSpan
from .aligning import AlignedAnswer, RoundTrip, read_answer
from .generation import Answer
from .prompt import make_prompt
from .shim import GeneratorShim

DECODING = ("free", "constrained")
# Writing holds no logits but the last ones, and goes faster with many rows.
_FREE_FACTOR = 4
# A model that does not know the format writes more than the words and their tags.
_SLACK_SHARE, _SLACK = 1.25, 8
# What ends a sentence where no sentence starts are known.
_ENDS = frozenset(".!?…。！？")


# Chunks ---------------------------------------------------------------------------------------


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


# Questions and answers ------------------------------------------------------------------------


@dataclass
class Tagged:
    """The tags of a chunk.

    tags (List[str]): One per word, with the names of labels that the prompt has.
    scores (List[float]): The probability of each.
    counts (Counter): What was lost and repaired: see `Report`.
    """

    tags: list[str]
    scores: list[float]
    counts: Counter[str] = field(default_factory=Counter)
    unknown_labels: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    answer: str | None = None


@dataclass(frozen=True)
class Question:
    """What is asked about a chunk: its pieces, and those of each word with each tag."""

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
    """Asks an LLM about chunks.

    shim (GeneratorShim): The LLM.
    names (Sequence[str]): Labels, as the prompt names them.
    descriptions (Mapping[str, str]): Of names.
    decoding (str): "free" or "constrained".
    mode (str): How free answers are read: "robust" or "gner".
    beams (int): Of free answers; 1 = greedy.
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
        """All tags: "O", then B- and I- of each name."""
        return [*self.tag_set.tags]

    @property
    def follows(self) -> np.ndarray:
        """bool (tags + 1, tags): which tag may stand after which; last row: at the start."""
        return self.tag_set.legal()[:-1]

    def prompt(self, words: Sequence[str], names: Sequence[str]) -> str:
        """The prompt about words, naming some labels."""
        given = self.descriptions
        return make_prompt(words, names, descriptions=given, dataset=self.dataset)

    def ask(self, chunk: Chunk) -> list[Question]:
        """The questions about a chunk: several if the LLM has no room for it as a whole.

        RAISES: ValueError if there is none even for a single word.
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
                f"llm2ner: the LLM in {generator.spec.folder} has room for {most} pieces, but the "
                f"prompt with {len(self.names)} labels and one word needs {needed}. Give fewer "
                f"labels, shorter descriptions, or another LLM."
            )
        one, other = chunk.halves()
        return [*self.ask(one), *self.ask(other)]

    def answer(self, questions: Sequence[Question], name: str) -> list[Tagged]:
        """The answers, in order of the questions; with a progress bar if they take long."""
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
        """Words as the tokenizer gives them back: T5, for one, has no curly brackets."""
        generator = self.shim.generator
        backend = generator.tokenizer.backend_tokenizer

        def back(words: list[str]) -> list[str]:
            encodings = backend.encode_batch(list(words), add_special_tokens=False)
            return [generator.text(encoding.ids) for encoding in encodings]

        return back

    def _log_probs(
        self, questions: Sequence[Question], answers: Sequence[Answer]
    ) -> list[np.ndarray]:
        """How probable the pieces of answers were: one more pass over what was written."""
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
        # Where each piece of the LLM ends in the text of the answer.
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
    """What was asked about a doc, and what of it was lost or repaired.

    chunks, words (int): Asked about.
    lost_words (int): Words that an answer lacks; they count as outside of entities.
    invented_words (int): Words of answers that the text lacks.
    truncated (int): Answers that break off.
    unknown_labels (Counter): Labels in answers that were not asked for.
    repairs (Counter): Repairs of answers, by kind (see `prompted.parsing.ANSWER_REPAIRS`).
    answers (List[str]): The answers, if they are to be kept.
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
        """Count in the answer about one chunk."""
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
        """Count in another doc's report."""
        for name in ("chunks", "words", "lost_words", "invented_words", "truncated"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unknown_labels.update(other.unknown_labels)
        self.repairs.update(other.repairs)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, invented, repaired or cut."""
        lost = self.lost_words or self.invented_words or self.truncated
        return not (lost or self.unknown_labels or self.repairs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they stand in `doc.user_data`."""
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
    """The spans of a doc, in tokens, the score of each, and the report."""

    spans: list[TagSpan] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    report: Report = field(default_factory=Report)
