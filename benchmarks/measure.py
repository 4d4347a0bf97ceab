"""Time and memory of things that do the same work, measured side by side in one process."""

from __future__ import annotations

import ctypes
import gc
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

import torch

Work = Callable[[], object]


def machine() -> str:
    """One line about where the numbers come from."""
    cpu, features = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        facts = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        facts = {key.strip(): value.strip() for key, value in facts.items()}
        cpu = facts.get("model name", cpu)
        known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_fp16")
        features = ", " + " ".join(name for name in known if name in facts.get("flags", "").split())
    return f"{cpu}{features}; {torch.get_num_threads()} thread(s); torch {torch.__version__}"


def interleaved(contenders: Mapping[str, Work], repeats: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round; every round runs all of them, so drift hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, work in contenders.items():
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    """Median over rounds of the ratio within a round."""
    return median(a / b for a, b in zip(times, reference, strict=True))


def peak_extra_bytes(work: Work) -> int | None:
    """Highest resident memory during ``work`` beyond that before it; None outside Linux."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    before = _kilobytes(status, "VmRSS")
    kept = work()
    peak = _kilobytes(status, "VmHWM")
    del kept
    return 1024 * (peak - before)


def _kilobytes(status: Path, field: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
