"""Several workers give what one gives, also when one of them is killed in the middle."""

import os
import signal
from functools import partial

import pytest
from small_study import content, noise_picture, write_spec

from patchlens.errors import ModelNotFoundError, StudyError
from patchlens.studies.pools.on_ray import OnRay
from patchlens.studies.pools.processes import Processes
from patchlens.studies.pools.protocol import MOST_DEATHS, count_death
from patchlens.studies.recipe.study import read_study
from patchlens.studies.study import run_study
from patchlens.studies.work.task import Bench, Job, Task

ITEMS = 12
DEADLY = "deadly"
KILLS_ITSELF = f"""
import os, signal
from patchlens.studies.work.worker import Worker
seen = Worker._seen
def deadly(self, job, trace):
    if job.item.name == {DEADLY!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    return seen(self, job, trace)
Worker._seen = deadly
"""

SLEEPS = """
import time
from patchlens.studies.work.worker import Worker
Worker.run = lambda *_: time.sleep(60)
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spec")
    noise_picture(folder / "noise.png")
    items = [
        {"scenes": "any", "count": ITEMS - 2, "prompt": "What is this?"},
        {"image": "noise.png", "prompt": "What is this?"},
        {"image": "missing.png", "prompt": "What is this?"},
    ]
    return read_study(
        write_spec(folder / "spec.json", positions="answer", max_new_tokens=3, batch=2, items=items)
    )


@pytest.fixture(scope="module")
def whole(study, tmp_path_factory):
    """What one worker in this process gives."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    run_study(study, folder)
    return content(folder)


class KilledProcess(Processes):
    """Loses a worker that is at work, once."""

    lost = 0

    def results(self, tasks):
        for pair in super().results(tasks):
            if not self.lost:
                self.lost = self._workers[0]._process.pid
                os.kill(self._workers[0]._process.pid, signal.SIGKILL)
                os.kill(self._workers[1]._process.pid, signal.SIGKILL)
            yield pair


class KilledActor(OnRay):
    """Loses an actor that is at work, once."""

    lost = 0

    def results(self, tasks):
        for pair in super().results(tasks):
            if not self.lost:
                number, _ = next(iter(self.at_work.values()))
                self.lost = self._ray.get(self._actors[number].__ray_call__.remote(lambda _: os.getpid()))
                os.kill(self.lost, signal.SIGKILL)
            yield pair


def test_two_processes_give_what_one_gives(study, whole, tmp_path):
    outcome = run_study(study, tmp_path, open_pool=partial(Processes, count=2))
    assert outcome.done == {"demo": ITEMS - 1}
    assert content(tmp_path) == whole


def test_processes_that_are_killed_in_the_middle_are_replaced(study, whole, tmp_path):
    pools = []

    def opening(bench):
        pools.append(KilledProcess(bench, 2))
        return pools[0]

    assert run_study(study, tmp_path, open_pool=opening).done == {"demo": ITEMS - 1}
    assert pools[0].lost and pools[0]._deaths == 2
    assert content(tmp_path) == whole


def test_an_item_that_kills_every_worker_fails_and_the_others_do_not(tmp_path, monkeypatch):
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(KILLS_ITSELF)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "patch"), prepend=os.pathsep)
    items = [{"prompt": "What is red?", "name": name} for name in ("a", DEADLY, "b")]
    study = read_study(write_spec(tmp_path / "spec.json", max_new_tokens=2, items=items))
    outcome = run_study(study, tmp_path / "out", open_pool=partial(Processes, count=1))
    assert outcome.done == {"demo": 2}
    assert [one.item for one in outcome.failures] == [DEADLY]
    assert "killed (SIGKILL), most likely for want of memory" in outcome.failures[0].reason


def test_a_worker_ends_in_the_middle_of_a_task_when_whoever_started_it_does(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(SLEEPS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    study = read_study(write_spec(tmp_path / "spec.json", items=[{"prompt": "What is red?"}]))
    with Processes(Bench(study.models[0], study.lenses, study.settings), 1) as pool:
        worker = pool._workers[0]
        worker.send(Task(0, (Job(0, study.items[0]),)))
        assert not worker.connection.poll(1)
        os.close(worker._lifeline)
        assert worker._process.wait(timeout=300) == 1
        worker._lifeline = os.open(os.devnull, os.O_RDONLY)


def test_two_ray_workers_one_killed_in_the_middle_give_what_one_gives(study, whole, tmp_path):
    pools = []

    def opening(bench):
        pools.append(KilledActor(bench, 2, "local"))
        return pools[0]

    assert run_study(study, tmp_path, open_pool=opening).done == {"demo": ITEMS - 1}
    assert pools[0].lost and pools[0]._deaths == 1
    assert content(tmp_path) == whole


@pytest.mark.parametrize("pool", [partial(Processes, count=1), partial(OnRay, count=1, address="local")])
def test_a_model_that_is_not_there_is_told_as_it_is(tmp_path, pool):
    study = read_study(
        write_spec(
            tmp_path / "spec.json", models=[{"name": "x", "load": "./nowhere"}], items=[{"prompt": "x"}]
        )
    )
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        run_study(study, tmp_path / "out", open_pool=pool)


def test_a_cluster_that_is_not_there_is_told(study, tmp_path):
    with pytest.raises(StudyError, match="cannot be joined"):
        run_study(study, tmp_path, open_pool=partial(OnRay, count=1, address="127.0.0.1:1"))


def test_too_many_deaths_end_the_study():
    with pytest.raises(StudyError, match="what is done so far is kept"):
        count_death(MOST_DEATHS, "the worker was killed (SIGKILL)")
