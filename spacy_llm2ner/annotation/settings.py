"""What decides the rows of an output: the settings of `annotate`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
from spacy.language import Language

from ..errors import Errors
from .entities import ENTITY, written_key
from .inputs import Format
from .writers import OutFormat

POSITION = "row"
"""The column with the number of a row in the input, where no other column names it."""


@dataclass(frozen=True)
class AnnotationSettings:
    """What is read, and what is written.

    text_columns (Tuple[str, ...]): The columns with texts.
    id_column (Optional[str]): The column that names a row in the table of entities.
    by_line (bool): Whether each line of a text file is a text.
    format (Optional[str]): The format of the output; None for that of the input.
    spans_key (Optional[str]): The key of `doc.spans` with the entities; None for `doc.ents`, or,
        until `resolved`, for what the pipeline writes.
    entities_column (str): The column for the entities; with several text columns, the start of it.
    entity_table (bool): Whether to write a table with a row per entity too.
    uncertain (Optional[float]): The least score of spans below the threshold that are written too.
    states_only (bool): Whether to fill a store of states, and annotate nothing.
    shard_rows (int): The most rows of a shard.
    batch_size (int): The most rows that the pipeline gets at once.
    """

    text_columns: tuple[str, ...] = ("text",)
    id_column: str | None = None
    by_line: bool = False
    format: OutFormat | None = None
    spans_key: str | None = None
    entities_column: str = "entities"
    entity_table: bool = False
    uncertain: float | None = None
    states_only: bool = False
    shard_rows: int = 1000
    batch_size: int = 256

    def resolved(self, format: Format, nlp: Language) -> AnnotationSettings:
        """The settings for an input of some format, and for a pipeline.

        format (str): The format of the input.
        nlp (Language): The pipeline.
        RETURNS (AnnotationSettings): The settings, with a format and the place of the entities.
        RAISES (ValueError): If there is more than one text column for docs (E874).
        """
        given: OutFormat = "jsonl" if format == "text" else format
        settings = replace(
            self,
            format=self.format or given,
            spans_key=written_key(nlp) if self.spans_key is None else self.spans_key,
        )
        if settings.format == "spacy" and len(self.text_columns) > 1:
            columns = ", ".join(self.text_columns)
            needed = "with docs as the output, a single one can be annotated: give another --format"
            raise ValueError(
                Errors.E874.format(option="--text-column", value=columns, needed=needed)
            )
        return settings

    def as_options(self) -> dict[str, Any]:
        """The settings that all runs of an output share, by the names of the command's options."""
        names = {"text_columns": "text-column", "by_line": "lines"}
        return {
            f"--{names.get(name, name.replace('_', '-'))}": value
            for name, value in asdict(self).items()
            if name != "batch_size"  # another one after a lack of memory changes no entity
        }

    def entity_columns(self, column: str) -> tuple[str, str | None]:
        """The columns for the entities of a text column, and for its uncertain ones."""
        suffix = "" if len(self.text_columns) == 1 else f"_{column}"
        uncertain = None if self.uncertain is None else f"uncertain_{self.entities_column}{suffix}"
        return f"{self.entities_column}{suffix}", uncertain

    def added(self) -> list[tuple[str, Any]]:
        """The columns that are added to each row, with their Arrow types."""
        pairs = [self.entity_columns(column) for column in self.text_columns]
        names = [name for pair in pairs for name in pair if name is not None]
        columns = [(name, pa.list_(ENTITY)) for name in names]
        return [*([(POSITION, pa.int64())] if self.adds_position else []), *columns]

    @property
    def adds_position(self) -> bool:
        """Whether rows get their number: the table of entities must name them somehow."""
        return self.entity_table and self.id_column is None

    def name_columns(self, schema: pa.Schema | None) -> list[tuple[str, Any]]:
        """The columns of the table of entities that name the text, with their Arrow types."""
        if self.id_column is None:
            named = [(POSITION, pa.int64())]
        else:
            kind = pa.string() if schema is None else schema.field(self.id_column).type
            named = [("id", kind)]
        return [*named, *([("column", pa.string())] if len(self.text_columns) > 1 else [])]
