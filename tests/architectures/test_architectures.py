"""The Thinc models: sizes, prediction, training, copies, bytes, and what they import."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Adam, Model, set_dropout_rate

from spacy_llm2ner.architectures import torch_head
from spacy_llm2ner.architectures.frozen_llm import build_frozen_llm
from spacy_llm2ner.architectures.span_recognizer import build_span_recognizer
from spacy_llm2ner.architectures.span_scorer import build_span_scorer
from tests.tiny import TEXTS, llm_config

Arrays = list[np.ndarray]
ENCODERS = ["none", "conv"]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_states(*lengths: int) -> Arrays:
    """float16 and read-only, as a frozen LLM gives them."""
    rng = np.random.default_rng(0)
    texts = [rng.normal(size=(n, 2, 6)).astype(np.float16) for n in lengths]
    for text in texts:
        text.flags.writeable = False
    return texts


def band(width: int = 4, labels: int = 3) -> Arrays:
    return [np.zeros((0, width, labels), dtype=np.float32)]


def new_head(**settings: Any) -> Model:
    return build_span_scorer(**{"hidden_width": 8, "rank": 2, **settings})


def make_head(width: int = 4, labels: int = 3, **settings: Any) -> Model:
    """A head with random weights."""
    head = new_head(**settings)
    head.initialize(X=make_states(30, 20), Y=band(width, labels))
    for parameter in module(head).parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return head


def module(head: Model) -> Any:
    return head.shims[0].module


def dropouts(head: Model) -> set[float]:
    return {m.p for m in module(head).modules() if isinstance(m, torch.nn.Dropout)}


def close(one: Arrays, other: Arrays) -> bool:
    return len(one) == len(other) and all(
        a.shape == b.shape and np.allclose(a, b, atol=1e-4) for a, b in zip(one, other, strict=True)
    )


# The head: predicting -------------------------------------------------------------------------


@pytest.mark.parametrize("encoder", ENCODERS)
def test_each_text_gets_its_band(encoder: str) -> None:
    head, states = make_head(encoder=encoder), make_states(7, 0, 2, 12, 0)
    bands = head.predict(states)
    assert [b.shape for b in bands] == [(len(s), 4, 3) for s in states]
    assert all(isinstance(b, np.ndarray) and b.dtype == np.float32 for b in bands)
    assert bands[0][6, 1, 0] == -1e6  # beyond the text
    assert (bands[0][3] > -1e5).all()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_predicting_equals_training_without_dropout(encoder: str) -> None:
    head, states = make_head(encoder=encoder), make_states(7, 0, 2, 12)
    scored, _ = head.begin_update(states)
    assert close(head.predict(states), scored)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_parts_give_the_same_as_the_whole(encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head, states = make_head(encoder=encoder), make_states(7, 70, 0, 2, 12, 70, 1)
    together = head.predict(states)
    monkeypatch.setattr(torch_head, "_PREDICT_TOKENS", 20)
    assert close(head.predict(states), together)
    assert close([head.predict([text])[0] for text in states], together)
    assert close(head.predict(states[::-1])[::-1], together)


def test_nothing_to_score() -> None:
    head, optimizer = make_head(), Adam()
    assert head.predict([]) == []
    for empty in ([], make_states(0, 0)):
        bands, backprop = head.begin_update(empty)
        assert [b.shape for b in bands] == [(0, 4, 3)] * len(empty)
        assert backprop(bands) == []
        assert close(head.predict(empty), bands)
    head.finish_update(optimizer)


def test_before_initialisation_it_says_what_is_missing() -> None:
    for states in (make_states(3), make_states(0)):
        with pytest.raises(ValueError, match=r"nlp\.initialize"):
            new_head().predict(states)
        with pytest.raises(ValueError, match=r"nlp\.initialize"):
            new_head().begin_update(states)


# The head: training ---------------------------------------------------------------------------


def train(head: Model, steps: int, rate: float = 0.0) -> list[float]:
    """Losses of steps towards one random target."""
    states = make_states(7, 0, 12)
    rng = np.random.default_rng(1)
    targets = [(rng.random((len(s), 4, 3)) < 0.1).astype(np.float32) for s in states]
    optimizer, losses = Adam(0.01), []
    set_dropout_rate(head, rate)
    for _ in range(steps):
        bands, backprop = head.begin_update(states)
        legal = [b > -1e5 for b in bands]
        errors = [
            (1 / (1 + np.exp(-b * ok)) - t) * ok
            for b, t, ok in zip(bands, targets, legal, strict=True)
        ]
        backprop(errors)
        head.finish_update(optimizer)
        losses.append(float(sum((e**2).sum() for e in errors)))
    return losses


@pytest.mark.parametrize("encoder", ENCODERS)
def test_it_learns(encoder: str) -> None:
    head = new_head(encoder=encoder)
    head.initialize(X=make_states(7, 12), Y=band())
    losses = train(head, 60)
    assert losses[-1] < 0.3 * losses[0]


def test_the_trainings_dropout_reaches_torch() -> None:
    head, states = make_head(), make_states(9)
    set_dropout_rate(head, 0.4)
    one, _ = head.begin_update(states)
    assert dropouts(head) == {0.4}
    other, _ = head.begin_update(states)
    assert not close(one, other)
    assert close(head.predict(states), head.predict(states))
    set_dropout_rate(head, 0.0)
    assert close(head.begin_update(states)[0], head.predict(states))


@pytest.mark.parametrize("rate", [0.0, 0.25])
def test_a_fixed_dropout_stays(rate: float) -> None:
    head = make_head(dropout=rate)
    set_dropout_rate(head, 0.6)
    head.begin_update(make_states(9))
    assert dropouts(head) == {rate}
    # A checkpoint of a head that followed [training] does not bring its rate along.
    follower = make_head()
    set_dropout_rate(follower, 0.6)
    head.from_bytes(follower.to_bytes())
    set_dropout_rate(head, 0.6)
    head.begin_update(make_states(9))
    assert dropouts(head) == {rate}


def test_gradients_of_texts_in_any_grouping_add_up() -> None:
    states, rng = make_states(7, 3, 12), np.random.default_rng(0)
    gradients = [rng.normal(size=(len(s), 4, 3)).astype(np.float32) for s in states]
    heads = [make_head()]
    heads.append(heads[0].copy())
    heads[0].begin_update(states)[1](gradients)
    for text, gradient in zip(states, gradients, strict=True):
        heads[1].begin_update([text])[1]([gradient])
    for one, other in zip(*(module(head).parameters() for head in heads), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-4, rtol=1e-3)


def test_a_gradient_per_text_is_required() -> None:
    _, backprop = make_head().begin_update(make_states(3, 4))
    with pytest.raises(ValueError):
        backprop([np.zeros((3, 4, 3), dtype=np.float32)])


# The head: sizes, copies, bytes ---------------------------------------------------------------


def test_without_sample_tokens_it_can_still_be_initialised() -> None:
    head = new_head()
    head.initialize(X=make_states(0), Y=band())
    assert head.predict(make_states(5))[0].shape == (5, 4, 3)


@pytest.mark.parametrize(
    "duplicate", [Model.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))]
)
@pytest.mark.parametrize("settings", [{}, {"dropout": 0.2}])
def test_copies_are_independent(duplicate: Any, settings: dict[str, Any]) -> None:
    head, states = make_head(**settings), make_states(9)
    before = head.predict(states)
    twin = duplicate(head)
    assert close(twin.predict(states), before)
    train(twin, 3)
    assert not close(twin.predict(states), before)
    assert close(head.predict(states), before)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_bytes_go_into_a_fresh_head(encoder: str) -> None:
    head, states = make_head(encoder=encoder, max_span_tokens=4), make_states(9)
    data = head.to_bytes()
    twin = new_head(encoder=encoder).from_bytes(data)
    assert close(twin.predict(states), head.predict(states))
    assert twin.get_dim("nO") == 3 and twin.shims[0].sizes["max_span_tokens"] == 4
    assert twin.to_bytes() == data


def test_bytes_go_into_a_head_of_other_sizes() -> None:
    head, other, states = make_head(), make_head(6, 7), make_states(9)
    other.set_dim("nO", None, force=True)  # thinc wants this said
    assert close(other.from_bytes(head.to_bytes()).predict(states), head.predict(states))


# The head: settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "'rank' of the head is 0; it must be at least 1"),
        ({"hidden_width": 0}, "'hidden_width' of the head is 0; it must be at least 1"),
        ({"max_span_tokens": 0}, "'max_span_tokens' of the head is 0; it must be"),
        ({"depth": -1}, "'depth' of the head is -1; it must be at least 0"),
        ({"encoder": "cnn"}, "'encoder' of the head is 'cnn'; accepted are 'none', 'conv'"),
        ({"layers_as": "sum"}, "'layers_as' of the head is 'sum'; accepted are 'mean', 'features'"),
        ({"dropout": 1.0}, "'dropout' of the head is 1.0; it must be"),
        ({"dropout": -0.1}, "'dropout' of the head is -0.1; it must be"),
    ],
)
def test_settings_out_of_range_are_named_at_once(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_head(**settings)


def test_a_wrong_setting_is_found_when_the_config_is_read() -> None:
    name = "spacy_llm2ner.SpanScorer.v1"
    config = {"head": {"@architectures": name, "hidden_width": 0}}
    with pytest.raises(ValueError, match="'hidden_width' of the head is 0"):
        registry.resolve(config)


# The whole recogniser -------------------------------------------------------------------------


@pytest.fixture
def docs() -> list[Doc]:
    nlp = spacy.blank("en")
    return [nlp(text) for text in [*TEXTS, "", "  \n ", "one"]]


def new_recognizer(folder: Path, **head: Any) -> Model:
    llm = {key: value for key, value in llm_config(folder).items() if key != "@architectures"}
    return build_span_recognizer(build_frozen_llm(**llm), new_head(**head))


def make_recognizer(folder: Path, docs: list[Doc], **head: Any) -> Model:
    model = new_recognizer(folder, **head)
    model.initialize(X=docs, Y=band())
    for parameter in module(model.layers[1]).parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def test_docs_become_bands(tiny_llm: Path, docs: list[Doc]) -> None:
    model = make_recognizer(tiny_llm, docs)
    bands = model.predict(docs)
    assert [b.shape for b in bands] == [(len(doc), 4, 3) for doc in docs]
    scored, backprop = model.begin_update(docs)
    assert close(scored, bands)
    assert backprop([np.ones_like(b) for b in bands]) == []
    before = module(model.layers[1]).length.detach().clone()
    model.finish_update(Adam(0.1))
    assert not torch.equal(module(model.layers[1]).length, before)


def test_no_docs_and_docs_without_tokens(tiny_llm: Path, docs: list[Doc]) -> None:
    model = make_recognizer(tiny_llm, docs)
    empty = [doc for doc in docs if not len(doc)] * 2
    assert model.predict([]) == []
    assert model.begin_update([])[0] == []
    assert [b.shape for b in model.predict(empty)] == [(0, 4, 3)] * 2
    assert [b.shape for b in model.begin_update(empty)[0]] == [(0, 4, 3)] * 2


def test_sizes_are_known_without_docs(tiny_llm: Path, docs: list[Doc]) -> None:
    model = new_recognizer(tiny_llm)
    model.initialize(X=[], Y=band(5, 2))
    assert model.get_dim("nO") == 2
    assert model.predict(docs)[0].shape == (len(docs[0]), 5, 2)


def test_it_can_be_initialised_again_with_other_labels(tiny_llm: Path, docs: list[Doc]) -> None:
    model = make_recognizer(tiny_llm, docs)
    model.initialize(X=docs, Y=band(2, 6))
    assert model.get_dim("nO") == model.layers[1].get_dim("nO") == 6
    assert model.predict(docs[:1])[0].shape == (len(docs[0]), 2, 6)
    model.attrs["resize_output"](model, 8)
    assert model.get_dim("nO") == model.layers[1].get_dim("nO") == 8


@pytest.mark.parametrize("duplicate", [Model.copy, copy.deepcopy])
def test_copies_work_and_models_share_the_llm(
    tiny_llm: Path, docs: list[Doc], duplicate: Any
) -> None:
    model = make_recognizer(tiny_llm, docs)
    twin = duplicate(model)
    assert close(twin.predict(docs), model.predict(docs))
    twin.attrs["resize_output"](twin, 5)
    assert model.predict(docs)[0].shape[2] == 3
    if duplicate is Model.copy:
        assert twin.layers[0].shims[0].llm is model.layers[0].shims[0].llm


def test_bytes_hold_the_head_and_not_the_llm(tiny_llm: Path, docs: list[Doc]) -> None:
    model = make_recognizer(tiny_llm, docs)
    model.layers[0].shims[0].record()
    data = model.to_bytes()
    n_weights = sum(value.numel() for value in module(model.layers[1]).state_dict().values())
    assert len(data) < 4 * n_weights + 10_000
    twin = new_recognizer(tiny_llm).from_bytes(data)
    assert close(twin.predict(docs), model.predict(docs))
    assert twin.to_bytes() == data


def test_averages_reach_the_head_through_the_whole_model(tiny_llm: Path, docs: list[Doc]) -> None:
    model, optimizer = make_recognizer(tiny_llm, docs), Adam(0.05, use_averages=True)
    for _ in range(3):
        bands, backprop = model.begin_update(docs)
        backprop([np.where(b > -1e5, 0.1, 0.0).astype(np.float32) for b in bands])
        model.finish_update(optimizer)
    last = model.predict(docs)
    with pytest.raises(RuntimeError), model.use_params(optimizer.averages):
        averaged = model.predict(docs)
        stored = model.to_bytes()
        raise RuntimeError
    assert not close(averaged, last)
    assert close(model.predict(docs), last)
    assert close(new_recognizer(tiny_llm).from_bytes(stored).predict(docs), averaged)


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_building_from_config_loads_no_llm(tmp_path: Path) -> None:
    config = {
        "model": {
            "@architectures": "spacy_llm2ner.SpanRecognizer.v1",
            "llm": llm_config(tmp_path / "missing"),  # there is nothing to load
            "head": {"@architectures": "spacy_llm2ner.SpanScorer.v1"},
        }
    }
    found = run_python(
        "import sys\n"
        "from spacy.util import registry\n"
        f"model = registry.resolve({config!r})['model']\n"
        "model.copy().from_bytes(model.to_bytes())\n"
        "print('transformers' in sys.modules, model.layers[0].shims[0].llm.is_loaded)"
    )
    assert found.split() == ["False", "False"]
