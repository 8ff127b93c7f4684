"""Processes that work on shards: in this process, or in several with a pipeline each."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any

from spacy.language import Language

from ..errors import Errors
from .shards import Shard
from .work import Report, Task, Worker

# Seconds between two looks at what the processes report.
_LOOK = 0.2

# The worker of this process, and what it reports to, if this process is one of several.
_worker: Worker | None = None
_reports: Any = None
# Why this process has no worker.
_failure: Exception | None = None


def work_here(
    task: Task, nlp: Language, shards: Sequence[Shard], allowed: float, report: Report
) -> Iterator[dict[str, int]]:
    """Work on shards in this process.

    task (Task): The task.
    nlp (Language): The pipeline.
    shards (Sequence[Shard]): The shards.
    allowed (float): The number of rows that may fail.
    report (Callable): Told of the rows and words that are done.
    YIELDS (Dict[str, int]): The receipt of each shard that is complete.
    """
    worker = Worker(task, nlp)
    for shard in shards:
        receipt = worker.work(shard, allowed, report)
        allowed -= receipt["failed"]
        yield receipt
        if allowed < 0:
            raise task.too_many_errors()


def work_in_processes(
    task: Task,
    shards: Sequence[Shard],
    allowed: float,
    report: Report,
    *,
    n_process: int,
    gpu: int = -1,
) -> Iterator[dict[str, int]]:
    """Work on shards in several processes, each of which loads the pipeline.

    task (Task): The task.
    shards (Sequence[Shard]): The shards.
    allowed (float): The number of rows that may fail.
    report (Callable): Told of the rows and words that are done.
    n_process (int): The number of processes, among which the CPU's threads are divided.
    gpu (int): The GPU of the first process, each of the others has the next one; -1 for the CPU.
    YIELDS (Dict[str, int]): The receipt of each shard that is complete.
    RAISES (ValueError): If there are fewer GPUs (E872), or if a process dies (E873).
    """
    if gpu >= 0:
        _require_gpus(gpu, n_process)
    # Started anew: a fork of a process in which torch has run may hang.
    context = multiprocessing.get_context("spawn")
    reports = context.SimpleQueue()
    threads = max(1, available_cpus() // n_process)
    initial = (task, gpu, context.Value("i", 0), threads, reports)
    waiting = iter(shards)
    with ProcessPoolExecutor(n_process, context, _start, initial) as pool:
        running: set[Future[dict[str, int]]] = set()
        try:
            while True:
                for shard in waiting:
                    running.add(pool.submit(_work, shard, allowed))
                    if len(running) >= 2 * n_process:
                        break
                if not running:
                    break
                done, running = wait(running, _LOOK, FIRST_COMPLETED)
                _pass_on(reports, report)
                for future in done:
                    receipt = future.result()
                    allowed -= receipt["failed"]
                    yield receipt
                if allowed < 0:
                    raise task.too_many_errors()
        except BrokenProcessPool as error:
            raise ValueError(Errors.E873) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    _pass_on(reports, report)


def _pass_on(reports: Any, report: Report) -> None:
    while not reports.empty():
        report(*reports.get())


def _require_gpus(gpu: int, n_process: int) -> None:
    import torch

    found = torch.cuda.device_count()
    if gpu + n_process > found:
        raise ValueError(Errors.E872.format(processes=n_process, gpu=gpu, found=found))


def available_cpus() -> int:
    """The number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start(task: Task, gpu: int, counter: Any, threads: int, reports: Any) -> None:
    """Prepare a process: its share of the threads, its GPU, its pipeline."""
    global _worker, _reports, _failure
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with counter.get_lock():
        index = counter.value
        counter.value += 1
    _reports = reports
    try:
        _worker = Worker(task, gpu=gpu + index if gpu >= 0 else -1)
    except Exception as error:  # raised by the first shard: a pool keeps no error of its start
        _failure = error


def _end_with_parent() -> None:
    """End this process if the one that started it is killed: nobody would collect its work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _work(shard: Shard, allowed: float) -> dict[str, int]:
    if _worker is None:
        raise _failure or ValueError(Errors.E873)

    def report(rows: int, words: int) -> None:
        _reports.put((rows, words))

    return _worker.work(shard, allowed, report)
