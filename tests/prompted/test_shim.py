"""The settings of an LLM that writes."""

from __future__ import annotations

import pytest

from spacy_llm2ner.prompted.architecture import build_prompted_llm


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"tuning": "some"}, "'tuning'.*'some'.*'none', 'lora', 'full'"),
        ({"batch_pieces": 0}, "'batch_pieces'.*at least 1"),
        ({"lora_rank": 0}, "'lora_rank'.*at least 1"),
        ({"lora_alpha": 0.0}, "'lora_alpha'.*above 0"),
        ({"lora_dropout": 1.0}, "'lora_dropout'.*below 1"),
    ],
)
def test_settings_out_of_range(settings: dict, match: str):
    with pytest.raises(ValueError, match=match):
        build_prompted_llm("anywhere", **settings)
