"""Streams of files with one word and its tag per line: CoNLL and CoNLL-U Plus."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import Errors
from ..tags import Scheme, tags_to_spans
from .documents import CorpusError, DocumentStart, Sentence
from .inventory import Labels, TagInventory, TagNames
from .lines import read_twice
from .streams import Item, Stream
from .values import Source


@dataclass(frozen=True)
class TaggedLines:
    """The lines of one sentence.

    words, tags (List[str]): As they are in the file.
    line (int): The first line.
    spaces (Optional[List[bool]]): Whether a space follows each word, if the file says so.
    """

    words: list[str]
    tags: list[str]
    line: int
    spaces: list[bool] | None = None


class TaggedStream(Stream):
    """The sentences of a file whose tags are judged as a whole.

    source (Source): The source, for messages.
    scheme (Optional[str]): The scheme of the tags; None: the tags show it.
    labels (Optional[Labels]): What the tags are called, as the readers' setting has it.
    reader (str): The reader's registered name, for messages.
    error (Type[CorpusError]): What is raised for a file that cannot be read.
    """

    def __init__(
        self,
        source: Source,
        scheme: str | None,
        labels: Labels | None,
        *,
        reader: str,
        error: type[CorpusError],
    ) -> None:
        super().__init__(source)
        self.error = error
        self.given_scheme = scheme
        self.names = TagNames.of_setting(labels, reader=reader, error=error)
        self.inventory = TagInventory(source, scheme, self.names)

    @property
    def scheme(self) -> Scheme | None:
        """The scheme of the tags by the settings; None if the tags show it."""
        return self.inventory.scheme

    def items(self) -> Iterator[Item]:
        """Read the file.

        YIELDS (Union[Sentence, DocumentStart]): For each document its start, then its sentences.
        RAISES (CorpusError): With file and line, for what cannot be read.
        """
        self.inventory = TagInventory(self.source, self.given_scheme, self.names)
        within = found = False
        for item in read_twice(self._rows, self.inventory.judge, self.keep):
            if isinstance(item, int):
                within = True
                yield DocumentStart(item, named=True)
                continue
            if not within:
                within = True
                yield DocumentStart(item.line, named=False)
            found = True
            tags = self.inventory.tags_of(item.tags)
            yield Sentence(item.words, tags, tags_to_spans(tags), item.line, item.spaces)
        if not found:
            raise self.error(Errors.E711.format(source=self.source.name))

    def cells(self) -> Iterator[TaggedLines]:
        """Read what stands in the column of the tags, whatever it is.

        YIELDS (TaggedLines): For each sentence its words, with the cells as tags.
        RAISES (CorpusError): With file and line, for what cannot be read.
        """
        self.inventory = TagInventory(self.source, self.given_scheme, self.names)
        for item in self._rows():
            if not isinstance(item, int):
                yield item

    @abstractmethod
    def _rows(self) -> Iterator[TaggedLines | int]:
        """The sentences, and the lines at which documents start."""
