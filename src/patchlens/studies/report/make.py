"""From the folder of a study to its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from patchlens.progress import Progress, silent
from patchlens.stats.chance import DRAWS, LEVEL, least_p
from patchlens.studies.layout import REST
from patchlens.studies.report import listed
from patchlens.studies.report.by_layer import EVENTS, KNOWN, MEANS, curves, languages, prepare
from patchlens.studies.report.differences import MOST_PAIRED, differences
from patchlens.studies.report.source import Source, open_study
from patchlens.studies.report.summaries import SUMMARIES, summaries
from patchlens.studies.report.tables import Report, Standing, Table, Value

_PROGRESS: Final = """
    SELECT model, count(*) FILTER (error IS NULL), count(*) FILTER (error IS NOT NULL)
    FROM items GROUP BY model
"""
_GROUPS: Final = """
    SELECT coalesce("group", '') AS name FROM items GROUP BY name ORDER BY min(number), name
"""
_READ: Final = "SELECT model, lens, count(DISTINCT item) FROM by_layer GROUP BY model, lens"


def make_report(folder: str | Path, *, draws: int = DRAWS, progress: Progress | None = None) -> Report:
    """Compute all tables of a study's report; a study that still runs is reported as far as it is.

    Args:
        folder: as written by ``patchlens study``.
        draws: how many relabelled studies make the null of each comparison.
        progress: told what is done, how much of it, of how much.

    Raises:
        MissingExtraError: duckdb or pyarrow is not installed.
        FormatError: the folder holds no study, or none that this version can read.
    """
    tell = progress or silent
    with open_study(folder) as source:
        tell("reading the dataset", 0, 1)
        prepare(source)
        spoken = languages(source)
        quantities = (*MEANS, *(KNOWN if spoken else ()), *spoken, *EVENTS)
        last_layers = _last_layers(source)
        summary = summaries(source)
        tell("reading the dataset", 1, 1)
        compared = differences(summary, last_layers, draws, partial(tell, "comparing, draw by draw"))
        counts = _progress(source)
        tell("filling the tables", 0, 1)
        tables = (
            listed.items(source),
            listed.failures(source),
            listed.answers(source),
            curves(source, quantities),
            listed.emergence(source, last_layers),
            compared,
            listed.words(source),
            listed.effects(source),
            summary,
        )
        tell("filling the tables", 1, 1)
        return Report(
            name=source.manifest.name,
            models=source.manifest.models,
            lenses=source.manifest.lenses,
            groups=tuple(str(group) for (group,) in source.query(_GROUPS)),
            progress=counts,
            versions=source.manifest.versions,
            notes=(*_missing(source, counts), *_limits(compared, draws)),
            quantities=quantities,
            summaries=SUMMARIES,
            tables=tables,
        )


def _last_layers(source: Source) -> dict[str, int]:
    return dict(source.query("SELECT model, max(layer) FROM by_layer GROUP BY model"))


def _progress(source: Source) -> tuple[Standing, ...]:
    counts = {model: (done, failed) for model, done, failed in source.query(_PROGRESS)}
    wanted = source.manifest.items
    return tuple(Standing(model, wanted, *counts.get(model, (0, 0))) for model in source.manifest.models)


def _missing(source: Source, progress: Sequence[Standing]) -> list[str]:
    """What the study does not hold, or not yet."""
    notes = [
        f"{own.model}: {own.missing} of {own.wanted} items are not read yet: the study still runs, or stopped"
        for own in progress
        if own.missing
    ]
    notes += [f"{own.model}: {own.failed} of {own.wanted} items failed" for own in progress if own.failed]
    read = {(model, lens): items for model, lens, items in source.query(_READ)}
    for own in progress:
        for lens in source.manifest.lenses:
            items = read.get((own.model, lens), 0)
            reason = source.manifest.left_out.get((own.model, lens))
            if reason is not None:
                notes.append(f"{own.model} was not read through {lens}: {reason}")
            elif items < own.done:
                notes.append(f"{own.model}: the {lens} lens has read {items} of {own.done} items")
    return notes


def _limits(compared: Table, draws: int) -> list[str]:
    """What the comparisons cannot tell."""
    rows = compared.records()
    untested = sum(row["p"] is None for row in rows)
    notes = [
        f"{untested} of {len(rows)} comparisons have fewer than two items on a side: no interval, no test"
    ]
    against_rest = [
        f"there are more than {MOST_PAIRED} groups: each is compared with all the others together, "
        "not with each of them"
    ]
    hopeless = [kind for kind in ("groups", "models", "lenses") if _hopeless(rows, kind, draws)]
    few = [
        f"between {kind}, no difference could be beyond chance: too few items for so many comparisons"
        for kind in hopeless
    ]
    many = any(_is_against_rest(row) for row in rows)
    return [*(against_rest if many else []), *(notes if untested else []), *few]


def _hopeless(rows: Sequence[Mapping[str, Value]], kind: str, draws: int) -> bool:
    """Whether the smallest p that can come out of any test is above 0.05 after the correction."""
    tested = [row for row in rows if row["between"] == kind and row["p"] is not None]
    least = (
        least_p(
            *(row["first_items"], row["second_items"]),
            pairs=kind != "groups",
            draws=draws,
            tail=_is_against_rest(row),
        )
        for row in tested
        if isinstance(row["first_items"], int) and isinstance(row["second_items"], int)
    )
    return bool(tested) and min(least) * len(tested) >= LEVEL


def _is_against_rest(row: Mapping[str, Value]) -> bool:
    return row["between"] == "groups" and row["second"] == REST
