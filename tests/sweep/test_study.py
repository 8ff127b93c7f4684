"""A search by Optuna: pruning, kills, several processes, two stages. Scores are made up."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

pytest.importorskip("optuna", reason="needs optuna: extra `search`")

from spacy_llm2ner.sweep.space import LEARN_RATE, Space
from spacy_llm2ner.sweep.study import (
    FINALISTS,
    Search,
    SearchSettings,
    best_result,
    open_storage,
)
from spacy_llm2ner.sweep.training import Score
from tests.sweep.test_space import space

SPACE: Space = space(groups=("training", "head"))


def goodness(parameters) -> float:
    """The best values are a width of 384 and a learning rate of 0.008."""
    return 0.5 + 0.2 * parameters["head.hidden_width"] / 384 + 20 * parameters[LEARN_RATE]


def train(parameters, epochs):
    """Scores that rise with the epochs, towards what the parameters are worth."""
    value = goodness(parameters)
    return [3, 6], (Score(value * n / (n + 1), value) for n in range(1, epochs + 1))


def search(folder, trials=12, *, strategy="tpe", digest="same", **settings) -> Search:
    return Search(SPACE, SearchSettings(trials, strategy, **settings), folder, digest)


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_the_config_comes_first_and_a_better_trial_is_found(tmp_path, storage):
    pytest.importorskip("sqlalchemy")
    where = tmp_path if storage == "journal" else f"sqlite:///{tmp_path / 'x.db'}"
    found = search(where, 25, epochs=4)
    found.run(train)
    results = found.results()
    assert len(results) == 25 and results[0].parameters == SPACE.own_parameters
    best = best_result(results)
    assert best.f > results[0].f and best.state == "complete"
    assert best.f == pytest.approx(goodness(best.parameters) * 4 / 5)
    assert best.mention_f == pytest.approx(goodness(best.parameters)) and best.layers == [3, 6]
    pruned = [r for r in results if r.state == "pruned"]
    assert pruned and all(1 < r.epochs < 4 for r in pruned)
    importances = found.importances()
    assert sum(importances.values()) == pytest.approx(1)
    assert {*importances} == {*SPACE.own_parameters}
    assert LEARN_RATE in [*importances][:2]


def test_it_goes_on_where_it_was(tmp_path):
    search(tmp_path, 3).run(train)
    before = search(tmp_path, 3).results()
    again = search(tmp_path, 5)
    assert again.resumed == 3
    trained = []
    again.run(lambda p, e: trained.append(p) or train(p, e))
    assert len(trained) == 2 and again.results()[:3] == before
    again.run(lambda *_: pytest.fail("nothing is left"))


def test_another_search_is_refused(tmp_path):
    search(tmp_path)
    with pytest.raises(FileExistsError, match="E667"):
        search(tmp_path, digest="other")


def _work(folder, trials):
    search(folder, trials).run(lambda p, e: time.sleep(0.02) or train(p, e))


def _die(folder):
    """Ends in the middle of a trial, as a process that is killed."""

    def half(parameters, epochs):
        layers, scores = train(parameters, epochs)
        return layers, (os._exit(9) if n else score for n, score in enumerate(scores))

    search(folder).run(half)


def _processes(target, *args, number=1):
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=target, args=args) for _ in range(number)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    return [worker.exitcode for worker in workers]


def test_a_trial_of_a_killed_process_begins_again(tmp_path):
    assert _processes(_die, tmp_path) == [9]
    again = search(tmp_path, 4)
    assert again.resumed == 0
    trained = []
    again.run(lambda p, e: trained.append(p) or train(p, e))
    assert trained[0] == SPACE.own_parameters and len(trained) == 4
    assert [r.state for r in again.results()] == ["complete"] * 4
    assert again.results()[0].number == 1  # trial 0 was killed


def test_several_processes_share_the_trials(tmp_path):
    search(tmp_path)  # made by the first one
    assert _processes(_work, tmp_path, 16, number=2) == [0, 0]
    trials = open_trials(tmp_path)
    finished = [t for t in trials if t.state.name in ("COMPLETE", "PRUNED")]
    assert 16 <= len(finished) <= 17  # both may begin the last one
    assert len({t.user_attrs["pid"] for t in finished}) == 2


def open_trials(folder):
    import optuna

    return optuna.load_study(study_name="llm2ner-search", storage=open_storage(folder)).trials


def test_a_grid_trains_the_best_again_for_all_epochs(tmp_path):
    found = search(tmp_path, 10, strategy="grid", epochs=6)
    trained = []
    found.run(lambda p, e: trained.append((p, e)) or train(p, e))
    assert [e for _, e in trained] == [2] * 10 + [6] * FINALISTS
    first = sorted((p for p, _ in trained[:10]), key=goodness, reverse=True)[:FINALISTS]
    assert sorted(map(str, first)) == sorted(str(p) for p, _ in trained[10:])
    results = found.results()
    best = best_result(results)
    assert not best.is_partial and best.epochs == 6
    assert goodness(best.parameters) == max(goodness(p) for p in first)
    # A grid that was ended after its first stage goes on with the second one.
    found.run(lambda *_: pytest.fail("nothing is left"))


def test_a_trial_that_fails_is_no_end_but_many_are(tmp_path):
    calls = []

    def some(parameters, epochs):
        calls.append(parameters)
        if len(calls) == 2:
            raise ValueError("too wide")
        return train(parameters, epochs)

    found = search(tmp_path / "a", 3)
    found.run(some)
    assert [r.state for r in found.results()] == ["complete", "failed", "complete", "complete"]
    assert found.results()[1].error == "too wide"

    def none(parameters, epochs):
        raise RuntimeError("no memory")

    with pytest.raises(ValueError, match=r"E668.*no memory"):
        search(tmp_path / "b").run(none)
