"""Models that write: what is loaded, what is refused, and what their answers are."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from spacy_llm2ner.llm.loading import LoadSpec
from spacy_llm2ner.prompted.generation import load_generator
from tests.llm.families import FAMILIES


def spec(folder: Path, dtype: str = "float32") -> LoadSpec:
    return LoadSpec(folder, dtype, "cpu", None, False)


@pytest.fixture(params=["tiny_chat", "tiny_t5"])
def folder(request) -> Path:
    return request.getfixturevalue(request.param)


def test_shared_unless_it_is_to_be_tuned(folder):
    one = load_generator(spec(folder))
    assert load_generator(spec(folder)) is one
    own = load_generator(spec(folder), own=True)
    assert own is not one and own.model is not one.model
    assert not any(parameter.requires_grad for parameter in one.model.parameters())


def test_an_encoder_is_refused(tmp_path):
    family = next(f for name, f in FAMILIES.items() if name == "bert")
    with pytest.raises(ValueError, match=r"encoder|LM head|lacks weights"):
        load_generator(spec(family.save(tmp_path / "bert")))


def test_an_encoder_with_a_head_is_refused(tmp_path):
    family = replace(FAMILIES["bert"], model="BertLMHeadModel")
    folder = family.save(tmp_path / "bert")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = tokenizer.sep_token
    tokenizer.save_pretrained(folder)
    with pytest.raises(ValueError, match="is an encoder"):
        load_generator(spec(folder))


def test_a_model_without_its_head_is_refused(tiny_chat, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(tiny_chat, folder)
    weights = load_file(folder / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lm_head"):
        load_generator(spec(folder))


def test_a_tied_head_needs_no_weights_of_its_own(tmp_path):
    folder = FAMILIES["llama"].save(tmp_path / "tied", tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    load_generator(spec(folder))


def test_a_model_without_an_end_is_refused(tiny_chat, tmp_path):
    folder = tmp_path / "endless"
    shutil.copytree(tiny_chat, folder)
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        settings = json.loads((folder / name).read_text("utf8"))
        settings.pop("eos_token_id", None)
        settings.pop("eos_token", None)
        (folder / name).write_text(json.dumps(settings), encoding="utf8")
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text("utf8"))
    config["eos_token_id"] = None
    (folder / "config.json").write_text(json.dumps(config), encoding="utf8")
    with pytest.raises(ValueError, match="end piece"):
        load_generator(spec(folder))


PROMPTS = [[5, 9, 80, 7], [8, 9], [60, 61, 62, 63, 64, 65, 66]]
TARGETS = [[20, 21, 22], [40], [30, 31, 32, 33, 34]]


def test_answers_are_those_of_plain_greedy_search(folder):
    generator = load_generator(spec(folder))
    auto = AutoModelForSeq2SeqLM if generator.is_seq2seq else AutoModelForCausalLM
    plain = auto.from_pretrained(folder).eval()
    together = generator.generate(PROMPTS, [6, 6, 6])
    for prompt, answer in zip(PROMPTS, together, strict=True):
        written = [generator.start] if generator.is_seq2seq else list(prompt)
        found: list[int] = []
        with torch.no_grad():
            while len(found) < 6:
                ids = torch.tensor([written])
                if generator.is_seq2seq:
                    inputs = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": ids}
                else:
                    inputs = {"input_ids": ids}
                piece = int(plain(**inputs).logits[0, -1].argmax())
                if piece == generator.end:
                    break
                found.append(piece)
                written.append(piece)
        assert answer.pieces == found
        assert answer.text == generator.text(found)


def test_each_answer_has_its_own_room(tiny_chat):
    generator = load_generator(spec(tiny_chat))
    answers = generator.generate(PROMPTS, [2, 5, 3])
    assert all(len(a.pieces) <= n for a, n in zip(answers, [2, 5, 3], strict=True))
    cut = [a for a, n in zip(answers, [2, 5, 3], strict=True) if len(a.pieces) == n]
    assert cut and not any(answer.complete for answer in cut if generator.end not in answer.pieces)


def test_beams(tiny_chat):
    generator = load_generator(spec(tiny_chat))
    assert len(generator.generate(PROMPTS, [5, 5, 5], beams=3)) == 3


def test_log_probs_are_those_of_single_plain_rows(folder):
    generator = load_generator(spec(folder))
    with torch.no_grad():
        found = generator.log_probs(PROMPTS, TARGETS)
        for prompt, target, row in zip(PROMPTS, TARGETS, found, strict=True):
            if generator.is_seq2seq:
                logits = generator.model(
                    input_ids=torch.tensor([prompt]),
                    decoder_input_ids=torch.tensor([[generator.start, *target[:-1]]]),
                ).logits[0]
            else:
                ids = torch.tensor([[*prompt, *target[:-1]]])
                logits = generator.model(input_ids=ids).logits[0, len(prompt) - 1 :]
            expected = torch.log_softmax(logits, -1)[range(len(target)), target]
            torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-4)


def test_half_precision(tiny_chat):
    generator = load_generator(spec(tiny_chat, "bfloat16"))
    exact = load_generator(spec(tiny_chat))
    with torch.no_grad():
        rows = zip(
            generator.log_probs(PROMPTS, TARGETS), exact.log_probs(PROMPTS, TARGETS), strict=True
        )
        for found, expected in rows:
            assert found.dtype == torch.float32
            torch.testing.assert_close(found, expected, atol=0.3, rtol=0.05)


@pytest.mark.llm
def test_the_default_llm_writes(default_llm):
    generator = load_generator(spec(default_llm))
    prompt = generator.tokenizer("The capital of France is")["input_ids"]
    (answer,) = generator.generate([prompt], [4])
    assert "Paris" in answer.text
