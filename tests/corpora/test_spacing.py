import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_llm2ner.corpora import read_conll
from spacy_llm2ner.corpora.spacing import spaces_for


def joined(words):
    spaces = spaces_for(words)
    assert len(spaces) == len(words)
    return "".join(word + " " * space for word, space in zip(words, spaces, strict=True))


EXAMPLES = [
    ("Mr. Weaver , 41 , left Turin on Friday .", "Mr. Weaver, 41, left Turin on Friday."),
    (
        '" We ca n\'t wait , " she said , " but they wo n\'t come . "',
        '"We can\'t wait," she said, "but they won\'t come."',
    ),
    (
        "It is n't ours ; they 've sold the club 's ground .",
        "It isn't ours; they've sold the club's ground.",
    ),
    ('That was all , " the coach said .', 'That was all," the coach said.'),
    ('They had to leave . "', 'They had to leave."'),
    ('He told us : " Nothing is lost .', 'He told us: "Nothing is lost.'),
    ('a so-called " quick fix " for banks', 'a so-called "quick fix" for banks'),
    (
        "The fee rose to $ 12.5 million ( US$ 3 a head ) , up 4 % .",
        "The fee rose to $12.5 million (US$3 a head), up 4%.",
    ),
    (
        "TENNIS - MONDAY 'S RESULTS FROM THE OSLO OPEN .",
        "TENNIS - MONDAY'S RESULTS FROM THE OSLO OPEN.",
    ),
    ("Oslo 3 - 1 Bergen 6-4 2 / 3", "Oslo 3 - 1 Bergen 6-4 2 / 3"),
    ("the players ' union and its members ' votes", "the players' union and its members' votes"),
    ("the film ' Blue Night ' and its star", "the film 'Blue Night' and its star"),
    ("Anna 's ' Blue Night ' sold out", "Anna's 'Blue Night' sold out"),
    ("sales in ' 95 and the Euro ' 96 team", "sales in '95 and the Euro '96 team"),
    ("`` Never , '' said Kim [ the mayor ] .", "``Never,'' said Kim [the mayor]."),
    ("“ Never , ” said Kim ’s aide ’ .", "“Never,” said Kim’s aide’."),
    ("he ' s late and did n ' t call :) ...", "he's late and didn't call :)..."),
    ("see you @ the # RoofParty !! soon ?!", "see you @ the #RoofParty!! soon?!"),
    ("they won in the U.S. . And then . . .", "they won in the U.S. . And then..."),
    ("change ( % ) 0.3 %", "change (%) 0.3%"),
]


UNSPACED = [
    ("他 在 2008 年 离开 北京 ， 去 IBM 工作 。", "他在2008年离开北京，去IBM工作。"),
    ("東京 タワー は 高い 「 塔 」 だ 。", "東京タワーは高い「塔」だ。"),
    ("그는 서울 에서 일한다 .", "그는 서울 에서 일한다."),
    ("the sign 出口 means exit", "the sign出口means exit"),
]


@pytest.mark.parametrize(("words", "text"), UNSPACED)
def test_no_spaces_beside_chinese_and_japanese_characters(words, text):
    assert joined(words.split(" ")) == text


@pytest.mark.parametrize(("words", "text"), EXAMPLES)
def test_spacing_of_english(words, text):
    assert joined(words.split(" ")) == text


def test_no_words_no_spaces():
    assert spaces_for([]) == []


PUNCTUATION = [*".,;:!?%()[]{}\"'`-/$#*", "``", "''", "n't", "'s", "n", "t", "...", '."']
WORDS = st.lists(st.sampled_from([*PUNCTUATION, "1", "95", "Paris", "said"]) | st.text(min_size=1))


@given(WORDS)
def test_words_are_never_changed(words):
    text = joined(words)
    position = 0
    for word, space in zip(words, spaces_for(words), strict=True):
        assert text.startswith(word, position)
        position += len(word) + space
    assert position == len(text)
    assert not words or spaces_for(words)[-1] is False


@pytest.mark.parametrize("name", ["uner/zh_gsd-test.conll"])
def test_real_chinese_has_no_spaces(shared_corpora, name):
    sentences = [s for d in read_conll(shared_corpora / name).documents for s in d.sentences]
    spaces = sum(joined(sentence.words).count(" ") for sentence in sentences)
    # Between words in Latin letters.
    assert spaces < 0.01 * sum(len(sentence.words) for sentence in sentences)


@given(st.lists(st.from_regex(r"[A-Za-z]{2,8}", fullmatch=True)))
def test_plain_words_stay_apart(words):
    assert joined(words) == " ".join(words)


@pytest.mark.parametrize("name", ["conll2003/dev.txt", "wnut17/dev.conll"])
def test_real_sentences_look_like_text(shared_corpora, name):
    sentences = [s for d in read_conll(shared_corpora / name).documents for s in d.sentences]
    text = "\n".join(joined(sentence.words) for sentence in sentences)
    words = sum(len(sentence.words) for sentence in sentences)
    # What the rules cannot tell keeps its space, so a few remain; without rules there are 3,500
    # full stops and commas after a space in CoNLL-2003 dev.
    assert text.count(" ,") + text.count(" .") + text.count("( ") < words / 500
