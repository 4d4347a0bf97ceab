"""A study that is killed again and again, at any point, ends as one that never was."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_study import content, leftovers, write_spec

from patchlens import files
from patchlens.studies.folder import StudyFolder
from patchlens.studies.recipe.study import read_study
from patchlens.studies.study import run_study
from patchlens.studies.work.worker import Worker

ITEMS = 60
KILLS = 50


def spec_in(folder: Path, items: int) -> Path:
    return write_spec(
        folder / "spec.json",
        lenses=["logit", "tuned"],
        top_k=3,
        max_new_tokens=2,
        positions="answer",
        batch=1,
        items=[
            {"scenes": "any", "count": items - 1, "prompt": "What is this?", "group": "drawn"},
            {"image": "broken.png", "prompt": "What is this?", "group": "broken"},
        ],
    )


def run_and_tell(spec: Path, out: Path, events) -> None:
    """Run the study; send a byte before each step in which a kill could do harm."""
    os.environ["OMP_NUM_THREADS"] = "1"

    def telling(original):
        def told(*args, **kwargs):
            events.send_bytes(b".")
            return original(*args, **kwargs)

        return told

    files.os.fsync = telling(files.os.fsync)
    files.Path.replace = telling(files.Path.replace)
    Worker.run = telling(Worker.run)
    StudyFolder.commit = telling(StudyFolder.commit)
    run_study(read_study(spec), out)


@pytest.fixture(scope="module")
def context():
    """Processes that start with everything imported."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["patchlens.studies.pools.here", "patchlens.studies.study"])
    return made


def killed(context, spec: Path, out: Path, rng: random.Random) -> bool:
    """Run the study and kill it soon; False if it was done before."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=run_and_tell, args=(spec, out, theirs))
    process.start()
    theirs.close()
    try:
        for _ in range(rng.randint(1, 14)):
            ours.recv_bytes()
        time.sleep(rng.uniform(0, 0.02))
    except EOFError:
        process.join()
        assert process.exitcode == 0
        return False
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def test_fifty_kills_leave_what_an_undisturbed_run_gives(tmp_path, context):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    spec = spec_in(tmp_path, ITEMS)
    whole = run_study(read_study(spec), tmp_path / "whole")
    assert whole.done == {"demo": ITEMS - 1}
    rng, kills, out = random.Random(0), 0, tmp_path / "killed"
    while kills < KILLS:
        assert killed(context, spec, out, rng), f"done after {kills} kills: kill sooner"
        kills += 1
    outcome = run_study(read_study(spec), out)
    assert outcome.done == whole.done
    assert [(one.item, one.reason) for one in outcome.failures] == [
        (one.item, one.reason) for one in whole.failures
    ]
    assert content(out) == content(tmp_path / "whole")
    assert not leftovers(out)
    items = [row["item"] for name, rows in content(out).items() if name.startswith("items") for row in rows]
    assert len(items) == len(set(items)) == ITEMS


def test_the_command_killed_with_all_its_processes_goes_on(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    spec, out = spec_in(tmp_path, 24), tmp_path / "out"
    command = [sys.executable, "-m", "patchlens", "study", str(spec), "--out", str(out), "--workers", "2"]
    for parts in (1, 7):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        while len(list(out.rglob("items/*/part-*.parquet"))) < parts:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()  # the workers end by themselves
        process.wait()
        wait_for_end(process.pid)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "broken.png is not a picture" in done.stderr
    run_study(read_study(spec), tmp_path / "whole")
    assert content(out) == content(tmp_path / "whole")


def wait_for_end(group: int) -> None:
    """Until no process of the group is left: orphans notice that whoever started them died."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a worker outlived the study")
