"""Rendering of HTML pages from Jinja2 templates: files without external resources."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_FOLDER = "templates"


def render(template: str, **data: Any) -> str:
    """Render a template. Every value is escaped unless the template marks it as `safe`.

    template (str): The name of a file in `templates/`.
    data (Any): The variables of the template.
    RETURNS (str): The text that the template yields.
    """
    return _environment().get_template(template).render(data)


def template_variable(template: str, name: str) -> str:
    """Return a variable that a template sets at its top level.

    template (str): The name of a file in `templates/`.
    name (str): The variable's name.
    RETURNS (str): Its value.
    """
    return str(getattr(_environment().get_template(template).module, name))


@lru_cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__, _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        thousands=lambda number: f"{number:,}",
        percent=lambda part: f"{100 * part:.2f}",
        plural=lambda number, one, many: f"{number:,} {one if number == 1 else many}",
    )
    environment.globals.update(source=_source, digest=_digest)
    return environment


def _source(name: str) -> str:
    """The text of a style sheet or script in the folder of templates."""
    return (resources.files(__package__) / _FOLDER / name).read_text(encoding="utf8")


def _digest(name: str) -> str:
    """The SHA-256 digest of a script in base64, as a Content-Security-Policy names it."""
    digest = hashlib.sha256(_source(name).encode("utf8")).digest()
    return base64.b64encode(digest).decode("ascii")
