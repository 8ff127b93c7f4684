"""Running a pipeline over rows so that a text that it fails on costs no other text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import raise_error

from ..errors import reason
from .rows import DocRow, Row
from .states import StoreError

# A text, as the number of its row in the batch and of its column.
_Place = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Read:
    """A row after the pipeline.

    row (Row): The row.
    docs (List[Optional[Doc]]): For each text column its annotated doc; None for a null.
    error (str): Why the row failed; empty if it did not.
    """

    row: Row
    docs: list[Doc | None]
    error: str = ""


class Annotator:
    """Runs a pipeline over rows.

    nlp (Language): The pipeline, whose error handlers are replaced.
    columns (Sequence[str]): The columns with texts.
    check (Callable[[Row], str]): Says why a row cannot be written; empty if it can.
    run (Optional[Callable]): What to do with docs instead of running the pipeline: it gets a list
        of docs.
    """

    def __init__(
        self,
        nlp: Language,
        columns: Sequence[str],
        check: Callable[[Row], str],
        run: Callable[[list[Doc]], None] | None = None,
    ) -> None:
        self.nlp = nlp
        self.columns = columns
        self.check = check
        self.run = run

    def read(self, rows: Sequence[Row]) -> list[Read]:
        """Run the pipeline over rows.

        rows (Sequence[Row]): The rows.
        RETURNS (List[Read]): What became of each.
        """
        errors: dict[int, str] = {}
        docs: dict[_Place, Doc] = {}
        for index, row in enumerate(rows):
            fault = row.fault or self.check(row)
            if fault:
                errors[index] = fault
                continue
            for column, name in enumerate(self.columns):
                try:
                    doc = self._doc(row, name)
                except Exception as error:  # whatever a tokenizer says about a text
                    errors[index] = _described(error)
                    break
                if doc is not None:
                    docs[index, column] = doc
        waiting = {place: doc for place, doc in docs.items() if place[0] not in errors}
        done = self._run_all(waiting)
        for place, doc in waiting.items():
            if place not in done and place[0] not in errors:
                row = rows[place[0]]
                try:
                    # Anew: the failed attempt may have left marks on the doc.
                    fresh = self._doc(row, self.columns[place[1]])
                    done[place] = self._run_one(doc if fresh is None else fresh)
                except StoreError:
                    raise
                except Exception as error:  # whatever a component says about a text
                    errors[place[0]] = _described(error)
        return [
            Read(row, [], errors[index])
            if index in errors
            else Read(row, [done.get((index, column)) for column in range(len(self.columns))])
            for index, row in enumerate(rows)
        ]

    def _doc(self, row: Row, column: str) -> Doc | None:
        """The doc of a text, before the pipeline; None for a null."""
        if isinstance(row, DocRow):
            return row.doc.copy()
        try:
            text = row.value(column)
        except KeyError:
            raise ValueError(f"the row has no column '{column}'") from None
        if text is None:
            return None
        if not isinstance(text, str):
            raise ValueError(f"the column '{column}' has no text but {text!r}")
        return self.nlp.make_doc(text)

    def _run_all(self, docs: dict[_Place, Doc]) -> dict[_Place, Doc]:
        """Run all docs together; those of batches in which a component fails are left out."""
        done: dict[_Place, Doc] = {}
        if self.run is not None:
            try:
                self.run(list(docs.values()))
            except StoreError:
                raise
            except Exception:  # which text it is, is found out by running each alone
                return done
            return docs
        self.nlp.set_error_handler(_leave_out)
        stream = ((doc, place) for place, doc in docs.items())
        # A component may also raise past the handlers; the docs that are not done are run alone.
        with suppress(Exception):
            for doc, place in self.nlp.pipe(stream, as_tuples=True, batch_size=max(1, len(docs))):
                done[place] = doc
        return done

    def _run_one(self, doc: Doc) -> Doc:
        if self.run is not None:
            self.run([doc])
            return doc
        self.nlp.set_error_handler(raise_error)
        return self.nlp(doc)


def _leave_out(name: str, pipe: Any, docs: list[Doc], error: Exception) -> Any:
    """Drop the docs of a batch that a component failed on: they are run again, one by one."""


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {reason(error)}"
