"""Chunks of docs -> tags with probabilities: what the component "llm2ner_prompted" does inside."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from ..batching import batches_by_length
from .aligning import Reading, RoundTrip, read_answer
from .chunks import Chunk
from .generation import Answer
from .prompt import allowed_tags, make_prompt, may_follow
from .shim import GeneratorShim

DECODING = ("free", "constrained", "one_pass")
# Logits of whole texts are held at once in one pass: rows are fewer by this factor.
_ONE_PASS_FACTOR = 4
# Writing holds no logits but the last ones, and goes faster with many rows.
_FREE_FACTOR = 4
# A model that does not know the format writes more than the words and their tags.
_SLACK_SHARE, _SLACK = 1.25, 8


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
    decoding (str): "free", "constrained" or "one_pass".
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
    def tags(self) -> list[str]:
        """All tags that there are."""
        return allowed_tags(self.names)

    @property
    def follows(self) -> np.ndarray:
        """bool (tags + 1, tags): which tag may stand after which; last row: at the start."""
        tags = self.tags
        return np.array([[may_follow(a, b) for b in tags] for a in [*tags, "O"]])

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
        if self.decoding == "one_pass":
            nodes = [sum(len(way) for word in q.units for way in word) for q in questions]
            lengths, budget = nodes, budget // _ONE_PASS_FACTOR
        ways: dict[str, Callable[[list[Question]], list[Tagged]]] = {
            "free": self._free,
            "constrained": self._chosen,
            "one_pass": self._chosen,
        }
        found: dict[int, Tagged] = {}
        words = sum(len(question.chunk.words) for question in questions)
        with tqdm(total=words, desc=name, unit="word", delay=5, leave=False) as bar:
            for batch in batches_by_length(lengths, budget):
                some = [questions[index] for index in batch]
                found.update(zip(batch, ways[self.decoding](some), strict=True))
                bar.update(sum(len(question.chunk.words) for question in some))
        return [found[index] for index in range(len(questions))]

    # Chosen -----------------------------------------------------------------------------------

    def _chosen(self, questions: list[Question]) -> list[Tagged]:
        from .constrained import choose_exact, choose_once

        choose = choose_once if self.decoding == "one_pass" else choose_exact
        chosen = choose(
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

    def _tagged(self, reading: Reading, answer: Answer, log_probs: np.ndarray) -> Tagged:
        # Where each piece of the LLM ends in the text of the answer.
        text = self.shim.generator.text
        ends = [len(text(answer.pieces[: i + 1])) for i in range(len(answer.pieces))]
        starts = [0, *ends[:-1]]
        scores = []
        for place in reading.matched:
            score = 0.0
            if place is not None:
                tag = reading.pieces[place]
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
