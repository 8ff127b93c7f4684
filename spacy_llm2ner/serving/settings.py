"""The limits of a server, and how it makes batches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerSettings:
    """The limits of a server, and how it makes batches.

    batch_tokens (int): Tokens of a batch; a longer text is a batch by itself.
    batch_texts (int): Texts of a batch.
    wait_ms (float): How long a batch that is not full waits for more texts, in milliseconds.
    queue (int): Texts that may wait. Requests beyond that are turned away (429).
    timeout (float): Seconds until a request is given up (503 or 504).
    max_body (int): Bytes of a request's body.
    max_texts (int): Texts of a request.
    max_chars (int): Characters of a text.
    """

    batch_tokens: int = 4096
    batch_texts: int = 64
    wait_ms: float = 2.0
    queue: int = 1024
    timeout: float = 60.0
    max_body: int = 4_000_000
    max_texts: int = 256
    max_chars: int = 100_000
