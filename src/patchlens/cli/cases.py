"""What an experiment is made on, how long it will take, and how what it found is told."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from patchlens.cli import options
from patchlens.cli.app import say, say_written, stdout_console
from patchlens.errors import PatchlensError, SelectionError
from patchlens.progress import Tell

if TYPE_CHECKING:
    from patchlens.cause.cases import Ask
    from patchlens.cause.finding import Finding
    from patchlens.cause.hallucination.described import Described
    from patchlens.data.item import Item
    from patchlens.run import Model

LONG = 10.0
"""Seconds of work left that are worth a word."""
RUN = 0.001
"""Seconds that no case takes which is run, and not just looked up."""

Picture = Annotated[
    Path | None,
    Parameter(help="A picture. Drawn scenes if left out, and no --data.", allow_leading_hyphen=False),
]
Scenes = Annotated[int, Parameter(help="Drawn scenes of each seed.")]
RecordsFile = Annotated[
    Path | None,
    options.writes(".jsonl", alias="-o", help="NAME.jsonl, a line per case; run again, it goes on."),
]


@dataclass(frozen=True)
class CaseOptions:
    """What an experiment is made on.

    Attributes:
        prompt: What to ask of the picture, or of each of a folder.
        data: A folder of pictures, a .jsonl file (image, prompt), or scenes:N.
        seeds: Batches of fresh drawn scenes.
    """

    prompt: Annotated[str | None, options.Prompt] = None
    data: Annotated[str | None, Parameter(alias="-d")] = None
    seeds: int = 5


def cases_of(picture: Path | None, asked: CaseOptions, scenes: int, ask: Ask) -> tuple[tuple[Item, ...], str]:
    """The cases that the options mean, and what they are in words.

    Raises:
        SelectionError: a picture together with other data, or a picture without a question.
        DataError, ImageError: as `patchlens.data.read.read_items`, or a picture is not there.
    """
    from patchlens.cause.cases import as_cases, drawn_cases
    from patchlens.data.item import Item
    from patchlens.data.read import read_items

    if picture is not None and asked.data is not None:
        raise SelectionError("a picture and --data together: give one of them")
    if picture is not None and asked.prompt is None:
        raise SelectionError("say with --prompt what to ask of the picture")
    if picture is not None:
        items, about = (Item(str(picture), asked.prompt or "", (picture,)),), picture.name
    elif asked.data is not None:
        items = read_items(asked.data, asked.prompt)
        about = f"{len(items)} cases of {asked.data}"
    elif asked.prompt is not None:
        raise SelectionError("drawn scenes come with their questions: leave --prompt out, or give a picture")
    else:
        about = f"drawn scenes, {scenes} for each of {asked.seeds} seeds"
        return drawn_cases(ask, asked.seeds, scenes), about
    cases = as_cases(items)
    options.check_pictures(items)
    return cases, about


@dataclass(frozen=True)
class Prepared:
    """A loaded model and what it is asked, with what is told how far it is."""

    model: Model
    cases: tuple[Item, ...]
    about: str
    tell: Tell
    clock: Callable[[], float] = time.monotonic

    def forecast(self, runs: int | None, *more: Item) -> Tell:
        """Say on standard error how many passes it takes and about how long.

        How long is told from one plain pass and, once the first case was run, from that.

        Args:
            runs: passes for each case, or None where that depends on the answers.
            more: cases that are run besides.
        """
        n, since = len(self.cases) + len(more), math.inf
        count = f"{n} case{'s' if n != 1 else ''}"
        if runs is None:
            say(f"{count}; how many passes each takes depends on what the model says")
        else:
            say(f"{count} x {runs} runs of the model: {runs * n} passes{self._about(runs * n)}")

        def told(what: str, done: int, total: int, note: str = "") -> None:
            nonlocal since
            self.tell(what, done, total, note)
            if what != "cases" or since < 0:
                return
            took, since = self.clock() - since, self.clock()
            if took > RUN:
                since = -1.0
                if took * (total - done) > LONG:
                    say(f"about {_duration(took * (total - done))} left, after the first case")

        return told

    def _about(self, passes: int) -> str:
        """How long they take if each takes as long as a plain one."""
        try:
            pictures, begun = self.cases[0].open(), self.clock()
            self.model.trace(pictures, self.cases[0].prompt, max_new_tokens=0, layers=[-1])
        except PatchlensError:  # which the experiment tells better
            return ""
        return f", about {_duration(passes * (self.clock() - begun))} if each takes as a plain one"


def begin(
    tell: Tell,
    picture: Path | None,
    asked: CaseOptions,
    scenes: int,
    ask: Ask,
    model: options.ModelOptions,
    page: Path | None = None,
) -> Prepared:
    """Find the cases, then load the model and prove that it is read rightly.

    Raises:
        SelectionError: there shall be a page, and not one case.
        PatchlensError: as `cases_of`, or the model cannot be read.
    """
    cases, about = cases_of(picture, asked, scenes, ask)
    if page is not None and len(cases) != 1:
        raise SelectionError(f"a page is of one picture, not of {len(cases)} cases: leave --html out")
    loaded = model.load()
    loaded.adapter.prove()
    tell("loading the model", 1, 1)
    return Prepared(loaded, cases, about, tell)


def _duration(seconds: float) -> str:
    """In two units at most: 40 s, 3 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def tell_finding(finding: Finding | Described, *written: Path | None, json: bool) -> None:
    """Print what was found, and say what was written."""
    from patchlens.cause.finding import Finding

    if json:
        print(finding.to_json(), end="")
    elif isinstance(finding, Finding):
        from patchlens.cause.table import print_finding

        print_finding(finding, stdout_console())
    else:
        from patchlens.cause.hallucination.described import print_described

        print_described(finding, stdout_console())
    say_written(*written)
