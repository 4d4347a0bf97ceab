"""What is done of an experiment so far: one line per case, so that a stopped one goes on where it was."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchlens.data.item import Item
from patchlens.errors import DataError, OutputError, naming
from patchlens.files import same_or_refuse, write_atomically
from patchlens.models.adapter import Adapter
from patchlens.models.digest import model_digest
from patchlens.progress import Progress

Record = dict[str, Any]
"""What one case gave, as JSON values; a number that is not known is None."""


@dataclass(frozen=True)
class Ledger:
    """A file of records, or memory alone where ``path`` is None.

    The first line says what experiment it is and with which arguments, every other line is one case. A line
    is whole or, if the machine stopped in the middle of it, dropped.
    """

    path: Path | None
    head: Mapping[str, Any]

    def read(self) -> dict[str, Record]:
        """Records by case, of an earlier run with the same arguments; begins the file if there is none.

        Raises:
            DataError: the file is of another experiment, or of other arguments; says which.
            OutputError: it cannot be read or begun.
        """
        if self.path is None:
            return {}
        if not self.path.exists():
            write_atomically(self.path, _line(self.head))
            return {}
        try:
            text = self.path.read_bytes()
        except OSError as error:
            raise OutputError(f"cannot read {self.path}: {error.strerror or error}") from error
        whole = text[: text.rfind(b"\n") + 1]
        try:
            head, *lines = [json.loads(line) for line in whole.splitlines()]
            records = {str(line.pop("case")): line for line in lines}
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise DataError(f"{self.path} is not a file of an experiment: choose another --out") from error
        remedy = "run that one again as it was, or choose another --out"
        same_or_refuse(self.path, "an experiment", head, self.head, remedy)
        if len(whole) < len(text):
            write_atomically(self.path, whole)
        return records

    def add(self, case: str, record: Record) -> None:
        """Append a record, and wait until it is on the disk.

        Raises:
            OutputError: it cannot be written.
        """
        if self.path is None:
            return
        try:
            with self.path.open("ab") as file:
                file.write(_line({"case": case, **record}).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error


def head_of(
    experiment: str, adapter: Adapter, cases: Sequence[Item], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The first line of a ledger: what changes its records."""
    asked = json.dumps([(case.name, case.prompt) for case in cases])
    return {
        "experiment": experiment,
        "model": adapter.name,
        "weights": model_digest(adapter),
        "cases": hashlib.sha256(asked.encode()).hexdigest(),
        **parameters,
    }


def each(
    cases: Sequence[Item], one: Callable[[Item], Record], ledger: Ledger, tell: Progress
) -> dict[str, Record]:
    """Make every case that the ledger does not have, and return all records in the cases' order.

    Raises:
        PatchlensError: a case cannot be made; says which. Those before it are kept.
    """
    done = ledger.read()
    for number, case in enumerate(cases):
        tell("cases", number, len(cases))
        if case.name in done:
            continue
        with naming(case.name):
            record = _plain(one(case))
        ledger.add(case.name, record)
        done[case.name] = record
    tell("cases", len(cases), len(cases))
    return {case.name: done[case.name] for case in cases}


def six_digits(values: Sequence[float]) -> list[float]:
    """Values to six digits, so that files of records stay small."""
    return [float(f"{value:.6g}") for value in values]


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(own) for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(own) for own in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
