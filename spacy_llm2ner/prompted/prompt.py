"""The prompt: the instruction of GNER with labels and a sentence.

The instruction is that of GNER (github.com/yyDing1/GNER, Apache-2.0), character for character,
including the commas that the answers lack: the published checkpoints were trained on no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import Errors

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
    """Make a prompt: the instruction, the tags and the sentence.

    words (Sequence[str]): The words of the sentence.
    labels (Sequence[str]): The labels, in the order in which they are named.
    descriptions (Optional[Mapping[str, str]]): Descriptions of labels. Those of `labels` get a line
        each. GNER itself has only names.
    dataset (Optional[str]): GNER's optional line with the name of a corpus.
    RETURNS (str): The prompt, without the frame of a model's format.
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
    """`make_prompt` in two parts: the text that all sentences share, and the sentence.

    RETURNS (Tuple[str, str]): The first part ends with a line break.
    """
    lines = [_INSTRUCTION, f"Use the specific entity tags: {', '.join([*labels])} and O."]
    given = descriptions or {}
    lines += [f"{label}: {given[label]}" for label in labels if given.get(label)]
    if dataset:
        lines.append(f"Dataset: {dataset}.")
    return "\n".join(lines) + "\n", f"Sentence: {' '.join(words)}"


def check_label_names(names: Sequence[str]) -> None:
    """Check that labels can be told apart in a prompt and in an answer.

    names (Sequence[str]): The names of the labels.
    RAISES (ValueError): For an empty name, for "O", or for names that differ only in case or
        blanks.
    """
    seen: dict[str, str] = {}
    for name in names:
        key = " ".join(name.split()).casefold()
        if key in ("", "o"):
            raise ValueError(Errors.E561.format(name=name))
        if key in seen and seen[key] != name:
            raise ValueError(Errors.E562.format(one=seen[key], other=name))
        seen[key] = name
