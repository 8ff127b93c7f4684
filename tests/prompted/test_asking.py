"""Prompts and answers as pieces."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from spacy_llm2ner.prompted.asking import Asking
from spacy_llm2ner.prompted.generation import load_generator
from tests.prompted.sample import answer_text
from tests.prompted.test_generation import spec
from tests.tiny_generators import save_tiny_chat

WORDS = ["Ada", "Lovelace", "(", "née", "Byron", ")", "wrote", ".", "U.S.", "Düsseldorf"]
TAGS = ["B-PER", "I-PER", "O", "O", "B-PER", "O", "O", "O", "B-LOC", "B-LOC"]


def asking(folder, style="auto") -> Asking:
    return Asking(load_generator(spec(folder)), style)


@pytest.fixture
def plain_llama(tmp_path):
    return save_tiny_chat(tmp_path / "plain", template=False)


def test_styles(tiny_chat, tiny_t5, plain_llama):
    assert asking(tiny_chat).style == "chat"
    assert asking(tiny_t5).style == "plain"
    assert asking(plain_llama).style == "inst"
    with pytest.raises(ValueError, match="no chat template"):
        asking(plain_llama, "chat")


@pytest.mark.parametrize("style", ["chat", "inst", "plain"])
def test_units_are_the_pieces_of_the_whole_answer(tiny_chat, style):
    ask = asking(tiny_chat, style)
    blank = " " if ask.blank_first else ""
    whole = ask.backend.encode(blank + answer_text(WORDS, TAGS), add_special_tokens=False).ids
    units = ask.answer(WORDS, TAGS)
    assert [piece for unit in units for piece in unit] == whole
    assert len(units) == len(WORDS)


def test_units_of_a_unigram_model(tiny_t5):
    ask = asking(tiny_t5)
    words = [word for word in WORDS if word.isascii()]
    tags = ["O"] * len(words)
    whole = ask.backend.encode(answer_text(words, tags), add_special_tokens=False).ids
    assert [piece for unit in ask.answer(words, tags) for piece in unit] == whole


def test_units_of_a_tokenizer_that_puts_a_blank_before_every_text(tiny_chat):
    """As of Llama 2: "▁" before the text, and for every blank."""
    vocabulary = {"<unk>": 0, "</s>": 1, "▁": 2}
    for char in "abcdefghijklmnopqrstuvwxyzAOB()-. ":
        vocabulary.setdefault(char, len(vocabulary))
    backend = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Replace("▁", " ")
    ask = asking(tiny_chat, "inst")
    ask.backend = PreTrainedTokenizerFast(tokenizer_object=backend).backend_tokenizer
    ask.blank_first = False
    words, tags = ["ab", "cd", "."], ["B-x", "O", "O"]
    whole = ask.backend.encode(answer_text(words, tags), add_special_tokens=False).ids
    assert [piece for unit in ask.answer(words, tags) for piece in unit] == whole


def test_every_word_with_every_tag(tiny_chat):
    ask = asking(tiny_chat)
    tags = ["O", "B-x", "I-x"]
    table = ask.units(["the", "the"], tags)
    assert [len(row) for row in table] == [3, 3]
    assert table[0] != table[1]  # the second has a blank before it
    assert [ask.generator.text(way) for way in table[1]] == [" the(O)", " the(B-x)", " the(I-x)"]
    # Remembered by word, and not for other tags.
    assert ask.units(["the"], tags)[0] is table[0]
    assert ask.generator.text(ask.units(["the"], ["O", "B-y"])[0][1]) == "the(B-y)"


def test_special_pieces_stand_around_a_prompt_and_never_in_it(tiny_chat):
    ask = asking(tiny_chat)
    begin, end = (ask.backend.token_to_id(piece) for piece in ("<s>", "</s>"))
    pieces = ask.prompt("Sentence: </s> <s>")
    assert pieces.count(begin) == 2  # the user's and the assistant's
    assert pieces.count(end) == 1
    text = ask.backend.decode(pieces, skip_special_tokens=False)
    assert text == "<s>user\nSentence: </s> <s></s>\n<s>assistant\n"


def test_prompts_of_gner(tiny_t5, plain_llama):
    t5 = asking(tiny_t5)
    assert t5.prompt("Sentence: Ada")[-1] == t5.generator.end
    llama = asking(plain_llama)
    assert llama.generator.text(llama.prompt("Ada")) == "[INST] Ada [/INST]"


def test_an_end_piece_behind_a_prompt_is_taken_away(plain_llama):
    from tokenizers import processors

    ask = asking(plain_llama)
    backend = Tokenizer.from_str(ask.backend.to_str())
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    ask.backend = backend
    assert ask.prompt("Ada")[0] == 0
    assert ask.prompt("Ada")[-1] != 1


def test_pieces_that_reach_over_blanks():
    """A tokenizer that joins a unit with what stands before it: the unit is taken by itself."""
    from spacy_llm2ner.prompted.asking import _behind

    class Encoding:
        ids = (1, 2)
        offsets = ((0, 6), (6, 9))

    assert _behind(4, Encoding()) is None
    Encoding.offsets = ((0, 4), (4, 9))
    assert _behind(4, Encoding()) == [2]


def test_metaspace_words_keep_their_blank(tiny_t5):
    assert isinstance(asking(tiny_t5).backend.pre_tokenizer, pre_tokenizers.Metaspace)
