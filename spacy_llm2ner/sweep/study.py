"""A search by Optuna that several processes share, and that goes on after a kill."""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Errors, reason
from .space import Space
from .training import Score

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

TPE, GRID = STRATEGIES = ("tpe", "grid")
NAME = "llm2ner-search"
LOG = "search.log"

# Trials before the median of others ends one, and the first epoch in which one may be ended.
_STARTUP, _WARMUP = 5, 2
# Trials of a grid that are trained again, for all epochs.
FINALISTS = 5
# Failures in a row that end a search.
_MOST_FAILURES = 3
# Seconds between looks at trials of other processes.
_WAIT = 2.0

# What is noted on a trial.
_HOST, _PID, _STAGE, _EPOCHS = "host", "pid", "stage", "epochs"
_MENTIONS, _LAYERS, _SECONDS, _ERROR = "mention_f", "layers", "seconds", "error"
_DIGEST, _FINAL = "digest", "finalists_chosen"


@dataclass(frozen=True)
class TrialResult:
    """A trial, as tables show it.

    number (int): Its number, from 0.
    parameters (Mapping[str, Any]): What was varied.
    layers (Sequence[int]): The layers read.
    f, mention_f (Optional[float]): The best F1 on dev of its epochs, from 0 to 1, and that with
        labels ignored at the same epoch; None if there is none.
    epochs (int): The epochs trained.
    state (str): "complete", "pruned", "failed" or "running".
    seconds (float): The time it took.
    is_partial (bool): Whether it is of the first stage of a grid, with fewer epochs.
    error (str): Why it failed.
    """

    number: int
    parameters: Mapping[str, Any]
    layers: list[int]
    f: float | None
    mention_f: float | None
    epochs: int
    state: str
    seconds: float
    is_partial: bool
    error: str = ""


@dataclass(frozen=True)
class SearchSettings:
    """How a search goes on.

    trials (int): Finished and pruned trials in all, of all processes; of a grid, those of the first
        stage.
    strategy (str): "tpe" or "grid".
    seed (int): The seed of choices and trainings.
    epochs (int): Passes through the training data.
    """

    trials: int
    strategy: str = TPE
    seed: int = 0
    epochs: int = 8

    @property
    def partial_epochs(self) -> int:
        """The epochs of the first stage of a grid: a third."""
        return max(1, -(-self.epochs // 3))


# Parameters, seed, epochs -> the layers, and the score after each epoch.
Train = Callable[[Mapping[str, Any], int], tuple[list[int], Iterator[Score]]]


class Search:
    """Trials in a storage of Optuna.

    space (Space): What may be chosen.
    settings (SearchSettings): How the search goes on.
    storage (Union[str, Path]): A URL of Optuna, or the folder of a journal.
    digest (str): What the scores depend on besides the parameters.
    RAISES (ImportError): Without Optuna (E666).
    RAISES (FileExistsError): If the storage holds another search (E667).
    """

    def __init__(
        self, space: Space, settings: SearchSettings, storage: str | Path, digest: str
    ) -> None:
        optuna = import_optuna()
        self.space, self.settings = space, settings
        self.study: Study = optuna.create_study(
            study_name=NAME,
            storage=open_storage(storage),
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(_STARTUP, _WARMUP),
        )
        known = self.study.user_attrs.get(_DIGEST)
        if known is not None and known != digest:
            raise FileExistsError(Errors.E667.format(storage=storage))
        self.study.set_user_attr(_DIGEST, digest)
        # Another seed in each process and after each restart: the same one would choose the same.
        seed = settings.seed + len(self.study.get_trials(deepcopy=False))
        self.study.sampler = optuna.samplers.TPESampler(seed=seed)
        self.resumed = len(self._counted())
        self._take_back()
        self._enqueue()

    # Trials -----------------------------------------------------------------------------------

    def run(self, train: Train, done: Callable[[], object] = lambda: None) -> None:
        """Train until all trials are finished, by this and other processes.

        train (Callable): Parameters and epochs -> the layers, and the scores after each epoch.
        done (Callable): Called after each trial.
        RAISES (ValueError): If trials fail one after the other (E668).
        """
        failures = 0
        while True:
            if not self._is_left():
                if not self._is_next_stage():
                    return
                continue
            trial = self.study.ask()
            error = self._train(trial, train)
            failures = failures + 1 if error else 0
            if failures == _MOST_FAILURES:
                raise ValueError(Errors.E668.format(number=failures, error=error))
            done()

    def _train(self, trial: Trial, train: Train) -> str:
        """Train a trial; returns why it failed."""
        from optuna.trial import TrialState

        started = time.perf_counter()
        parameters = self.space.suggest(trial)
        trial.set_user_attr(_HOST, socket.gethostname())
        trial.set_user_attr(_PID, os.getpid())
        is_grid = self.settings.strategy == GRID
        is_partial = is_grid and trial.user_attrs.get(_STAGE) != 2
        epochs = self.settings.partial_epochs if is_partial else self.settings.epochs
        best, number = None, 0
        try:
            layers, scores = train(parameters, epochs)
            trial.set_user_attr(_LAYERS, layers)
            for number, score in enumerate(scores, 1):
                if best is None or score.f > best.f:
                    best = score
                trial.report(score.f, number)
                trial.set_user_attr(_EPOCHS, number)
                if not is_grid and number < epochs and trial.should_prune():
                    break
        except (ValueError, RuntimeError, MemoryError) as error:
            # Settings that do not go together, or need too much memory: the search goes on.
            trial.set_user_attr(_ERROR, reason(error))
            self.study.tell(trial, state=TrialState.FAIL)
            return reason(error)
        assert best is not None
        trial.set_user_attr(_MENTIONS, best.mention_f)
        trial.set_user_attr(_SECONDS, time.perf_counter() - started)
        if number < epochs:
            # Optuna keeps the last value that was reported.
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, best.f)
        return ""

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _counted(self) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        finished = (TrialState.COMPLETE, TrialState.PRUNED)
        return [trial for trial in self._trials() if trial.state in finished]

    def _is_left(self) -> bool:
        """Whether there is a trial to begin."""
        from optuna.trial import TrialState

        states = [trial.state for trial in self._trials()]
        if self.settings.strategy == GRID:
            return TrialState.WAITING in states
        running = states.count(TrialState.RUNNING)
        return len(self._counted()) + running < self.settings.trials

    def _is_next_stage(self) -> bool:
        """Whether the finalists of a grid were chosen just now; waits for other processes."""
        from optuna.trial import TrialState

        if self.settings.strategy != GRID or self.study.user_attrs.get(_FINAL):
            return False
        if any(trial.state == TrialState.RUNNING for trial in self._trials()):
            time.sleep(_WAIT)
            self._take_back()
            return not self.study.user_attrs.get(_FINAL)
        self.study.set_user_attr(_FINAL, True)
        ranked = sorted(self._counted(), key=lambda trial: -(trial.value or 0.0))
        for trial in ranked[:FINALISTS]:
            self.study.enqueue_trial(trial.params, user_attrs={_STAGE: 2})
        return bool(ranked)

    def _enqueue(self) -> None:
        """The config itself comes first; a grid is listed whole."""
        if self._trials():
            return
        points = [self.space.own_parameters]
        if self.settings.strategy == GRID:
            points = self.space.grid(self.settings.trials, self.settings.seed)
        for point in points:
            self.study.enqueue_trial(point)

    def _take_back(self) -> None:
        """Trials of processes that were ended begin again."""
        from optuna.trial import TrialState

        for trial in self._trials():
            if trial.state != TrialState.RUNNING:
                continue
            host, pid = (trial.user_attrs.get(key) for key in (_HOST, _PID))
            if host != socket.gethostname() or pid is None or _is_alive(pid):
                continue
            self.study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            stage = {_STAGE: 2} if trial.user_attrs.get(_STAGE) == 2 else {}
            self.study.enqueue_trial(trial.params, user_attrs=stage)

    # Results ----------------------------------------------------------------------------------

    def results(self) -> list[TrialResult]:
        """All trials, in order, without those that wait or whose process was ended."""
        from optuna.trial import TrialState

        names = {
            TrialState.COMPLETE: "complete",
            TrialState.PRUNED: "pruned",
            TrialState.FAIL: "failed",
            TrialState.RUNNING: "running",
        }
        found = []
        for trial in self._trials():
            attrs = trial.user_attrs
            is_ended = trial.state == TrialState.FAIL and not attrs.get(_ERROR)
            if trial.state not in names or is_ended:
                continue
            values = [*trial.intermediate_values.values()]
            found.append(
                TrialResult(
                    trial.number,
                    trial.params,
                    list(attrs.get(_LAYERS, [])),
                    max(values, default=None),
                    attrs.get(_MENTIONS),
                    int(attrs.get(_EPOCHS, 0)),
                    names[trial.state],
                    float(attrs.get(_SECONDS, 0.0)),
                    self.settings.strategy == GRID and attrs.get(_STAGE) != 2,
                    attrs.get(_ERROR, ""),
                )
            )
        return found

    def importances(self) -> dict[str, float]:
        """How much of the difference between good and other trials each setting explains.

        RETURNS (Dict[str, float]): Shares that sum to 1, the largest first; none with too few
            trials, or if all are equally good.
        """
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        evaluator = PedAnovaImportanceEvaluator(target_quantile=0.25)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of too few trials
            try:
                return dict(get_param_importances(self.study, evaluator=evaluator))
            except (ValueError, RuntimeError):
                return {}


def best_result(results: list[TrialResult]) -> TrialResult | None:
    """The best trial; of a grid, one of the second stage if there is any.

    results (List[TrialResult]): The trials.
    RETURNS (Optional[TrialResult]): The complete trial with the best F1; None if there is none.
    """
    complete = [r for r in results if r.state == "complete" and r.f is not None]
    final = [r for r in complete if not r.is_partial]
    return max(final or complete, key=lambda r: (r.f or 0.0, -r.number), default=None)


def import_optuna() -> Any:
    """Import Optuna, silently.

    RETURNS (ModuleType): The module.
    RAISES (ImportError): If it is not installed (E666).
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError(Errors.E666) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def open_storage(storage: str | Path) -> Any:
    """Open a storage that several processes may use.

    storage (Union[str, Path]): A URL, e.g. sqlite:///search.db; or a folder, for a journal in it.
    RETURNS (BaseStorage): The storage.
    """
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    if not isinstance(storage, Path):
        return RDBStorage(storage)
    storage.mkdir(parents=True, exist_ok=True)
    path = str(storage / LOG)
    return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
