"""Knocking out routes window by window: the figures are those of single passes, and words claim no more."""

import numpy as np
import pytest

from patchlens.causal import Knockout, rerun
from patchlens.causal.places import Stage
from patchlens.cause import knockout as module
from patchlens.cause.cases import as_cases, drawn_cases
from patchlens.cause.knockout import ask_about_thing, cause_knockout
from patchlens.cause.routes import with_controls
from patchlens.cause.runner import Experiment
from patchlens.cause.settings import KnockoutSettings
from patchlens.data.item import Item
from patchlens.errors import SelectionError
from patchlens.models.generate import generate_greedy
from patchlens.models.inputs import prepare
from patchlens.run import Model, load
from tiny import BUILDERS

VALIDATION = 9_000_000


@pytest.fixture(scope="module", params=["demo", "demo-cross"])
def model(request):
    return load(request.param)


@pytest.fixture(scope="module")
def cases():
    return drawn_cases(ask_about_thing, 1, 2, first=VALIDATION)


def test_figures_are_those_of_the_knockouts_and_every_route_has_every_window(model, cases):
    adapter = model.adapter
    found = cause_knockout(model, cases, KnockoutSettings(width=3, draws=2))
    lost, control = [], []
    for case in cases:
        inputs = prepare(adapter, case.prompt, case.open())
        inputs = adapter.continued(inputs, generate_greedy(adapter, inputs, 20))
        _, *drawn = with_controls(Stage(adapter, inputs), "image → answer", (), 2, 0)
        plans = [(), Knockout("answer", "image", [3, 4, 5]), *(own.knockout([3, 4, 5]) for own in drawn)]
        total = rerun(adapter, inputs).effects(plans).total
        lost.append(float(total[0] - total[1]))
        control.append(float((total[0] - total[2:]).mean()))
    row = next(row for row in found.rows if row.name == "image → answer, blocks 3-5")
    assert row.value.value == pytest.approx(np.mean(lost), abs=1e-4)
    assert row.control.value == pytest.approx(np.mean(control), abs=1e-5)
    assert abs(np.mean(control)) > 1e-4
    assert len(found.rows) == 4 * (adapter.n_layers + 1)
    assert found.cases == 2 and found.parameters["width"] == 3


def test_a_stopped_run_goes_on_and_gives_the_same(model, cases, tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    settings = KnockoutSettings(draws=1)
    whole = cause_knockout(model, cases, settings)
    costs = module.measure

    def stops(model_, case, *rest):
        if case.name == cases[1].name:
            raise KeyboardInterrupt
        return costs(model_, case, *rest)

    monkeypatch.setattr(module, "measure", stops)
    with pytest.raises(KeyboardInterrupt):
        cause_knockout(model, cases, settings, out=path)
    made = []
    monkeypatch.setattr(
        module, "measure", lambda a, case, *rest: made.append(case.name) or costs(a, case, *rest)
    )
    assert cause_knockout(model, cases, settings, out=path) == whole
    assert made == [cases[1].name]


def test_pictures_of_ones_own_have_no_thing_and_a_single_one_no_interval(cases):
    own = as_cases([Item("mine", "What is this?", (cases[0].known().picture,))])
    found = cause_knockout(load("demo"), own, KnockoutSettings(draws=1))
    assert found.about == "mine, windows of 4 blocks"
    assert {row.name.split(",")[0] for row in found.rows} == {
        "image → answer",
        "image → text",
        "text → answer",
    }
    assert all(row.value.low is None for row in found.rows)
    assert found.sentence.startswith("In this one case, which tells nothing of others")


def test_windows_wider_than_the_model_are_refused(cases):
    with pytest.raises(SelectionError, match="windows of 1 to 8 blocks"):
        cause_knockout(load("demo"), cases, KnockoutSettings(width=9))


@pytest.fixture(scope="module")
def trial():
    return Experiment("knockout", Model(BUILDERS["llava"]()), [], {"width": 1})


def sentence_of(trial, lost, control):
    """The finding on made-up numbers ``[route, window, case]``: two routes, two windows and all blocks."""
    over = module.windows(2, 1)
    routes = ("image → answer", "text → answer")
    records = {
        f"{case}": {
            "routes": {
                route: [(float(lost[r, w, case]), float(control[r, w, case])) for w in range(3)]
                for r, route in enumerate(routes)
            }
        }
        for case in range(lost.shape[2])
    }
    return module._finding(trial, "made up", records, over).sentence


def test_the_dearest_window_is_named_only_where_it_stands_out(trial):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (2, 3, 40))
    assert "none costs the answer more" in sentence_of(trial, noise, noise + rng.normal(0, 1, noise.shape))
    clear = noise.copy()
    clear[0, 1] += 5
    sentence = sentence_of(trial, clear, noise)
    assert "image → answer, block 1 costs most" in sentence and "100% of resamples" in sentence
    clear[1, 0] = clear[0, 1] + rng.normal(0, 0.01, 40)
    assert "so others may be" in sentence_of(trial, clear, noise)
    clear[:, 2] += 50
    assert "all blocks" not in sentence_of(trial, clear, noise)
    clear[1, 0] += 10
    assert "Of those on ways from the picture, image → answer, block 1" in sentence_of(trial, clear, noise)


def test_cases_in_which_nothing_is_said_are_left_out(trial):
    over = module.windows(2, 1)
    found = module._finding(trial, "", {"a": {"answer": "", "routes": {}}}, over)
    assert found.cases == 0 and not found.rows and "No answer" in found.sentence
    assert any("1 cases were left out" in note for note in found.notes)
