"""What a search may choose."""

from __future__ import annotations

import pytest

from spacy_llm2ner.sweep.space import (
    DROPOUT,
    GROUPS,
    LEARN_RATE,
    OWN_LAYERS,
    LLMChoices,
    Space,
    layer_choices,
)

HEAD = {"hidden_width": 64, "depth": 2, "layers_as": "mean", "max_span_tokens": None}
COMPONENT = {
    "loss": {"@misc": "x", "label_smoothing": 0.0},
    "model": {"llm": {"reading": "twice"}, "head": HEAD},
}
SMALL = LLMChoices("small", ("once", "twice"), layer_choices(12, [3, 6]))
DEEP = LLMChoices("deep", ("once",), layer_choices(30, None))


def space(*llms: LLMChoices, groups=GROUPS) -> Space:
    llms = llms or (SMALL,)
    return Space.of(COMPONENT, llms, dropout=0.3, learn_rate=0.002, groups=groups)


class Last:
    """A trial that takes the last choice, and the lowest number."""

    def suggest_categorical(self, name, choices):
        return choices[-1]

    def suggest_float(self, name, low, high, *, log=False):
        return low


def test_the_config_is_a_point_of_the_space():
    found = space()
    own = found.own_parameters
    assert own["head.hidden_width"] == 64 and 64 in found.choices["head.hidden_width"]
    assert all(own[name] in values for name, values in found.choices.items())
    chosen = found.chosen(own)
    assert (chosen.llm, chosen.reading, chosen.layers) == ("small", "twice", (3, 6))
    assert (chosen.learn_rate, chosen.dropout) == (0.002, 0.3)
    # What the head lacks, and what the config leaves to it, is not varied.
    assert "head.rank" not in own and "head.max_span_tokens" not in own
    assert "loss.positive_weight" not in own and "llm" not in own


def test_suggestions_lead_to_settings():
    parameters = space().suggest(Last())
    chosen = space().chosen(parameters)
    assert chosen.head == {"hidden_width": 384, "depth": 3, "layers_as": "features"}
    assert chosen.loss == {"label_smoothing": 0.1}
    assert chosen.dropout == 0.5 and chosen.learn_rate == parameters[LEARN_RATE]
    assert len(chosen.layers) > 1 and max(chosen.layers) <= 12


def test_llms_share_the_names_of_layers_and_readings():
    found = space(SMALL, DEEP)
    assert found.choices["llm"] == ["small", "deep"]
    assert OWN_LAYERS not in found.choices["layers"] and "reading" not in found.choices
    names = {**found.own_parameters, "llm": "deep", "layers": "4 middle"}
    assert found.chosen(names).layers == DEEP.layers["4 middle"]
    assert max(DEEP.tapped) == 30 and {*DEEP.layers["4 middle"]} <= {*DEEP.tapped}


def test_groups_limit_what_is_varied():
    found = space(groups=("training",))
    assert {*found.own_parameters} == {DROPOUT, LEARN_RATE}
    found = space(groups=("head", "reading"))
    assert {name.split(".")[0] for name in found.own_parameters} == {"head", "reading"}
    assert found.chosen(found.own_parameters).learn_rate == 0.002


@pytest.mark.parametrize("most", [1, 7, 10_000])
def test_a_grid_has_different_points_and_begins_with_the_config(most):
    found = space(groups=("training", "reading"))
    points = found.grid(most, seed=0)
    assert points[0] == found.own_parameters
    assert len(points) == len({tuple(sorted(p.items())) for p in points}) == min(most, 13)
    assert points == found.grid(most, seed=0)
    assert most < 3 or points != found.grid(most, seed=1)
