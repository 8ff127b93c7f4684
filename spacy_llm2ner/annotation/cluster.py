"""The engine `ray`: workers on a Ray cluster, each with a pipeline, that work on shards."""

from __future__ import annotations

import socket
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

from ..errors import Errors, Warnings
from .cluster_worker import ClusterWorker
from .folder import OutputFolder
from .manifest import Manifest
from .processes import available_cpus
from .shards import Shard
from .work import Report, Task

# Times that workers may end unexpectedly over one shard, or over loading the pipeline.
_DEATHS = 3
# Seconds between two looks at whether workers have started, and until a lack of room is reported.
_LOOK = 1.0
_PATIENCE = 60.0
# Seconds until an address that does not answer is an error.
_ANSWER = 10.0
# The store of a cluster of one machine: no rows travel, and the least that Ray accepts is 75 MB.
_OBJECT_STORE = 80 << 20


@dataclass(frozen=True)
class ClusterSettings:
    """What a run asks a Ray cluster for.

    workers (int): The workers to start at once.
    most_workers (Optional[int]): The most workers: the others start as the cluster has room for
        them, while shards wait. None for `workers`.
    cpus (float): The CPUs of a worker; the LLM gets as many threads.
    gpus (float): The GPUs of a worker: 1, a part of one, or 0.
    address (Optional[str]): The address of the cluster, "auto" for the one that this machine
        belongs to; None to start one on this machine for the time of the run.
    """

    workers: int = 1
    most_workers: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None

    @property
    def most(self) -> int:
        """The most workers."""
        return max(self.workers, self.most_workers or 0)


def require_ray() -> None:
    """Require Ray.

    RAISES (ImportError): If it is not installed (E875).
    """
    if find_spec("ray") is None:
        raise ImportError(Errors.E875.format(package="ray"))


def work_on_cluster(
    task: Task,
    manifest: Manifest,
    shards: Sequence[Shard],
    allowed: float,
    report: Report,
    settings: ClusterSettings,
) -> Iterator[dict[str, int]]:
    """Work on shards by workers on a Ray cluster, each of which loads the pipeline.

    Only numbers of shards and receipts travel: workers read the input and write the output
    themselves. A shard whose worker ended unexpectedly is given to another one.

    task (Task): The task.
    manifest (Manifest): The manifest of the output, which workers read too.
    shards (Sequence[Shard]): The shards.
    allowed (float): The number of rows that may fail.
    report (Callable): Told of the rows and words that are done, after each shard.
    settings (ClusterSettings): The workers.
    YIELDS (Dict[str, int]): The receipt of each shard that is complete.
    RAISES (ImportError): If Ray is not installed (E875).
    RAISES (ValueError): If a worker finds another output (E876) or pipeline (E877), if workers end
        unexpectedly again and again (E878), or if this machine is too small for them (E879).
    RAISES (TooManyErrors): If more rows fail (E871).
    """
    require_ray()
    with _connected(settings):
        pool = _Pool(_everywhere(task), manifest, deque(s.number for s in shards), settings)
        try:
            for receipt in pool.receipts(allowed):
                report(receipt["rows"] + receipt["failed"], receipt["words"])
                allowed -= receipt["failed"]
                yield receipt
                if allowed < 0:
                    raise task.too_many_errors()
        finally:
            pool.end()
            # Of workers that were killed.
            OutputFolder(task.out).remove_leftovers()


@dataclass
class _Member:
    """A worker of the pool: its Ray actor, and its shard; None while it starts."""

    actor: Any
    shard: int | None = None


class _Pool:
    """Workers and what each of them does.

    task (Task): The task, with absolute paths.
    manifest (Manifest): The manifest.
    waiting (Deque[int]): The numbers of the shards that no worker has.
    settings (ClusterSettings): The workers to start.
    """

    def __init__(
        self, task: Task, manifest: Manifest, waiting: deque[int], settings: ClusterSettings
    ) -> None:
        import ray

        self.ray = ray
        self.task, self.waiting, self.settings = task, waiting, settings
        self.start = (manifest.id, manifest.pipeline["digest"], str(Path.cwd()))
        # Of each call that has not returned, the worker.
        self.calls: dict[Any, _Member] = {}
        self.deaths: Counter[int | None] = Counter()
        self.proven = False
        remote = ray.remote(ClusterWorker)
        # A restart by Ray would lack the pipeline; a task is repeated by another worker.
        options = {"max_restarts": 0, "max_task_retries": 0}
        self.remote = remote.options(
            num_cpus=settings.cpus, num_gpus=settings.gpus or None, **options
        )

    def receipts(self, allowed: float) -> Iterator[dict[str, int]]:
        """Work on all shards.

        allowed (float): The number of rows that may fail.
        YIELDS (Dict[str, int]): The receipt of each shard.
        """
        begun, warned = monotonic(), False
        self._add_workers()
        while self.calls:
            ready, _ = self.ray.wait([*self.calls], num_returns=1, timeout=_LOOK)
            for call in ready:
                receipt = self._conclude(call, allowed)
                if receipt is not None:
                    allowed -= receipt["failed"]
                    yield receipt
            if not (self.proven or ready or warned) and monotonic() - begun > _PATIENCE:
                warned = self._warn_of_room(monotonic() - begun)
            self._add_workers()
            self._drop_idle_starts()

    def _add_workers(self) -> None:
        """Start workers: up to the first number; up to the most when one has been seen to work."""
        most = self.settings.most if self.proven else self.settings.workers
        starting = sum(member.shard is None for member in self.calls.values())
        while len(self.calls) < most and starting < len(self.waiting):
            cpus, gpus = self.settings.cpus, self.settings.gpus
            member = _Member(self.remote.remote(self.task, cpus, gpus))
            self.calls[member.actor.start.remote(*self.start)] = member
            starting += 1

    def _drop_idle_starts(self) -> None:
        """End workers that wait for room, if no shard is left for them."""
        if self.waiting:
            return
        for call, member in list(self.calls.items()):
            if member.shard is None:
                self._end(self.calls.pop(call))

    def _conclude(self, call: Any, allowed: float) -> dict[str, int] | None:
        """What a call returned, and the next one for its worker."""
        member = self.calls.pop(call)
        receipt = None
        try:
            receipt = self.ray.get(call)
        except self.ray.exceptions.RayTaskError as error:
            raise _plain(error) from error
        except self.ray.exceptions.RayActorError as error:
            self._count_death(member, error)
            return None
        self.proven = True
        self.deaths.pop(member.shard, None)
        if self.waiting:
            member.shard = self.waiting.popleft()
            self.calls[member.actor.work.remote(member.shard, allowed)] = member
        else:
            self._end(member)
        return receipt

    def _count_death(self, member: _Member, error: Any) -> None:
        """Give a shard back whose worker ended, or cannot be reached any more."""
        self._end(member)
        if member.shard is not None:
            self.waiting.appendleft(member.shard)
        if getattr(error, "preempted", False):  # nobody's fault
            return
        self.deaths[member.shard] += 1
        if self.deaths[member.shard] >= _DEATHS:
            shard = member.shard
            what = "loaded the pipeline" if shard is None else f"worked on the shard {shard}"
            last = [line.strip() for line in str(error).splitlines() if line.strip()][-1:]
            text = Errors.E878.format(deaths=_DEATHS, what=what, last=" ".join(last))
            raise ValueError(text) from error

    def _warn_of_room(self, seconds: float) -> bool:
        """Warn if no worker has started for lack of room, and not because loading takes long."""
        begun = [member.actor.__ray_ready__.remote() for member in self.calls.values()]
        if begun and self.ray.wait(begun, num_returns=1, timeout=_LOOK)[0]:
            return False
        found = self.ray.available_resources()
        needed = {"CPU": self.settings.cpus, "GPU": self.settings.gpus}
        if all(number <= found.get(kind, 0.0) for kind, number in needed.items()):
            return False
        free = " and ".join(f"{found.get(kind, 0.0):g} {kind}s" for kind in needed)
        text = Warnings.W68.format(
            seconds=seconds, cpus=needed["CPU"], gpus=needed["GPU"], free=free
        )
        warnings.warn(text, stacklevel=2)
        return True

    def _end(self, member: _Member) -> None:
        self.ray.kill(member.actor, no_restart=True)

    def end(self) -> None:
        """End all workers; what they were writing is removed by the next run."""
        for member in self.calls.values():
            self._end(member)
        self.calls.clear()


@contextmanager
def _connected(settings: ClusterSettings) -> Iterator[None]:
    """Connect to a cluster, or start one, unless this process is connected already."""
    import ray

    if ray.is_initialized():
        yield
        return
    common: dict[str, Any] = {"logging_level": "ERROR"}
    if settings.address is None:
        cpus = available_cpus()
        _require_room(settings, cpus)
        common.update(num_cpus=cpus, object_store_memory=_OBJECT_STORE, include_dashboard=False)
    try:
        _require_answer(settings.address)
        ray.init(address=settings.address or "local", **common)
    except (OSError, RuntimeError, ValueError) as error:
        needed = f"no cluster can be reached there ({' '.join(str(error).split())[:200]})"
        option = {"option": "--address", "value": settings.address, "needed": needed}
        raise ValueError(Errors.E874.format(**option)) from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str | None) -> None:
    """Require that a host and port answer: Ray itself tries for minutes.

    RAISES (OSError): If they do not.
    """
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():  # not "auto"
        host = host.rpartition("/")[2]  # ray://host:port
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()


def _require_room(settings: ClusterSettings, cpus: int) -> None:
    """Require that the workers fit on this machine."""
    import torch

    gpus, workers = torch.cuda.device_count(), settings.workers
    if workers * settings.cpus > cpus or workers * settings.gpus > gpus:
        text = Errors.E879.format(
            workers=workers, cpus=settings.cpus, gpus=settings.gpus, has_cpus=cpus, has_gpus=gpus
        )
        raise ValueError(text)


def _everywhere(task: Task) -> Task:
    """A task whose paths mean the same in every folder."""
    return replace(
        task,
        model=str(Path(task.model).absolute()) if Path(task.model).exists() else task.model,
        code=None if task.code is None else task.code.absolute(),
        files=tuple(path.absolute() for path in task.files),
        out=task.out.absolute(),
    )


def _plain(error: Any) -> Exception:
    """What a worker raised, without the frame that Ray puts around it."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else ValueError(str(error))
