"""Pieces of the default LLM's tokenizer for a word of the sample corpus, which is a word of spaCy.

python -m benchmarks.annotate.pieces
"""

from __future__ import annotations

import spacy
from transformers import AutoTokenizer

from benchmarks.command import command_line
from benchmarks.paths import LLM
from benchmarks.presets import sample_texts
from benchmarks.results import markdown_table, write


def main() -> None:
    command_line("annotate.pieces", __doc__).parse_args()
    texts = sample_texts("test", sentences=0)
    nlp = spacy.blank("en")
    words = sum(len(nlp.make_doc(text)) for text in texts)
    tokenizer = AutoTokenizer.from_pretrained(LLM)
    pieces = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    rows = [(LLM.name, f"{words:,}", f"{pieces:,}", f"{pieces / words:.2f}")]
    table = markdown_table(("LLM", "words", "pieces", "pieces of a word"), rows)
    write("pieces", {"llm": LLM.name, "words": words, "pieces": pieces}, table)


if __name__ == "__main__":
    main()
