"""How often 95% intervals hold the truth, and how often "stands out" is said of nothing, by simulation.

    .venv/bin/python benchmarks/intervals.py
    .venv/bin/python benchmarks/intervals.py --quick

"Before" are percentiles of 1000 resamples of the cases, Wilson's interval for whatever is 0 or 1, differences
included, and "stands out" wherever that interval of a difference leaves out 0.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from measure import table
from patchlens.cause.finding import Row, compared, jackknifed
from patchlens.cause.hallucination.detection import Scored, jackknifed_auroc
from patchlens.stats.intervals import FREE, POSITIVE, SHARE, Estimate, Range, differing, jackknife, mean

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Array]
SIZES: Final = (2, 4, 8, 16, 40, 100)
_TRUTH: Final = 1_000_000


@dataclass(frozen=True)
class Kind:
    """Values of cases ``[case]`` or ``[case, part]``, and their figure with its interval."""

    draw: Draw
    figure: Callable[[Array], Estimate]
    truth: Callable[[Array], float] = lambda values: float(values.mean())


def plain(draw: Draw, within: Range) -> Kind:
    return Kind(draw, lambda values: mean(values.tolist(), within))


def ratio(rng: np.random.Generator, n: int) -> Array:
    """Sums of KL over the positions of a picture, and their number: longer texts are somewhat easier."""
    count = rng.geometric(0.1, n) + 1.0
    return np.stack([count * rng.gamma(1.0, 1.0, n) / count**0.2, count], 1)


def of_ratio(values: Array) -> Estimate:
    return jackknife(values[:, 1], [values[:, :1]], lambda means: means[0][:, 0]).estimate(POSITIVE)


def nouns(rng: np.random.Generator, n: int, shift: float = 1.5) -> tuple[Scored, Scored]:
    """Two scores, equally good, of 1 to 5 nouns of each picture, three of ten made up."""
    picture = np.repeat(np.arange(n), rng.integers(1, 6, n))
    made_up = rng.random(len(picture)) < 0.3
    own = 0.5 * rng.normal(size=n)[picture]
    values = [rng.normal(size=len(picture)) + own - shift * made_up for _ in range(2)]
    return Scored(values[0], made_up, picture), Scored(values[1], made_up, picture)


def beside_draws(rng: np.random.Generator, n: int) -> Array:
    return (rng.random(n) < 0.3) - rng.binomial(20, 0.1, n) / 20


KINDS: Final[Mapping[str, Kind]] = {
    "nats, none below 0: exponential": plain(lambda r, n: r.exponential(1, n), POSITIVE),
    "the same: gamma of shape 1/2": plain(lambda r, n: r.gamma(0.5, 1, n), POSITIVE),
    "the same: lognormal, σ 1/2": plain(lambda r, n: r.lognormal(0, 0.5, n), POSITIVE),
    "the same: lognormal, σ 1": plain(lambda r, n: r.lognormal(0, 1, n), POSITIVE),
    "nats over positions of unlike pictures": Kind(
        ratio, of_ratio, lambda values: float(values[:, 0].sum() / values[:, 1].sum())
    ),
    "nats of either sign: normal": plain(lambda r, n: r.normal(0, 1, n), FREE),
    "the same: exponential, less a smaller one": plain(
        lambda r, n: r.exponential(1, n) - 0.3 * r.exponential(1, n), FREE
    ),
    "share of yes, 1 of 10": plain(lambda r, n: (r.random(n) < 0.1).astype(float), SHARE),
    "share of yes, 1 of 2": plain(lambda r, n: (r.random(n) < 0.5).astype(float), SHARE),
    "mean of shares: beta(1/2, 2)": plain(lambda r, n: r.beta(0.5, 2, n), SHARE),
    "the same: 20 draws of 3 in 100": plain(lambda r, n: r.binomial(20, 0.03, n) / 20, SHARE),
    "difference of yes from 20 draws of yes": Kind(
        beside_draws, lambda values: differing(values, SHARE.of_differences)
    ),
    "difference of shares": plain(lambda r, n: r.beta(0.5, 2, n) - r.beta(0.5, 4, n), SHARE.of_differences),
}


def bootstrapped(values: Array, weights: Array) -> Estimate:
    """Before: percentiles of resamples, Wilson's interval of 0 and 1."""
    if values.ndim == 1 and (np.isin(values, (0, 1)).all() or np.isin(values, (0, -1)).all()):
        sign = -1.0 if (values < 0).any() else 1.0
        own = mean((sign * values).tolist(), SHARE)
        assert own.value is not None and own.low is not None and own.high is not None
        low, high = sorted((sign * own.low, sign * own.high))
        return Estimate(sign * own.value, low, high)
    sums = weights @ values
    found = sums[:, 0] / sums[:, 1] if values.ndim == 2 else sums / len(values)
    low, high = np.percentile(found, [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))


def resamples(n: int) -> Array:
    return np.random.default_rng(n).multinomial(n, np.full(n, 1 / n), 1000).astype(np.float64)


def holds(found: Estimate, truth: float) -> bool:
    return (
        found.low is not None
        and found.high is not None
        and found.low <= truth + 1e-12
        and truth <= found.high + 1e-12
    )


def coverage(kind: Kind, n: int, runs: int) -> tuple[float, float]:
    """How often the interval holds the truth, before and now."""
    truth = kind.truth(kind.draw(np.random.default_rng(1), _TRUTH))
    rng, weights = np.random.default_rng([n, 7]), resamples(n)
    found = [
        (holds(bootstrapped(values, weights), truth), holds(kind.figure(values), truth))
        for values in (kind.draw(rng, n) for _ in range(runs))
    ]
    before, now = np.mean(found, 0).tolist()
    return before, now


def auroc_coverage(n: int, runs: int) -> tuple[float, float]:
    truth = nouns(np.random.default_rng(1), 4000)[0].auroc
    rng, weights = np.random.default_rng([n, 9]), resamples(n)[:300]
    before: list[bool] = []
    now: list[bool] = []
    for _ in range(runs):
        own, _ = nouns(rng, n)
        found = jackknifed_auroc(own, [own])[0].estimate(SHARE)
        if found.low is not None:
            now.append(holds(found, truth))
        drawn = [_auroc_of(own, row) for row in weights]
        if not np.isnan(drawn).any():
            low, high = np.percentile(drawn, [2.5, 97.5])
            before.append(bool(low <= truth <= high))
    return (float(np.mean(before)) if before else float("nan")), float(np.mean(now))


def _auroc_of(own: Scored, weight: Array) -> float:
    rows = np.repeat(np.arange(len(own.picture)), weight[own.picture].astype(int))
    return Scored(own.values[rows], own.made_up[rows], own.picture[rows]).auroc


Null = Callable[[np.random.Generator, int], tuple[Row, Array]]
"""A row of what is the same as its control, and its differences."""


def made_row(
    draw: Callable[[np.random.Generator, int], tuple[Array, Array]], unit: str, *, chance: bool = False
) -> Null:
    def null(rng: np.random.Generator, n: int) -> tuple[Row, Array]:
        own, controls = draw(rng, n)
        row = compared("", unit, own.tolist(), controls.tolist(), chance=chance)
        return row, own - controls.reshape(n, -1).mean(1)

    return null


def rare(rng: np.random.Generator, n: int, share: float, draws: int) -> tuple[Array, Array]:
    drawn = (rng.random((n, 1 + draws)) < share).astype(float)
    return drawn[:, 0], drawn[:, 1:]


def rarely_both(rng: np.random.Generator, n: int, share: float) -> tuple[Array, Array]:
    """Cases change under one of two alike interventions at most, as a rule under none."""
    at = rng.random(n)
    return (at < share).astype(float), (at > 1 - share).astype(float)


def skewed(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    drawn = rng.exponential(1, (n, 4))
    return drawn[:, 0], drawn[:, 1:]


def peaks(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    chances = rng.beta(2, 38, n)
    return (rng.random(n) < chances).astype(float), chances


def scores(rng: np.random.Generator, n: int) -> tuple[Row, Array]:
    own, other = nouns(rng, n)
    return jackknifed("", "AUROC", *jackknifed_auroc(own, [other])), np.empty(0)


NULLS: Final[Mapping[str, Null]] = {
    "flips, 1 of 100 cases, beside 1 draw": made_row(partial(rarely_both, share=0.01), "share"),
    "flips, 1 of 10 cases, beside 1 draw": made_row(partial(rarely_both, share=0.1), "share"),
    "flips, 1 of 100 cases, beside 20 draws": made_row(partial(rare, share=0.01, draws=20), "share"),
    "flips, 1 of 10 cases, beside 20 draws": made_row(partial(rare, share=0.1, draws=20), "share"),
    "peak on 1 of 20 patches, beside chance": made_row(peaks, "share", chance=True),
    "nats, exponential, beside 3 draws": made_row(skewed, "nats"),
    "AUROC of one score, beside one as good": scores,
}


def said_of_nothing(null: Null, n: int, runs: int) -> tuple[tuple[float, float] | None, tuple[float, float]]:
    """How often the figure stands out as higher and as lower, before and now."""
    rng, weights = np.random.default_rng([n, 11]), resamples(n)
    before, now = np.zeros(2), np.zeros(2)
    restated = True
    for _ in range(runs):
        row, differences = null(rng, n)
        now += (row.stands_out and row.is_higher, row.stands_out and not row.is_higher)
        restated = len(differences) > 0
        if restated:
            old = bootstrapped(differences, weights)
            assert old.low is not None and old.high is not None
            before += (old.low > 0, old.high < 0)
    high, low = (now / runs).tolist()
    old_high, old_low = (before / runs).tolist()
    return (old_high, old_low) if restated else None, (high, low)


def percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a twentieth of the runs")
    part = 20 if parser.parse_args().quick else 1
    columns = tuple(f"n = {n}" for n in SIZES)
    rows = []
    for name, kind in KINDS.items():
        found = [coverage(kind, n, 4000 // part) for n in SIZES]
        rows.append((name, *(f"{percent(before)} / {percent(now)}" for before, now in found)))
    found = [auroc_coverage(n, 600 // part) for n in SIZES]
    rows.append(
        ("AUROC, where it can be had", *(f"{percent(before)} / {percent(now)}" for before, now in found))
    )
    print(table(("intervals that hold the truth, %: before / now", *columns), rows), end="\n\n", flush=True)
    rows = []
    for name, null in NULLS.items():
        cells: list[str] = []
        for n in SIZES:
            before, now = said_of_nothing(null, n, 1000 // part)
            old = "" if before is None else f"{percent(before[0])}, {percent(before[1])} / "
            cells.append(f"{old}{percent(now[0])}, {percent(now[1])}")
        rows.append((name, *cells))
    print(table(('"stands out" of nothing, %: higher, lower before / now', *columns), rows))


if __name__ == "__main__":
    main()
