"""The command line of a benchmark."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter


def command_line(topic: str, description: str | None) -> ArgumentParser:
    """A parser of `python -m benchmarks.TOPIC`.

    topic (str): The module's name within `benchmarks`.
    description (Optional[str]): The docstring of the benchmark's module, shown unchanged.
    RETURNS (ArgumentParser): The parser, without arguments.
    """
    return ArgumentParser(
        prog=f"python -m benchmarks.{topic}",
        description=description,
        formatter_class=RawDescriptionHelpFormatter,
    )
