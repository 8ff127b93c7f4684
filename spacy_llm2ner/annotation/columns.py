"""The columns of an input: those that are asked for, and those of rows without a common table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
from spacy.vocab import Vocab

from ..errors import Errors, reason
from .rows import Row, Source
from .settings import AnnotationSettings

# Rows whose columns are found at once.
_ROWS = 1_000


def check_columns(sources: Sequence[Source], settings: AnnotationSettings) -> None:
    """Require that an input has the columns that are asked for, and none that is added.

    Of files whose rows have fields of their own, the first row that can be read is looked at;
    other rows without the column are set aside when it is their turn.

    sources (Sequence[Source]): The files.
    settings (AnnotationSettings): The settings.
    RAISES (ValueError): If a column is missing (E864), if one has a name that is needed (E865), or
        if two columns have one name (E855).
    """
    asked = [*settings.text_columns, *([settings.id_column] if settings.id_column else [])]
    for source in sources:
        schema = source.schema()
        names = _first_columns(source) if schema is None else list(schema.names)
        if names is None:
            continue
        for name in names:
            if schema is not None and names.count(name) > 1:
                raise ValueError(Errors.E855.format(path=source.path, column=name))
        for name in asked:
            if name not in names:
                raise ValueError(
                    Errors.E864.format(path=source.path, column=name, columns=", ".join(names))
                )
        for name, _ in settings.added():
            if name in names:
                raise ValueError(Errors.E865.format(path=source.path, column=name))


def _first_columns(source: Source) -> list[str] | None:
    rows = source.rows(0, 0, Vocab())
    return next((list(row.values()) for row in islice(rows, _ROWS) if not row.fault), None)


def find_columns(sources: Sequence[Source], *, typed: bool) -> pa.Schema:
    """Find the columns of rows that have fields of their own, by reading all of them.

    sources (Sequence[Source]): The files.
    typed (bool): Whether the types are needed; else all columns count as text.
    RETURNS (Schema): The columns, in the order in which they first occur. A type covers all values.
    RAISES (ValueError): If no type covers the values of a column (E866).
    """
    found = pa.schema([])
    for some in _some_rows(sources):
        names = list(dict.fromkeys(name for values in some for name in values))
        fields = []
        for name in names:
            if not typed:
                fields.append(pa.field(name, pa.string()))
                continue
            try:
                kind = _kind([values.get(name) for values in some])
                known = [pa.field(name, found.field(name).type)] if name in found.names else []
                schemas = [pa.schema([field]) for field in (*known, pa.field(name, kind))]
                fields.append(pa.unify_schemas(schemas, promote_options="permissive").field(0))
            except UnicodeEncodeError:  # a name that is none in UTF-8: its row will be set aside
                continue
            except (pa.ArrowException, OverflowError) as error:
                raise ValueError(Errors.E866.format(column=name, error=reason(error))) from error
        merged = {field.name: field for field in (*found, *fields)}
        found = pa.schema(list(merged.values()))
    return found


def _kind(values: list[Any]) -> Any:
    """The type that covers values, but for those that UTF-8 cannot write: their row fails."""
    try:
        return pa.array(values).type
    except UnicodeEncodeError:
        return pa.array([value for value in values if _is_encodable(value)]).type


def _is_encodable(value: Any) -> bool:
    try:
        pa.array([value])
    except UnicodeEncodeError:
        return False
    return True


def _some_rows(sources: Sequence[Source]) -> Iterator[list[dict[str, Any]]]:
    for source in sources:
        rows: Iterator[Row] = source.rows(0, 0, Vocab())
        readable = (row.values() for row in rows if not row.fault)
        while some := list(islice(readable, _ROWS)):
            yield some
