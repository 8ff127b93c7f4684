"""The state of a component, `cfg`, which is stored with its weights and holds no settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Errors
from .thresholds import read_threshold


class State(dict[str, Any]):
    """The `cfg` of a component: what is stored with its weights.

    `cfg["threshold"]`, which spaCy's components have and `spacy find-threshold` sets, is the
    setting `threshold`. Other settings, which would have no effect here, are refused.

    name (str): The component instance's name.
    settings (Dict[str, Any]): The component's settings, which it shares.
    values (Optional[Mapping[str, Any]]): The state.
    """

    # Of the class too: a copy gets its items before its attributes.
    name = ""
    settings: dict[str, Any] = {}  # noqa: RUF012

    def __init__(
        self, name: str, settings: dict[str, Any], values: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(values or {})
        self.name, self.settings = name, settings

    def __setitem__(self, key: str, value: Any) -> None:
        if key == "threshold":
            self.settings[key] = read_threshold(self.name, value)
        elif key in self.settings:
            raise ValueError(no_effect(self.name, key, f"cfg['{key}']"))
        else:
            super().__setitem__(key, value)

    def __missing__(self, key: str) -> Any:
        if key == "threshold":
            return self.settings[key]
        raise KeyError(key)


def no_effect(name: str, setting: str, where: str) -> str:
    """The error about a setting that was set where it has no effect (E331)."""
    return Errors.E331.format(name=name, setting=setting, where=where)
