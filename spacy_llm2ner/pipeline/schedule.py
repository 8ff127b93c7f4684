"""A check, before training, that the schedule of [training] fits the training data."""

from __future__ import annotations

import math
from typing import Any

from spacy.language import Language

# A learning rate of 0 is harmless in the last tenth of the training; earlier it is a mistake.
_TOLERATED = 0.1


def schedule_faults(nlp: Language, n_docs: int) -> list[str]:
    """List faults of the schedule: a rate of 0 too early, unfinished epoch, end not evaluated.

    Supports only the batcher `spacy.batch_by_sequence.v1` with a fixed size; for others the number
    of steps is unknown. `spacy train` evaluates at multiples of `eval_frequency`, stops after step
    `max_steps`, or before step number `max_epochs` times the steps of an epoch.

    nlp (Language): The pipeline with the training schedule in its config.
    n_docs (int): The number of training docs.
    RETURNS (List[str]): A sentence for each fault, with its remedy.
    """
    training = nlp.config.interpolate()["training"]
    batcher = training.get("batcher") or {}
    size = batcher.get("size")
    if batcher.get("@batchers") != "spacy.batch_by_sequence.v1" or not isinstance(size, int):
        return []
    epoch = math.ceil(n_docs / max(size, 1))
    ends = [training["max_steps"]] if training["max_steps"] > 0 else []
    ends += [training["max_epochs"] * epoch - 1] if training["max_epochs"] > 0 else []
    if not ends:
        return []  # patience ends it
    last = min(ends)
    faults = [_rate(training, last), _epoch(last, epoch, n_docs, size), _end(training, last)]
    return [fault for fault in faults if fault]


def _rate(training: dict[str, Any], last: int) -> str:
    rate = training["optimizer"].get("learn_rate")
    rate = rate if isinstance(rate, dict) else {}
    total, warmup = rate.get("total_steps"), rate.get("warmup_steps")
    if isinstance(total, int) and last - total > _TOLERATED * last:
        return (
            f"the learning rate is 0 from step {total:,} on, and the training takes {last:,}: set "
            f"total_steps in [training.optimizer.learn_rate] to that, or train for less."
        )
    if isinstance(warmup, int) and 2 * warmup > last:
        return (
            f"the learning rate rises for {warmup:,} steps, and the training takes {last:,}: lower "
            f"warmup_steps and total_steps in [training.optimizer.learn_rate], or train longer."
        )
    return ""


def _epoch(last: int, epoch: int, n_docs: int, size: int) -> str:
    if last >= epoch - 1:
        return ""
    return (
        f"the training ends at step {last:,}, and the {n_docs:,} training docs make {epoch:,} "
        f"batches of {size}: some of them will never be seen. Raise max_steps in [training], and "
        f"total_steps in [training.optimizer.learn_rate] with it."
    )


def _end(training: dict[str, Any], last: int) -> str:
    frequency = training["eval_frequency"]
    seen = last // frequency * frequency
    if last - seen <= _TOLERATED * last:
        return ""
    what = "model-best will be untrained" if seen == 0 else "model-best will be older than that"
    return (
        f"the last evaluation is at step {seen:,} of {last:,} ({what}): set max_epochs = 0 and "
        f"max_steps to a multiple of eval_frequency = {frequency:,} in [training], or evaluate "
        f"more often."
    )
