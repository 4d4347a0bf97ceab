"""Knocking out single edges is knocking out the same pairs, however they are named."""

import numpy as np
import pytest
import torch
from acting import acted, logits

from patchlens.causal import Knockout, KnockoutEdges, rerun
from patchlens.causal.places import Stage
from patchlens.errors import SelectionError

FAMILIES = pytest.mark.parametrize("family", ["llava", "mllama", "qwen_vl"])
ROUTES = [("answer", "image"), ("text", "image"), ("answer", "text"), ([3], [1, 2, 5])]


def product(stage, queries, sources):
    looking, seen = stage.find(queries).positions, stage.find(sources)
    pairs = [np.array([(q, s) for q in looking for s in there]) for there in (seen.positions, seen.states)]
    return [rows if len(rows) else None for rows in pairs]


@FAMILIES
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_all_edges_of_two_groups_are_the_knockout_of_the_groups(family, route):
    adapter, inputs = acted(family, dtype=torch.float64)
    edges = KnockoutEdges(*product(Stage(adapter, inputs), *route), range(1, 4))
    expected = logits(adapter, inputs, Knockout(*route, range(1, 4)))
    torch.testing.assert_close(logits(adapter, inputs, edges), expected, atol=1e-10, rtol=0)
    assert (expected - logits(adapter, inputs)).abs().max() > 1e-4


@FAMILIES
def test_edges_that_form_no_groups_add_up_and_run_together(family):
    adapter, inputs = acted(family)
    pairs = [(5, 2), (6, 3), (len(inputs) - 2, 4), (6, 1)]
    several = [KnockoutEdges(np.array(pairs[:n]), None, [0, 1, 2]) for n in (1, 2, 4)]
    one_by_one = [[Knockout([q], [s], [0, 1, 2]) for q, s in pairs[:n]] for n in (1, 2, 4)]
    runs = rerun(adapter, inputs)
    found = runs.effects([(), *several]).logprobs
    torch.testing.assert_close(found, runs.effects([(), *one_by_one]).logprobs, atol=1e-5, rtol=0)
    assert len({round(float(row.sum()), 6) for row in found}) == 4


def test_an_edge_to_a_later_source_changes_nothing():
    adapter, inputs = acted("llava")
    later = KnockoutEdges(np.array([(3, 4), (0, 5)]), None)
    assert logits(adapter, inputs, later).equal(logits(adapter, inputs))
    total = rerun(adapter, inputs).effects([(), later]).total
    assert total[0] == total[1]


@pytest.mark.parametrize("edge", [(-1, 0), (0, 10_000), (10_000, 0)])
def test_edges_that_do_not_exist_are_refused(edge):
    adapter, inputs = acted("llava")
    with pytest.raises(SelectionError, match="an edge does not exist"):
        logits(adapter, inputs, KnockoutEdges(np.array([edge]), None))
    with pytest.raises(SelectionError, match="to one of 0 sources"):
        logits(adapter, inputs, KnockoutEdges(None, np.array([(1, 0)])))
