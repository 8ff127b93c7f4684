"""What the model is asked, and what it is to answer.

The instruction is that of GNER (github.com/yyDing1/GNER, Apache-2.0): its published checkpoints
know no other, so it is kept to the letter, also where it shows commas that the answers lack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_INSTRUCTION = """\
Please analyze the sentence provided, identifying the type of entity for each word on a \
token-by-token basis.
Output format is: word_1(label_1), word_2(label_2), ...
We'll use the BIO-format to label the entities, where:
1. B- (Begin) indicates the start of a named entity.
2. I- (Inside) is used for words within a named entity but are not the first word.
3. O (Outside) denotes words that are not part of a named entity.
"""


def make_prompt(
    words: Sequence[str],
    labels: Sequence[str],
    *,
    descriptions: Mapping[str, str] | None = None,
    dataset: str | None = None,
) -> str:
    """The instruction with its tags and its sentence.

    words (Sequence[str]): The words of the sentence.
    labels (Sequence[str]): The labels, in the order in which they are named.
    descriptions (Optional[Mapping[str, str]]): What labels mean. Those of `labels` that have one
        get a line each. An addition of ours: GNER has names only.
    dataset (Optional[str]): GNER's optional line with the name of a corpus.
    RETURNS (str): The prompt; `wrap` makes of it what a model reads.
    """
    head, sentence = split_prompt(words, labels, descriptions=descriptions, dataset=dataset)
    return head + sentence


def split_prompt(
    words: Sequence[str],
    labels: Sequence[str],
    *,
    descriptions: Mapping[str, str] | None = None,
    dataset: str | None = None,
) -> tuple[str, str]:
    """As `make_prompt`, in two parts: what is the same for all sentences, and the sentence.

    RETURNS (Tuple[str, str]): The first part ends with a line break.
    """
    lines = [_INSTRUCTION, f"Use the specific entity tags: {', '.join([*labels])} and O."]
    given = descriptions or {}
    lines += [f"{label}: {given[label]}" for label in labels if given.get(label)]
    if dataset:
        lines.append(f"Dataset: {dataset}.")
    return "\n".join(lines) + "\n", f"Sentence: {' '.join(words)}"


def check_label_names(names: Sequence[str]) -> None:
    """Make sure that labels can be told apart in a prompt and in an answer.

    RAISES: ValueError for an empty name, for "O", or for names that differ in case or blanks only.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = " ".join(name.split()).casefold()
        if key in ("", "o"):
            raise ValueError(
                f"llm2ner: '{name}' cannot be the name of a label in a prompt: a name is needed "
                f"that is neither empty nor O, which marks words outside of entities."
            )
        if key in seen and seen[key] != name:
            raise ValueError(
                f"llm2ner: the label names '{seen[key]}' and '{name}' cannot be told apart in a "
                f"model's answer. Give one of them another name with the setting 'label_names'."
            )
        seen[key] = name
