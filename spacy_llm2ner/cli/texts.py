"""Plain texts given to a command: lines, JSON Lines with "text", or Docs."""

from __future__ import annotations

import json
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc, DocBin

from ..compat import msgpack_functions_once
from ..errors import Errors


def read_texts(path: Path, nlp: Language) -> list[Doc]:
    """Read texts, and tokenise them where they are no Docs yet; empty ones are left out.

    path (Path): A .txt file with a text per line, a .jsonl file with objects that have a "text", or
        a .spacy file.
    nlp (Language): The pipeline that will process them.
    RETURNS (List[Doc]): The texts.
    RAISES (ValueError): If there is no such file (E902), none of these formats (E972), a line
        without a text (E971), or no text at all (E925).
    """
    if not path.is_file():
        raise ValueError(Errors.E902.format(path=path))
    if path.suffix == ".spacy":
        with msgpack_functions_once():
            docs = list(DocBin().from_disk(path).get_docs(nlp.vocab))
    elif path.suffix in (".txt", ".jsonl"):
        lines = path.read_text(encoding="utf8").splitlines()
        texts = lines if path.suffix == ".txt" else _texts_of(path, lines)
        docs = [nlp.make_doc(text) for text in texts if text.strip()]
    else:
        raise ValueError(Errors.E972.format(path=path))
    docs = [doc for doc in docs if len(doc)]
    if not docs:
        raise ValueError(Errors.E925.format(path=path))
    return docs


def _texts_of(path: Path, lines: list[str]) -> list[str]:
    texts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            value = None
        text = value.get("text") if isinstance(value, dict) else None
        if not isinstance(text, str):
            raise ValueError(Errors.E971.format(path=path, line=number))
        texts.append(text)
    return texts
