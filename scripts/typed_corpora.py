"""The training data of the typed recogniser, `pretrained = "entities"`, as Docs.

Labels: PER, LOC, ORG as in CoNLL-2003, and MISC where a corpus has it. Each corpus says which of
them it annotates; the others are unknown there. The use of each corpus was fixed before any
measurement:

- The sample: PER, LOC, ORG, MISC; whole documents, and every second sentence by itself.
- Universal NER (CC-BY-SA 4.0): PER, LOC, ORG; whole documents where the treebank has them, else
  five sentences at a time. Danish, Portuguese, Swedish and Chinese: their train parts. English has
  no train part here: its dev part is trained on, and its test part chooses epoch and thresholds.
- WNUT17 (CC-BY 4.0): person is PER, location is LOC, corporation and group are ORG; creative works
  and products are other names, neither of these three. A doc per tweet: those with an entity, and
  every fourth of the others.
- LitBank (CC-BY 4.0): PER, ORG, and places (GPE, LOC, FAC) as LOC; only names, as in
  mentions_corpora.py. Vehicles, and words that may be names of other kinds, are left unannotated.
- Broad Twitter Corpus (CC-BY 4.0): PER, LOC, ORG; tweets with an entity. Its mentions of Twitter
  accounts, where "@" is an entity by itself, are left unannotated.

In every second document the first sentence is written in capitals, as headlines are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from mentions_corpora import SAMPLE, name_within, unknown_words
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_llm2ner.corpora import parse_conll
from spacy_llm2ner.corpora.docs import copy_words
from spacy_llm2ner.corpora.spacing import spaces_for
from spacy_llm2ner.doc_data import mark_annotated

LABELS = ("PER", "LOC", "ORG", "MISC")
THREE = LABELS[:3]
# Languages of Universal NER with a train part.
TREEBANKS = {"da": "da_ddt", "pt": "pt_bosque", "sv": "sv_talbanken", "zh": "zh_gsd"}
_WNUT = {
    "person": "PER",
    "location": "LOC",
    "corporation": "ORG",
    "group": "ORG",
}
_LITBANK = {"PER": "PER", "ORG": "ORG", "GPE": "LOC", "LOC": "LOC", "FAC": "LOC"}
_BTC = {"person": "PER", "location": "LOC", "organization": "ORG"}
# English EWT has no train part here.
_EWT = {"train": "dev", "dev": "test"}
_EVERY_NOVEL = {"train": 5, "dev": 3}
_EVERY_NAMELESS = 10
_EVERY_OTHER_TWEET = 4
_SENTENCES = 5


@dataclass
class Sentence:
    """A sentence: words, spans as (start, end exclusive, label), and unannotated words."""

    words: list[str]
    spans: list[tuple[int, int, str]]
    unknown: set[int] = field(default_factory=set)


Text = list[Sentence]


@dataclass(frozen=True)
class Part:
    """A part of the data: its name, its texts, the labels that it annotates, and whether there are
    blanks between words."""

    name: str
    texts: list[Text]
    labels: Sequence[str]
    spaced: bool = True

    def capped(self, sentences: int | None) -> Part:
        """The part with texts from its whole length, of about so many sentences; None: all."""
        if sentences is None:
            return self
        total = sum(map(len, self.texts))
        every = max(1.0, total / sentences)
        kept = [self.texts[int(i * every)] for i in range(int(len(self.texts) / every))]
        return replace(self, texts=kept)

    def examples(self, nlp: Language) -> Iterator[Example]:
        """The part as examples."""
        for text in self.texts:
            doc = _doc(text, nlp, self.spaced)
            mark_annotated(doc, self.labels)
            yield Example(copy_words(doc), doc)


def english_parts(folder: Path, split: str) -> list[Part]:
    """The parts of English data.

    folder (Path): The folder of corpora.
    split (str): "train" or "dev".
    RETURNS (List[Part]): The parts.
    """
    sample = _conll(SAMPLE / f"{split}.conll")
    ewt = _conll(folder / "uner" / f"en_ewt-{_EWT[split]}.conll")
    parts = [
        Part("sample documents", _with_headlines(sample), LABELS),
        Part("ewt", _with_headlines(ewt), THREE),
        Part("wnut17", _wnut(folder / "wnut17" / f"{split}.conll"), THREE),
        Part("litbank", _litbank(folder / "litbank" / f"{split}.jsonl", split), THREE),
        Part("btc", _btc(folder / "domains" / "btc" / f"{split}.jsonl"), THREE),
    ]
    if split == "train":
        sentences = [[sentence] for document in sample for sentence in document]
        parts.append(Part("sample sentences", sentences[::2], LABELS))
    return parts


def treebank_parts(folder: Path, split: str) -> list[Part]:
    """The parts of data in other languages, as `english_parts`."""
    parts = []
    for language, name in TREEBANKS.items():
        texts = _with_headlines(_conll(folder / "uner" / f"{name}-{split}.conll"))
        parts.append(Part(language, texts, THREE, spaced=language != "zh"))
    return parts


def _doc(text: Text, nlp: Language, spaced: bool) -> Doc:
    words: list[str] = []
    spaces: list[bool] = []
    starts: list[bool] = []
    spans: list[tuple[int, int, str]] = []
    unknown: list[int] = []
    for sentence in text:
        if spaces and spaced:
            spaces[-1] = True
        at = len(words)
        words += sentence.words
        spaces += spaces_for(sentence.words) if spaced else [False] * len(sentence.words)
        starts += [i == 0 for i in range(len(sentence.words))]
        spans += [(start + at, end + at, label) for start, end, label in sentence.spans]
        unknown += [i + at for i in sorted(sentence.unknown)]
    doc = Doc(nlp.vocab, words=words, spaces=spaces, sent_starts=starts)
    doc.set_ents(
        [Span(doc, start, end, label=label) for start, end, label in spans],
        missing=[Span(doc, i, i + 1) for i in unknown],
        default="outside",
    )
    return doc


def _with_headlines(texts: list[Text]) -> list[Text]:
    """Texts whose first sentence is in capitals in every second one of at least two sentences."""
    changed = []
    for i, text in enumerate(texts):
        if i % 2 and len(text) > 1:
            first = Sentence([w.upper() for w in text[0].words], text[0].spans, text[0].unknown)
            text = [first, *text[1:]]
        changed.append(text)
    return changed


def _conll(path: Path) -> list[Text]:
    """Documents; of a file without documents, some sentences at a time."""
    # Words of Universal NER may contain blanks ("34 470"), here no-break ones.
    lines = path.read_text(encoding="utf8").split("\n")
    lines = [line.replace(" ", "\u00a0") if "\t" in line else line for line in lines]
    documents = [d for d in parse_conll(lines, source=str(path)).documents if d.sentences]
    texts = [[Sentence(s.words, list(s.spans)) for s in d.sentences] for d in documents]
    if len(texts) > 1:
        return texts
    (sentences,) = texts
    return [sentences[i : i + _SENTENCES] for i in range(0, len(sentences), _SENTENCES)]


def _wnut(path: Path) -> list[Text]:
    lines = path.read_text(encoding="utf8").split("\n")
    others = 0
    texts = []
    for tweet in (s for d in parse_conll(lines, source=str(path)).documents for s in d.sentences):
        others += not tweet.spans
        if tweet.spans or others % _EVERY_OTHER_TWEET == 0:
            spans = [(a, b, _WNUT[label]) for a, b, label in tweet.spans if label in _WNUT]
            texts.append([Sentence(tweet.words, spans)])
    return texts


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


def _litbank(path: Path, split: str) -> list[Text]:
    novels = [list(rows) for _, rows in groupby(_rows(path), key=lambda row: row["doc"])]
    texts, nameless = [], 0
    for row in (row for novel in novels[:: _EVERY_NOVEL[split]] for row in novel):
        sentence = _names(row["tokens"], row["spans"])
        nameless += not sentence.spans
        if sentence.spans or nameless % _EVERY_NAMELESS == 0:
            texts.append([sentence])
    return texts


def _names(words: list[str], spans: list[tuple[int, int, str]]) -> Sentence:
    """The names of a sentence of LitBank: of nested ones the longest."""
    names = {}
    for start, end, label in spans:
        name = name_within(words, start, end)
        if name is not None:
            names.setdefault(name, label)
    kept: list[tuple[int, int, str]] = []
    for start, end in sorted(names, key=lambda name: name[0] - name[1]):
        if all(end <= a or b <= start for a, b, _ in kept):
            kept.append((start, end, names[start, end]))
    inside = {i for start, end, _ in kept for i in range(start, end)}
    vehicles = {i for a, b, label in kept if label not in _LITBANK for i in range(a, b)}
    typed = sorted((a, b, _LITBANK[label]) for a, b, label in kept if label in _LITBANK)
    return Sentence(words, typed, unknown_words(words, inside) | vehicles)


def _btc(path: Path) -> list[Text]:
    texts: list[Text] = []
    for row in _rows(path):
        words, spans, unknown = row["tokens"], [], set()
        for start, end, label in row["spans"]:
            if words[start:end] == ["@"]:
                unknown |= {start, min(start + 1, len(words) - 1)}
            else:
                spans.append((start, end, _BTC[label]))
        spans = [span for span in spans if not unknown & {*range(span[0], span[1])}]
        if spans:
            texts.append([Sentence(words, spans, unknown)])
    return texts
