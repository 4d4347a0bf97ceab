"""Knocking out routes window by window: the figures are those of single passes, and words claim no more."""

import numpy as np
import pytest

from patchlens.causal import Knockout, rerun
from patchlens.causal.places import Stage
from patchlens.cause.cases import drawn_cases, own_cases
from patchlens.cause.knockout import measure as module
from patchlens.cause.knockout.measure import Settings, ask_about_thing, knockout
from patchlens.cause.knockout.routes import with_controls
from patchlens.data.item import Item
from patchlens.errors import SelectionError
from patchlens.models.generate import generate_greedy
from patchlens.models.inputs import prepare
from patchlens.models.load import load_adapter

VALIDATION = 9_000_000


def silent(*_):
    pass


@pytest.fixture(scope="module", params=["demo", "demo-cross"])
def adapter(request):
    return load_adapter(request.param)


@pytest.fixture(scope="module")
def cases():
    return drawn_cases(ask_about_thing, 1, 2, first=VALIDATION)


def test_figures_are_those_of_the_knockouts_and_every_route_has_every_window(adapter, cases):
    found = knockout(adapter, cases, "2 scenes", Settings(width=3, draws=2), path=None, tell=silent)
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


def test_a_stopped_run_goes_on_and_gives_the_same(adapter, cases, tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    run = {"about": "2 scenes", "settings": Settings(draws=1)}
    whole = knockout(adapter, cases, **run, path=None, tell=silent)
    costs = module._costs

    def stops(adapter_, case, *rest):
        if case.name == cases[1].name:
            raise KeyboardInterrupt
        return costs(adapter_, case, *rest)

    monkeypatch.setattr(module, "_costs", stops)
    with pytest.raises(KeyboardInterrupt):
        knockout(adapter, cases, **run, path=path, tell=silent)
    made = []
    monkeypatch.setattr(
        module, "_costs", lambda a, case, *rest: made.append(case.name) or costs(a, case, *rest)
    )
    assert knockout(adapter, cases, **run, path=path, tell=silent) == whole
    assert made == [cases[1].name]


def test_pictures_of_ones_own_have_no_thing_and_a_single_one_no_interval(cases):
    adapter = load_adapter("demo")
    own = own_cases([Item("mine", "What is this?", (cases[0].truth.picture,))])
    found = knockout(adapter, own, "mine", Settings(draws=1), path=None, tell=silent)
    assert {row.name.split(",")[0] for row in found.rows} == {
        "image → answer",
        "image → text",
        "text → answer",
    }
    assert all(row.value.low is None for row in found.rows)
    assert found.sentence.startswith("In this one case, which tells nothing of others")


@pytest.mark.parametrize("wrong", [{"width": 0}, {"width": 9}, {"draws": 0}, {"max_new_tokens": 0}])
def test_sizes_that_make_no_sense_are_refused(wrong, cases):
    with pytest.raises(SelectionError, match="windows of 1 to 8 blocks"):
        knockout(load_adapter("demo"), cases, "", Settings(**wrong), path=None, tell=silent)


def told(lost, control):
    """The finding on made-up numbers ``[route, window, case]``: two routes, two windows and all blocks."""
    over = module.windows(2, 1)
    routes = ("image → answer", "text → answer")
    records = [
        {
            "routes": {
                route: [(float(lost[r, w, case]), float(control[r, w, case])) for w in range(3)]
                for r, route in enumerate(routes)
            }
        }
        for case in range(lost.shape[2])
    ]
    return module._finding("demo", "made up", records, over, {"width": 1}).sentence


def test_the_dearest_window_is_named_only_where_it_stands_out():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (2, 3, 40))
    assert "none costs the answer more" in told(noise, noise + rng.normal(0, 1, noise.shape))
    clear = noise.copy()
    clear[0, 1] += 5
    sentence = told(clear, noise)
    assert "image → answer, block 1 costs most" in sentence and "100% of resamples" in sentence
    clear[1, 0] = clear[0, 1] + rng.normal(0, 0.01, 40)
    assert "so others may be" in told(clear, noise)
    clear[:, 2] += 50
    assert "all blocks" not in told(clear, noise)
    clear[1, 0] += 10
    assert "Of those on ways from the picture, image → answer, block 1" in told(clear, noise)


def test_cases_in_which_nothing_is_said_are_left_out():
    over = module.windows(2, 1)
    found = module._finding("demo", "", [{"answer": "", "routes": {}}], over, {"width": 1})
    assert found.cases == 0 and not found.rows and "No answer" in found.sentence
    assert any("1 cases were left out" in note for note in found.notes)
