"""Which drawn scenes serve what: a scene that something was learnt from or chosen on is never reported on.

=============  =======================  ==========  ====================================================
from           to (not with it)         use         what for
=============  =======================  ==========  ====================================================
0              10 000                   learn       texts that the bundled tokenizer was made of
1 000 000      2 000 000                learn       bundled models
2 000 000      3 000 000                learn       bundled models, small pictures
3 000 000      4 000 000                learn       pictures unlike scenes, for the check of the domain
5 000 000      8 000 000                learn       lenses: ``scenes:N``
8 000 000      9 000 000                learn       lenses of a benchmark
9 000 000      9 500 000                choose      layers and thresholds, of the scoreboard and experiments
9 500 000      10 000 000               choose      pictures whose states stand in for ablated patches
12 000 000     13 000 000               learn       the check of the domain
30 000 000     40 000 000               report      bundled models; other pictures in place of a case's own
50 000 000     150 000 000              report      the scoreboard and experiments, a million for each seed
70 000 000     171 000 000              report      studies
=============  =======================  ==========  ====================================================

What is only reported on may be reported on twice.
"""

from __future__ import annotations

from typing import Final, Literal

Use = Literal["learn", "choose", "report"]

CORPUS_SEEDS: Final = 0
TRAIN_SEEDS: Final = 1_000_000
SMALL_SEEDS: Final = 2_000_000
STRANGER_SEEDS: Final = 3_000_000
FIT_SEEDS: Final = 5_000_000
MOST_FIT_SCENES: Final = 1_000_000
"""Some scenes allow no question, so these may reach further than a million seeds."""
FIT_BENCHMARK_SEEDS: Final = 8_000_000
VALIDATION_SEEDS: Final = 9_000_000
MOST_VALIDATION_SCENES: Final = 500_000
REFERENCE_SEEDS: Final = 9_500_000
DOMAIN_SEEDS: Final = 12_000_000
HELD_OUT_SEEDS: Final = 30_000_000
SPARE_SEEDS: Final = 30_000_000
REPORT_SEEDS: Final = 50_000_000
BETWEEN: Final = 1_000_000
"""How far apart the scenes of two seeds of a report begin."""
MOST_SEEDS: Final = 100
STUDY_SEEDS: Final = 70_000_000
MOST_STUDY_SCENES: Final = 100_000

RANGES: Final[dict[str, tuple[int, int, Use]]] = {
    "corpus": (CORPUS_SEEDS, 10_000, "learn"),
    "train": (TRAIN_SEEDS, 2_000_000, "learn"),
    "small": (SMALL_SEEDS, 3_000_000, "learn"),
    "strangers": (STRANGER_SEEDS, 4_000_000, "learn"),
    "fit": (FIT_SEEDS, 8_000_000, "learn"),
    "fit benchmark": (FIT_BENCHMARK_SEEDS, 9_000_000, "learn"),
    "validation": (VALIDATION_SEEDS, VALIDATION_SEEDS + MOST_VALIDATION_SCENES, "choose"),
    "reference": (REFERENCE_SEEDS, 10_000_000, "choose"),
    "domain": (DOMAIN_SEEDS, 13_000_000, "learn"),
    "held out": (HELD_OUT_SEEDS, 40_000_000, "report"),
    "report": (REPORT_SEEDS, REPORT_SEEDS + MOST_SEEDS * BETWEEN, "report"),
    "study": (STUDY_SEEDS, 171_000_000, "report"),
}
"""First seed, the one after the last, and the use of each range, as in the table above."""
