"""What a study costs over the bare passes and lens, and whether its memory grows with the number of items.

Bare: pictures opened, prompts prepared, run in the same batches and read through the same lens; nothing kept.
Equality is asserted first: the study's table holds what the bare readings hold.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from measure import machine
from patchlens.models.encode import likeness
from patchlens.models.inputs import prepare
from patchlens.pictures.open import open_picture
from patchlens.reading.reading import Reading
from patchlens.run import Asked, Model, load, trace_together
from patchlens.scenes.scene import make_scene
from patchlens.studies.pools.here import Here
from patchlens.studies.recipe.study import Study, read_study
from patchlens.studies.study import run_study
from patchlens.studies.work.task import Bench

PROMPT = "Describe the picture."
BATCH = 16
ALONE = """
import resource, sys
from functools import partial
from patchlens.studies.pools.processes import Processes
from patchlens.studies.recipe.study import read_study
from patchlens.studies.study import run_study

spec, out, workers = sys.argv[1:]
run_study(read_study(spec), out, open_pool=partial(Processes, count=int(workers)))
asking, working = (
    resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
)
print(f"largest memory {asking:.0f} MiB of the command, {working:.0f} MiB of a worker")
"""
"""A whole run in a process that holds nothing else."""


def write_items(folder: Path, count: int) -> Path:
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(count):
        make_scene(80_000_000 + number).image.save(pictures / f"{number:05d}.png")
    spec = folder / "study.json"
    content = {"models": ["demo"], "batch": BATCH, "items": [{"data": "pictures", "prompt": PROMPT}]}
    spec.write_text(json.dumps(content))
    return spec


def bare(model: Model, study: Study) -> Iterator[tuple[int, Reading]]:
    """Readings with the numbers of their items, batch by batch, those that are alike together."""
    for start in range(0, len(study.items), BATCH):
        groups: dict[object, list[tuple[int, Asked]]] = {}
        for number, item in enumerate(study.items[start : start + BATCH], start):
            pictures = tuple(open_picture(one.path) for one in item.pictures)
            asked = Asked(pictures, prepare(model.adapter, item.prompt, pictures))
            groups.setdefault(likeness(asked.inputs), []).append((number, asked))
        for group in groups.values():
            traces = trace_together(model.adapter, [asked for _, asked in group], steps=True)
            for (number, _), trace in zip(group, traces, strict=True):
                yield number, trace.read(top_k=10, targets=tuple(dict.fromkeys(trace.answer.ids)))


def assert_equal(model: Model, study: Study, out: Path) -> None:
    readings = [reading for _, reading in sorted(bare(model, study), key=itemgetter(0))]
    entropy = pq.read_table(out / "cells", columns=["entropy"])["entropy"].to_numpy()
    ids = pq.read_table(out / "cells", columns=["top_ids"])["top_ids"].combine_chunks().flatten().to_numpy()
    assert np.array_equal(entropy, np.concatenate([r.entropy.reshape(-1) for r in readings]))
    assert np.array_equal(ids, np.concatenate([r.top_ids.reshape(-1) for r in readings]))


def overhead(items: int, rounds: int) -> None:
    model = load("demo")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = read_study(write_items(folder, items))
        here = Here(Bench(study.models[0], study.lenses, study.settings))
        run_study(study, folder / "first", open_pool=lambda _: here)
        assert_equal(model, study, folder / "first")
        ratios: list[tuple[float, float]] = []
        for number in range(rounds):
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in bare(model, study):
                pass
            middle_cpu, middle = time.process_time(), time.perf_counter()
            run_study(study, folder / f"round{number}", open_pool=lambda _: here)
            end_cpu, end = time.process_time(), time.perf_counter()
            ratios.append(((end_cpu - middle_cpu) / (middle_cpu - cpu), (end - middle) / (middle - wall)))
            print(
                f"round {number + 1}: {items} items, bare {(middle - wall) / items * 1000:.1f} ms per item, "
                f"study {(end - middle) / items * 1000:.1f} ms; ratio {ratios[-1][0]:.3f} of CPU time, "
                f"{ratios[-1][1]:.3f} of wall time",
                flush=True,
            )
        cpu_ratio, wall_ratio = (statistics.median(column) for column in zip(*ratios, strict=True))
        print(f"study / bare, median of {rounds}: {cpu_ratio:.3f} CPU, {wall_ratio:.3f} wall (goal 1.15)")


def growth(counts: Sequence[int], workers: int) -> None:
    """Whole runs over more and more items: items per second, and the largest memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec = write_items(folder, max(counts))
        for count in counts:
            content = json.loads(spec.read_text())
            content["items"][0]["limit"] = count
            own = folder / f"first{count}.json"
            own.write_text(json.dumps(content))
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", ALONE, str(own), str(folder / f"out{count}"), str(workers)],
                check=True,
                capture_output=True,
                text=True,
            )
            seconds = time.perf_counter() - start
            rate = f"{count} items, {workers} workers: {count / seconds:.1f} items/s with loading"
            print(f"{rate}; {done.stdout}", end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--counts", type=int, nargs="+", default=[125, 250, 500, 1000])
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    if asked.rounds:
        overhead(asked.items, asked.rounds)
    growth(asked.counts, asked.workers)


if __name__ == "__main__":
    main()
