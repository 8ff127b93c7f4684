"""The block of options by which commands read data: declared once, in `DataOptions`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from functools import partial, wraps
from typing import Annotated, Any, get_type_hints

import typer

from .data import DataOptions

PANEL = "Options of data"
"""What `--help` calls the block, as docs/cli.md does."""

_HINTS = get_type_hints(DataOptions, include_extras=True)
_OPTIONS = [field for field in fields(DataOptions) if hasattr(_HINTS[field.name], "__metadata__")]


def reads_data(
    command: Callable[..., None] | None = None, *, without: Collection[str] = ()
) -> Callable[..., Any]:
    """Give a command the options of `DataOptions`, in the place of its parameter `options`.

    The command declares the parameter `options: DataOptions`, and gets what was given. An option or
    a short name that it declares itself is its own.

    command (Optional[Callable]): The function of the command.
    without (Collection[str]): Fields of `DataOptions` that it does not have.
    RETURNS (Callable): The function for typer.
    """
    if command is None:
        return partial(reads_data, without=without)
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command).parameters
    taken = {name for hint in hints.values() for name in _names(hint)}
    block = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=_typer_option(field.name, taken),
        )
        for field in _OPTIONS
        if field.name not in own and field.name not in without
    ]

    @wraps(command)
    def run(**given: Any) -> None:
        options = DataOptions(**{option.name: given.pop(option.name) for option in block})
        command(**given, options=options)

    parameters: list[inspect.Parameter] = []
    for name, parameter in own.items():
        if name == "options":
            parameters += block
        else:
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(kind=keyword, annotation=hints[name]))
    # Typer reads both; without the second, it would find the annotations of the command itself.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _typer_option(name: str, taken: Collection[str]) -> Any:
    """The annotation that makes a field an option, with the short names that are not taken."""
    hint = _HINTS[name]
    short, settings = hint.__metadata__[0]
    names = [f"--{name.replace('_', '-')}", *(x for x in short if x not in taken)]
    return Annotated[hint.__origin__, typer.Option(*names, rich_help_panel=PANEL, **settings)]


def _names(hint: Any) -> Sequence[str]:
    """The names of an option of a command."""
    infos = getattr(hint, "__metadata__", ())
    return [name for info in infos for name in getattr(info, "param_decls", None) or ()]
