"""A worker on a cluster: what it checks before its first shard, and how it works on one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ..errors import Errors
from .folder import OutputFolder
from .identity import pipeline_digest
from .manifest import Manifest
from .shards import Shard
from .work import Task, Worker, load_pipeline


class ClusterWorker:
    """Works on shards of an output that it finds in a file system which all nodes share.

    task (Task): The task.
    cpus (float): The CPUs that it was given.
    gpus (float): The GPUs that it was given.
    """

    def __init__(self, task: Task, cpus: float = 1.0, gpus: float = 0.0) -> None:
        self.task, self.cpus, self.gpus = task, cpus, gpus
        self.folder = OutputFolder(task.out)
        self.shards: list[Shard] = []
        self.worker: Worker | None = None

    def start(self, output: str, digest: str, workplace: str) -> None:
        """Load the pipeline. A call of its own, whose errors arrive as what they are.

        output (str): The id of the output's manifest.
        digest (str): The digest of the pipeline.
        workplace (str): The folder that the run was called in, for relative paths of LLMs.
        RAISES (ValueError): If the output is not there (E876), or if the pipeline is another one
            (E877).
        RAISES (Exception): What the pipeline raises for any text.
        """
        import torch

        if Path(workplace).is_dir():
            os.chdir(workplace)
        manifest = self._manifest(output)
        torch.set_num_threads(max(1, int(self.cpus)))
        # The cluster shows each worker the GPUs that it may use.
        nlp = load_pipeline(self.task, gpu=0 if self.gpus else -1)
        found = pipeline_digest(nlp, self.task.code)
        if found != digest:
            text = Errors.E877.format(
                node=_node(), model=self.task.model, found=found[:12], expected=digest[:12]
            )
            raise ValueError(text)
        self.shards = manifest.shards
        self.worker = Worker(self.task, nlp)

    def work(self, number: int, allowed: float) -> dict[str, int]:
        """Annotate a shard and write it, unless a worker that was given up has done so.

        number (int): Its number.
        allowed (float): The number of rows that may fail.
        RETURNS (Dict[str, int]): The receipt: rows, failed, entities, words.
        RAISES (TooManyErrors): If more rows fail (E871).
        """
        assert self.worker is not None
        receipt = self.folder.receipt(number)
        if receipt is not None:
            return receipt
        return self.worker.work(self.shards[number], allowed, lambda rows, words: None)

    def _manifest(self, output: str) -> Manifest:
        path = self.folder.manifest
        try:
            manifest = Manifest.read(path)
        except FileNotFoundError:
            found = ""
        else:
            if manifest.id == output:
                return manifest
            found = ", but that of another run"
        raise ValueError(Errors.E876.format(node=_node(), out=self.task.out, found=found))


def _node() -> str:
    return socket.gethostname()
