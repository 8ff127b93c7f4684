"""Checks of settings; the errors name the accepted values."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .errors import Errors


def check_choice(
    setting: str,
    value: Any,
    accepted: Collection[Any],
    *,
    component: str = "llm2ner",
    of: str = "",
) -> None:
    """Require one of a few values.

    setting (str): The setting's name.
    value (Any): The given value.
    accepted (Collection[Any]): The values that are accepted.
    component (str): The component's name.
    of (str): Owner of the setting, e.g. "the LLM", "the head", "the loss".
    RAISES (ValueError): For any other value (E001).
    """
    if value not in accepted:
        raise ValueError(
            Errors.E001.format(
                component=component,
                setting=_named(setting, of),
                value=_shown(value),
                accepted=", ".join(_shown(choice) for choice in accepted),
            )
        )


def check_number(
    setting: str,
    value: float | None,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    unit: str = "",
    hint: str = "",
    component: str = "llm2ner",
    of: str = "",
) -> None:
    """Require a number within bounds; None passes, where a setting may be null.

    setting (str): The setting's name.
    value (Optional[float]): The given value.
    least (Optional[float]): The lowest value that is accepted.
    above (Optional[float]): A bound that is not accepted itself, instead of `least`.
    most (Optional[float]): The highest value that is accepted.
    below (Optional[float]): A bound that is not accepted itself, instead of `most`.
    unit (str): Unit of the number, e.g. "pieces".
    hint (str): Last sentence of the error, e.g. what to use instead.
    component (str): The component's name.
    of (str): Owner of the setting, e.g. "the LLM", "the head", "the loss".
    RAISES (ValueError): For a number out of bounds, or one that is not finite (E002).
    """
    if value is None:
        return
    fits = (
        (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
        and (below is None or value < below)
        and value not in (float("inf"), float("-inf"))
        and value == value
    )
    if not fits:
        bounds = [
            f"{words} {bound:g}"
            for words, bound in (
                ("at least", least),
                ("above", above),
                ("at most", most),
                ("below", below),
            )
            if bound is not None
        ]
        raise ValueError(
            Errors.E002.format(
                component=component,
                setting=_named(setting, of),
                value=f"{value} {unit}".strip(),
                bounds=" and ".join(bounds) or "finite",
                hint=f" {hint}" if hint else "",
            )
        )


def _named(setting: str, of: str) -> str:
    return f"'{setting}' of {of}" if of else f"'{setting}'"


def _shown(value: Any) -> str:
    return "null" if value is None else f"'{value}'" if isinstance(value, str) else str(value)
