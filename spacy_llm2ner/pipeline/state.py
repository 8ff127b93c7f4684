"""The state of a component, `cfg`, which is stored with its weights and holds no settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import Errors


class State(dict[str, Any]):
    """The `cfg` of a component: what is stored with its weights. A setting has no effect there, and
    is refused.

    name (str): The component instance's name.
    settings (Iterable[str]): The names of its settings.
    values (Optional[Mapping[str, Any]]): The state.
    """

    # Of the class too: a copy gets its items before its attributes.
    name = ""
    settings: frozenset[str] = frozenset()

    def __init__(
        self, name: str, settings: Iterable[str], values: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(values or {})
        self.name, self.settings = name, frozenset(settings)

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self.settings:
            raise ValueError(no_effect(self.name, key, f"cfg['{key}']"))
        super().__setitem__(key, value)


def no_effect(name: str, setting: str, where: str) -> str:
    """The error about a setting that was set where it has no effect (E331)."""
    way = "threshold" if setting == "threshold" else f"settings['{setting}']"
    return Errors.E331.format(name=name, setting=setting, where=where, way=way)
