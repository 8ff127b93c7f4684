"""The instruction, the answer, the metrics' small parts."""

from __future__ import annotations

import pytest

from spacy_llm2ner.prompted.metric import average_f1, normalise, string_entities
from spacy_llm2ner.prompted.prompt import check_label_names, make_prompt, split_prompt
from tests.prompted.sample import score_tags

WORDS = ["Ada", "wrote", "."]
# As the published checkpoints were trained; also shown on their model cards.
GNER_PROMPT = (
    "Please analyze the sentence provided, identifying the type of entity for each word on a "
    "token-by-token basis.\n"
    "Output format is: word_1(label_1), word_2(label_2), ...\n"
    "We'll use the BIO-format to label the entities, where:\n"
    "1. B- (Begin) indicates the start of a named entity.\n"
    "2. I- (Inside) is used for words within a named entity but are not the first word.\n"
    "3. O (Outside) denotes words that are not part of a named entity.\n"
    "\n"
    "Use the specific entity tags: person, location and O.\n"
    "Sentence: Ada wrote ."
)


def test_prompt_is_that_of_the_published_models():
    assert make_prompt(WORDS, ["person", "location"]) == GNER_PROMPT
    with_dataset = make_prompt(WORDS, ["person", "location"], dataset="conll")
    assert with_dataset == GNER_PROMPT.replace("Sentence:", "Dataset: conll.\nSentence:")


def test_descriptions_follow_the_labels():
    prompt = make_prompt(WORDS, ["person", "year"], descriptions={"year": "a year, in figures"})
    assert "person, year and O.\nyear: a year, in figures\nSentence:" in prompt


def test_the_first_part_does_not_depend_on_the_sentence():
    head, sentence = split_prompt(WORDS, ["person"])
    assert head + sentence == make_prompt(WORDS, ["person"])
    assert split_prompt(["Other"], ["person"])[0] == head


@pytest.mark.parametrize(
    "names", [["O"], ["o"], [""], ["  "], ["Person", "person"], ["a b", "a  B"]]
)
def test_label_names_that_cannot_be_told_apart(names):
    with pytest.raises(ValueError, match="llm2ner"):
        check_label_names(names)


def test_normalised_strings():
    assert normalise("The  U.S. (a state)") == "us state"
    words = ["the", "The", "Who", "and", "Anne"]
    assert string_entities(words, [(0, 3, "Band"), (1, 3, "band")]) == {("who", "band")}


def test_average_is_not_weighted():
    one = score_tags([(["a"], ["B-x"], ["B-x"])])
    other = score_tags([(["a", "b"], ["B-x", "B-x"], ["O", "O"])])
    mean = average_f1({"one": one["gner_string"], "other": other["gner_string"]})
    assert mean == pytest.approx(0.5)
    with pytest.raises(ValueError, match="one metric"):
        average_f1({"one": one["gner_string"], "other": other["entity_position"]})
    with pytest.raises(ValueError, match="no metric"):
        average_f1({})


def test_scores_name_their_metric():
    scores = score_tags([(["a"], ["B-x"], ["B-x"])])
    assert set(scores["gner_string"].named()) == {"gner_string_p", "gner_string_r", "gner_string_f"}
    assert scores["entity_position"].named()["entity_position_f"] == pytest.approx(1.0)
