"""The training data of the mention detector: WNUT17, LitBank and the project's sample, as Docs.

One label, MENTION: the name of a particular thing. The use of each corpus was fixed before any
measurement:

- WNUT17 (CC-BY 4.0): every entity, regardless of type; one doc per tweet.
- The sample: likewise; its sentences, and in addition every second document as a whole.
- LitBank (CC-BY 4.0) marks persons, places, organisations and so on, named or not ("the old man").
  Names among them are mentions: words before the first capitalised word are removed ("the Thames",
  "my cousin Mary"), and so are titles ("Mr.", "Captain"), because neither belongs to a name in
  newswire; all remaining words must be capitalised, except words like "of". Of nested names the
  longest counts. Capitalised words within a sentence that are in no such name may be names of kinds
  that LitBank does not mark ("English", ships' crews, feasts): they are left unannotated. Old
  novels are far from newswire, so only a small part is used: the sentences with a name, and every
  tenth of the others, of every eighth novel (dev: of every second one).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from spacy_llm2ner.corpora import ConllCorpus
from spacy_llm2ner.corpora.spacing import spaces_for

LABEL = "MENTION"
SPLITS = ("train", "dev")
SAMPLE = Path(__file__).parents[1] / "assets" / "sample"
EVERY_NOVEL = {"train": 8, "dev": 2}
EVERY_NAMELESS = 10
EVERY_DOCUMENT = 2

# fmt: off
_DETERMINERS = {
    "a", "all", "an", "another", "any", "both", "each", "every", "her", "his", "its", "many", "my",
    "no", "one", "our", "some", "such", "that", "the", "their", "these", "this", "those", "two",
    "which", "whose", "your",
}
_TITLES = {
    "captain", "cousin", "aunt", "uncle", "col.", "colonel", "count", "dr.", "father", "general",
    "king", "lady", "lieutenant", "lord", "ma'am", "madam", "madame", "major", "master", "miss",
    "mister", "monsieur", "mother", "mr", "mr.", "mrs", "mrs.", "ms.", "prince", "princess",
    "professor", "queen", "rev.", "reverend", "saint", "sergeant", "sir",
}
_WITHIN_NAMES = {
    "of", "the", "de", "la", "le", "du", "des", "von", "van", "der", "den", "del", "di", "da", "&",
    "-", ".", "'", "’", "'s", "’s",
}
_BEFORE_CAPITALS = {"“", "‘", '"', "``", "'", "`", "_", "--", "—", ":", ".", "!", "?", "("}
# fmt: on


def read_corpora(folder: Path, split: str, nlp: Language) -> dict[str, list[Example]]:
    """All training data of one split.

    folder (Path): The folder with wnut17/train.conll ... and litbank/train.jsonl ...
    split (str): "train" or "dev".
    nlp (Language): The pipeline whose vocabulary is used.
    RETURNS (Dict[str, List[Example]]): By part: "wnut17", "litbank sentences", "sample sentences",
        "sample documents".
    """
    litbank = read_litbank(folder / "litbank" / f"{split}.jsonl")
    novels = litbank[:: EVERY_NOVEL[split]]
    sample = SAMPLE / f"{split}.conll"
    return {
        "wnut17": _conll(folder / "wnut17" / f"{split}.conll", nlp),
        "litbank sentences": _thinned(_litbank(novels, nlp.vocab)),
        "sample sentences": _conll(sample, nlp),
        "sample documents": _conll(sample, nlp, sentences_per_doc=0)[::EVERY_DOCUMENT],
    }


def _conll(path: Path, nlp: Language, sentences_per_doc: int = 1) -> list[Example]:
    corpus = ConllCorpus(path, sentences_per_doc=sentences_per_doc, word_column=0, tag_column=-1)
    examples = list(corpus(nlp))
    for example in examples:
        doc = example.reference
        doc.set_ents([Span(doc, ent.start, ent.end, label=LABEL) for ent in doc.ents])
    return examples


# LitBank ------------------------------------------------------------------------------------

Sentence = tuple[list[str], list[tuple[int, int]], set[int]]


def read_litbank(path: Path) -> list[list[Sentence]]:
    """Sentences of each novel: words, names as (start, end), and unannotated words."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]
    return [
        [_sentence(row["tokens"], row["spans"]) for row in novel]
        for _, novel in groupby(rows, key=lambda row: row["doc"])
    ]


def _sentence(words: list[str], spans: list[tuple[int, int, str]]) -> Sentence:
    names = {name_within(words, start, end) for start, end, _ in spans} - {None}
    kept: list[tuple[int, int]] = []
    for start, end in sorted(names, key=lambda name: name[0] - name[1]):
        if all(end <= a or b <= start for a, b in kept):
            kept.append((start, end))
    inside = {i for start, end in kept for i in range(start, end)}
    return words, sorted(kept), unknown_words(words, inside)


def unknown_words(words: Sequence[str], inside: set[int]) -> set[int]:
    """Words of LitBank outside of names that may be names of kinds it does not mark."""
    return {
        i
        for i in range(1, len(words))
        if i not in inside and words[i - 1] not in _BEFORE_CAPITALS and _may_be_name(words[i])
    }


def _may_be_name(word: str) -> bool:
    return _is_capital(word) and word not in ("I", "O") and word.lower() not in _TITLES


def name_within(words: Sequence[str], start: int, end: int) -> tuple[int, int] | None:
    """The name within an annotated span, without introducing words; None if there is no name."""
    while start < end and (
        not _is_capital(words[start])
        or words[start].lower() in _DETERMINERS
        or words[start].lower() in _TITLES
    ):
        start += 1
    while end > start and words[end - 1] in ("'s", "’s", "'", "’", ",", "_"):
        end -= 1
    if start == end or not _is_capital(words[end - 1]):
        return None
    inner = words[start:end]
    shaped = all(_is_capital(word) or word[0].isdigit() or word in _WITHIN_NAMES for word in inner)
    return (start, end) if shaped else None


def _is_capital(word: str) -> bool:
    return word[:1].isupper()


def _litbank(novels: list[list[Sentence]], vocab: Vocab) -> list[Example]:
    return [_example(sentence, vocab) for novel in novels for sentence in novel]


def _thinned(examples: list[Example]) -> list[Example]:
    nameless = 0
    kept = []
    for example in examples:
        nameless += not example.reference.ents
        if example.reference.ents or nameless % EVERY_NAMELESS == 0:
            kept.append(example)
    return kept


def _example(sentence: Sentence, vocab: Vocab) -> Example:
    words, names, unknown = sentence
    spaces = spaces_for(words)
    doc = Doc(vocab, words=words, spaces=spaces)
    missing = [Span(doc, i, i + 1) for i in sorted(unknown)]
    ents = [Span(doc, start, end, label=LABEL) for start, end in names]
    doc.set_ents(ents, missing=missing, default="outside")
    return Example(Doc(vocab, words=words, spaces=spaces), doc)


def all_examples(parts: dict[str, list[Example]]) -> Iterator[Example]:
    """The examples of all parts, in order."""
    for examples in parts.values():
        yield from examples
