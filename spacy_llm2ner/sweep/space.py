"""What a search may choose: settings of the head, the loss, the training, the reading, the LLM."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .layer_sets import Layers, even_sets, tapped_layers

Value = str | int | float | bool | None

HEAD, LOSS, TRAINING, READING, LAYERS, LLM = GROUPS = (
    *("head", "loss", "training", "reading", "layers", "llm"),
)
LEARN_RATE, DROPOUT = "training.learn_rate", "training.dropout"
OWN_LAYERS = "config"
"""The choice of the layers that the config names."""

# Settings of heads and losses that a search varies where they have them; the config's own value is
# always among the choices.
_CHOICES: dict[str, tuple[Value, ...]] = {
    "head.hidden_width": (128, 192, 256, 384),
    "head.depth": (1, 2, 3),
    "head.rank": (16, 32, 64),
    "head.encoder": ("conv",),
    "head.layers_as": ("mean", "features"),
    "loss.label_smoothing": (0.0, 0.05, 0.1),
    "loss.positive_weight": (1.0, 1.5, 2.0),
    DROPOUT: (0.1, 0.2, 0.3, 0.4, 0.5),
}
_LEARN_RATES = (5e-4, 8e-3)
# Those of a grid, which has few points per setting.
_GRID: dict[str, tuple[Value, ...]] = {LEARN_RATE: (0.001, 0.002, 0.004), DROPOUT: (0.2, 0.4)}
_MOST_LAYERS = 4
# More sets of parameters are drawn from a grid without listing it.
_LARGE_GRID = 1_000_000


class Suggests(Protocol):
    """What a trial of Optuna can do."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Choose one of some values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Choose a number."""


@dataclass(frozen=True)
class Chosen:
    """What a trial trains.

    llm (str): The LLM, as a config names it.
    reading (str): "once" or "twice".
    layers (Tuple[int, ...]): The layers.
    head, loss (Mapping[str, Any]): Settings of the component's blocks of these names.
    learn_rate (float): The highest learning rate.
    dropout (float): The dropout rate.
    """

    llm: str
    reading: str
    layers: Layers
    head: Mapping[str, Value]
    loss: Mapping[str, Value]
    learn_rate: float
    dropout: float


@dataclass(frozen=True)
class LLMChoices:
    """An LLM of a search.

    name (str): As in a config.
    readings (Sequence[str]): How it can be read.
    layers (Mapping[str, Tuple[int, ...]]): The sets of layers by what they are called.
    """

    name: str
    readings: Sequence[str]
    layers: Mapping[str, Layers]

    @property
    def tapped(self) -> Layers:
        """All layers of the sets."""
        return tuple(sorted({layer for layers in self.layers.values() for layer in layers}))


def layer_choices(n_blocks: int, own: Sequence[int] | None) -> dict[str, Layers]:
    """Name sets of layers by their size and place, so that LLMs of different depths share names.

    n_blocks (int): The blocks of the LLM.
    own (Optional[Sequence[int]]): The layers of the config, if it is for this LLM.
    RETURNS (Dict[str, Tuple[int, ...]]): The sets of up to four layers.
    """
    sets = even_sets(tapped_layers(n_blocks), n_blocks, _MOST_LAYERS)
    found = {f"{len(layers)} {kind}": layers for layers, kind in sets.items()}
    if own is None:
        return found
    mine = tuple(sorted({*own}))
    return {OWN_LAYERS: mine, **{name: some for name, some in found.items() if some != mine}}


@dataclass(frozen=True)
class Space:
    """All that a search may choose, and the values of the config.

    llms (Mapping[str, LLMChoices]): The LLMs by name; the first one is that of the config.
    own (Mapping[str, Any]): The config's value of each setting: "head.depth", "training.dropout",
        "reading", "layers", "llm".
    choices (Mapping[str, Sequence[Any]]): The values of the settings that are varied.
    learn_rates (Optional[Tuple[float, float]]): The bounds of the learning rate; None: that of the
        config.
    """

    llms: Mapping[str, LLMChoices]
    own: Mapping[str, Value]
    choices: Mapping[str, Sequence[Value]]
    learn_rates: tuple[float, float] | None

    @classmethod
    def of(
        cls,
        component: Mapping[str, Any],
        llms: Sequence[LLMChoices],
        *,
        dropout: float,
        learn_rate: float,
        groups: Collection[str] = GROUPS,
    ) -> Space:
        """Find out what a component's config lets a search vary.

        component (Mapping[str, Any]): The component's block of the config.
        llms (Sequence[LLMChoices]): The LLMs; the first one is that of the config.
        dropout, learn_rate (float): The config's.
        groups (Collection[str]): What may be varied, of `GROUPS`.
        RETURNS (Space): The space.
        """
        blocks = {HEAD: component["model"]["head"], LOSS: component.get("loss") or {}}
        own: dict[str, Value] = {DROPOUT: dropout, LEARN_RATE: learn_rate}
        for group, block in blocks.items():
            own.update({f"{group}.{key}": value for key, value in block.items()})
        shared = [name for name in llms[0].layers if all(name in llm.layers for llm in llms)]
        readings = [r for r in llms[0].readings if all(r in llm.readings for llm in llms)]
        own[LLM], own[READING] = llms[0].name, component["model"]["llm"].get("reading", "once")
        own[LAYERS] = OWN_LAYERS if OWN_LAYERS in shared else shared[0]
        found: dict[str, Sequence[Value]] = {
            name: _with(values, own[name])
            for name, values in _CHOICES.items()
            if name.split(".")[0] in groups and own.get(name) is not None
        }
        found |= {
            name: values
            for name, values in (
                (READING, readings), (LAYERS, shared), (LLM, [llm.name for llm in llms]),
            )
            if name in groups
        }  # fmt: skip
        return cls(
            {llm.name: llm for llm in llms},
            own,
            {name: values for name, values in found.items() if len(values) > 1},
            _LEARN_RATES if TRAINING in groups else None,
        )

    @property
    def own_parameters(self) -> dict[str, Value]:
        """The config as a trial."""
        found = {name: self.own[name] for name in self.choices}
        if self.learn_rates is not None:
            low, high = self.learn_rates
            found[LEARN_RATE] = min(max(float(self.own[LEARN_RATE] or low), low), high)
        return found

    def suggest(self, trial: Suggests) -> dict[str, Value]:
        """Choose the parameters of a trial.

        trial (Trial): A trial of Optuna.
        RETURNS (Dict[str, Any]): A value for each setting that is varied.
        """
        found = {
            name: trial.suggest_categorical(name, list(values))
            for name, values in self.choices.items()
        }
        if self.learn_rates is not None:
            found[LEARN_RATE] = trial.suggest_float(LEARN_RATE, *self.learn_rates, log=True)
        return found

    def grid(self, most: int, seed: int) -> list[dict[str, Value]]:
        """Draw points of a grid: the config's, then random ones.

        most (int): Their number.
        seed (int): The seed.
        RETURNS (List[Dict[str, Any]]): Different parameters, fewer if the grid is smaller.
        """
        axes = {name: _GRID.get(name, values) for name, values in self.choices.items()}
        if self.learn_rates is not None:
            axes[LEARN_RATE] = _GRID[LEARN_RATE]
        size = 1
        for values in axes.values():
            size *= len(values)
        rng = random.Random(seed)
        if size <= _LARGE_GRID:
            points = [dict(zip(axes, p, strict=True)) for p in itertools.product(*axes.values())]
            rng.shuffle(points)
        else:
            points = [{n: rng.choice(list(v)) for n, v in axes.items()} for _ in range(most)]
        found = [self.own_parameters]
        for point in points:
            if len(found) < most and point not in found:
                found.append(point)
        return found[:most]

    def chosen(self, parameters: Mapping[str, Value]) -> Chosen:
        """Turn parameters into what is trained.

        parameters (Mapping[str, Any]): Values of the settings that are varied.
        RETURNS (Chosen): All settings.
        """
        values = {**self.own, **parameters}
        blocks = {
            group: {
                key.partition(".")[2]: value
                for key, value in parameters.items()
                if key.startswith(f"{group}.")
            }
            for group in (HEAD, LOSS)
        }
        llm = self.llms[str(values[LLM])]
        return Chosen(
            llm.name,
            str(values[READING]),
            llm.layers[str(values[LAYERS])],
            blocks[HEAD],
            blocks[LOSS],
            float(values[LEARN_RATE] or 0),
            float(values[DROPOUT] or 0),
        )


def _with(values: Sequence[Value], own: Value) -> list[Value]:
    found: list[Any] = [*values] if own in values else [*values, own]
    return sorted(found) if all(isinstance(v, int | float) for v in found) else found
