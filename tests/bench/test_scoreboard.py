"""Scores of readings made up so that their figures are known, and of the bundled models."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from patchlens.bench import examine as examine_module
from patchlens.bench.board import Board, NullScore, OverSeeds, Score, to_json
from patchlens.bench.exam import drawn_exam
from patchlens.bench.readout import Drift, Readout, ask_known, read_out, states_for
from patchlens.bench.score import METRICS, Tally, mean_elsewhere, score_drift, score_patches
from patchlens.bench.scoreboard import choose, score_model
from patchlens.data.words import ConceptIds
from patchlens.errors import SelectionError
from patchlens.lens import CrossLens, LogitLens
from patchlens.lens.embedding import EmbeddingLens
from patchlens.run import load
from patchlens.scenes.truth import Thing, Truth, patch_truth

CONCEPTS = ConceptIds(
    {
        **{"cat": frozenset({1, 2}), "dog": frozenset({3}), "red": frozenset({4})},
        **{"grass": frozenset({5, 6}), "frog": frozenset({6})},
    },
    ("cat", "dog", "frog"),
)
PATCHES = 16
NOTHING = 9


def made_truth() -> Truth:
    """A cat on patches 0-3, a red dog on 4-5, grass elsewhere; a patch is one pixel."""
    cat, dog = np.zeros((2, 4, 4), bool)
    cat[0, :4] = True
    dog[1, :2] = True
    rows, cols = np.divmod(np.arange(PATCHES), 4)
    boxes = np.stack([cols, rows, cols + 1, rows + 1], 1).astype(float)
    return patch_truth([Thing("cat", cat), Thing("dog", dog, ("red",))], ("grass",), boxes)


def made_reading(*layers: dict[int, list[int]]) -> Readout:
    """What the five best are at some patches, layer by layer; concepts score 1 where they are first."""
    top = np.full((len(layers), PATCHES, 5), NOTHING)
    concepts = np.zeros((len(layers), PATCHES, len(CONCEPTS.keys)), np.float32)
    for layer, words in enumerate(layers):
        for patch, ids in words.items():
            top[layer, patch, : len(ids)] = ids
            for column, key in enumerate(CONCEPTS.keys):
                concepts[layer, patch, column] = ids[0] in CONCEPTS.ids[key]
    return Readout(top, concepts, {})


def scored(seen: Readout, thresholds: list[float] | None = None) -> dict[str, np.ndarray]:
    tally = Tally()
    score_patches(tally, seen, made_truth(), CONCEPTS)
    return tally.values(None if thresholds is None else np.array(thresholds))


def test_words_are_counted_on_things_and_on_bare_ground() -> None:
    values = scored(
        made_reading(
            {0: [2], 1: [NOTHING, 1], 2: [3], 4: [4], 5: [3], 6: [1], 7: [6], 8: [NOTHING, 3]},
            {patch: [2 if patch < 4 else 3] for patch in range(6)},
        )
    )
    np.testing.assert_allclose(values["readable_top5"], [4 / 6, 1])
    np.testing.assert_allclose(values["readable_top1"], [3 / 6, 1])
    np.testing.assert_allclose(values["false_top5"], [2 / 10, 0])
    np.testing.assert_allclose(values["false_top1"], [1 / 10, 0])
    np.testing.assert_allclose(values["net_top5"], [4 / 6 - 0.2, 1])


def test_maps_that_are_perfect_inverted_and_flat() -> None:
    right = {patch: [1 if patch < 4 else 3] for patch in range(6)}
    swapped = {patch: [3 if patch < 4 else 1] for patch in range(6)}
    values = scored(made_reading(right, swapped, {}), [0.5, 0.5, 0.5])
    np.testing.assert_allclose(values["auroc_others"], [1, 0, 0.5])
    np.testing.assert_allclose(values["pointing"], [1, 0, np.mean([4 / 16, 2 / 16])])
    np.testing.assert_allclose(values["miou"], [1, 0, 0])
    swapped_cat = (10 * 4 * 0.5) / (4 * 12)  # 10 patches tie with the cat's, 2 lie above
    swapped_dog = (10 * 2 * 0.5) / (2 * 14)
    np.testing.assert_allclose(values["auroc_all"], [1, (swapped_cat + swapped_dog) / 2, 0.5])
    in_hindsight = scored(made_reading(right, swapped, {}))["miou"]
    np.testing.assert_allclose(in_hindsight, [1, (4 / 16 + 2 / 16) / 2, (4 / 16 + 2 / 16) / 2])


def test_pictures_count_alike_however_many_things_they_show() -> None:
    tally, seen = Tally(), made_reading({0: [1], 1: [1], 2: [1], 3: [1]})
    both = made_truth()
    score_patches(tally, seen, both, CONCEPTS)
    cat_alone = Truth(both.names[:1], both.covered[:1], both.true_keys, both.empty, both.ground)
    score_patches(tally, seen, cat_alone, CONCEPTS)
    values = tally.values(None)
    np.testing.assert_allclose(values["auroc_all"], [((1 + 0.5) / 2 + 1) / 2])
    np.testing.assert_allclose(values["auroc_others"], [(1 + 0.5) / 2])  # the cat alone has no others
    np.testing.assert_allclose(values["readable_top5"], [8 / 12])
    np.testing.assert_allclose(tally.values(np.array([0.5]))["miou"], [((1 + 0) / 2 + 1) / 2])


def test_a_thing_inside_another_has_no_other_things_to_be_told_from() -> None:
    covered = np.zeros((2, PATCHES), bool)
    covered[0, :4], covered[1, :2] = True, True
    truth = Truth(("cat", "dog"), covered, (frozenset(),) * PATCHES, ~covered[0], ())
    tally = Tally()
    score_patches(tally, made_reading({0: [3], 1: [3], 2: [1], 3: [1]}), truth, CONCEPTS)
    np.testing.assert_allclose(tally.values(None)["auroc_others"], [1])  # of the dog alone


def made_drift(own: np.ndarray, lens: np.ndarray) -> Drift:
    """Sums of distributions ``own`` [pos, vocab] and ``lens`` [layer, pos, vocab]."""
    kl = (own * np.log(own / lens)).sum((1, 2))
    entropy = -float((own * np.log(own)).sum())
    return Drift(len(own), kl, kl + 1, entropy, np.log(own.sum(0)), np.log(lens.sum(1)))


def test_drift_adds_up_over_pictures_and_has_its_constants() -> None:
    rng = np.random.default_rng(0)
    own, lens = rng.dirichlet(np.ones(7), 9), rng.dirichlet(np.ones(7), (2, 9))
    tally = Tally()
    for part in (slice(0, 4), slice(4, 9)):
        score_drift(tally, Readout(*([np.empty(0)] * 2), {"text": made_drift(own[part], lens[:, part])}))
    values, constants = tally.values(None), tally.constants()
    np.testing.assert_allclose(values["kl_text"], (own * np.log(own / lens)).sum(-1).mean(-1))
    p, q = own.mean(0), lens.mean(1)
    np.testing.assert_allclose(values["bias_text"], (p * np.log2(p / q)).sum(-1))
    np.testing.assert_allclose(constants["kl_text"], [(own * np.log(own / p)).sum() / 9] * 2)
    np.testing.assert_allclose(constants["bias_text"], [(p * np.log2(p * 7)).sum()] * 2)
    np.testing.assert_allclose(tally.others()["kl_text"], (own * np.log(own / lens)).sum((1, 2)) / 9 + 2 / 9)


def test_layers_are_chosen_by_net_words_and_by_maps_against_others() -> None:
    false_everywhere = {patch: [1] for patch in range(PATCHES)}
    words = {0: [1, 3], 1: [1, 3], 2: [1], 3: [1], 4: [3, 1], 5: [1, 3]}
    maps = {patch: [1 if patch < 4 else 3] for patch in range(6)} | {p: [1] for p in range(6, 14)}
    tally = Tally()
    score_patches(tally, made_reading(false_everywhere, words, maps), made_truth(), CONCEPTS)
    found = choose(tally, maps_by=("auroc_others",))
    assert (found.words_row, found.maps_row) == (1, 2)
    assert found.thresholds is not None
    assert len(found.thresholds) == 3
    assert choose(tally, maps_by=("auroc_all",)).maps_row == 1
    assert choose(Tally()).words_row is None


def test_the_mean_elsewhere_leaves_the_layer_out() -> None:
    np.testing.assert_allclose(mean_elsewhere({"a": np.array([1.0, 2, 6])})["a"], [4, 3.5, 1.5])


def test_a_headline_that_fails_a_null_says_which() -> None:
    value, low = OverSeeds(0.8, 0.7, 0.9), NullScore(OverSeeds(0.5, 0.4, 0.6), cleared=True)
    near = NullScore(OverSeeds(0.7, 0.6, 0.8), cleared=False)
    assert Score("x", 1, value, {"random": low, "shift": near}).cleared
    failed = Score("x", 1, value, {"random": low, "blank": near})
    assert not failed.cleared
    assert failed.failed == ("blank",)
    assert Score("x", 1, value, {"random": low}).own_layer is None
    assert Score("x", 1, value, {"shift": near}).own_layer is False


@pytest.fixture(scope="module")
def demo_scores():
    return score_model(load("demo"), {"logit": LogitLens()}, drawn_exam(2, 3))


def test_the_logit_lens_reads_patches_of_the_bundled_model_and_its_nulls_do_not(demo_scores) -> None:
    lens, *baselines = demo_scores.lenses  # the best first
    assert [own.lens for own in demo_scores.lenses] == ["logit", "attention", "contextual"]
    for baseline in baselines:
        assert baseline.headline("readable_top5") is None
        assert set(baseline.headline("auroc_all").nulls) == {"random", "shuffled", "blank", "shift"}
    assert lens.layers_alike
    for name in ("readable_top5", "auroc_all"):
        score = lens.headline(name)
        assert score is not None
        assert score.value.mean > 0.75
        assert set(score.nulls) == {"random", "shuffled", "blank", "shift"}
        for null in ("random", "shuffled", "blank"):
            assert score.nulls[null].estimate.mean < 0.7
    last = next(s for s in lens.course("kl_text") if s.layer == 8)
    assert abs(last.value.mean) < 1e-4
    known = {metric.name for metric in METRICS}
    assert {score.metric for score in lens.scores} == known
    assert len(lens.scores) == len(known) * 9
    assert lens.headline("kl_text").layer is None
    assert "shift" not in lens.headline("kl_text").nulls


def test_the_same_exam_gives_the_same_figures(demo_scores) -> None:
    again = score_model(load("demo"), {"logit": LogitLens()}, drawn_exam(2, 3))
    assert to_json(Board("", {}, (again,), {})) == to_json(Board("", {}, (demo_scores,), {}))


def test_json_holds_every_figure_with_its_seeds_interval_and_nulls(demo_scores) -> None:
    content = json.loads(to_json(Board("two seeds", {"seeds": 2}, (demo_scores,), {"python": "3"})))
    assert content["format_version"] == 1
    assert content["data"] == "two seeds"
    lenses = content["models"][0]["lenses"]
    assert [lens["lens"] for lens in lenses] == ["logit", "attention", "contextual"]
    assert [len(lens["thresholds"]) for lens in lenses] == [9, 8, 9]
    for score in [score for lens in lenses for score in [*lens["scores"], *lens["headlines"]]]:
        assert set(score) == {"metric", "layer", "value", "nulls", "cleared", "own_layer"}
        assert set(score["value"]) == {"mean", "low", "high", "seeds"}
        assert len(score["value"]["seeds"]) == 2
        for null in score["nulls"].values():
            assert set(null) == {"estimate", "cleared"}
            assert isinstance(null["cleared"], bool)


def test_lenses_of_every_sort_are_scored() -> None:
    model = load("demo-cross")
    cross = model.adapter
    lenses = {"cross": CrossLens(), "logit": LogitLens(), "embedding": EmbeddingLens.of(cross)}
    scores = score_model(model, lenses, replace(drawn_exam(2, 3), has_captions=False))
    assert [own.lens for own in scores.lenses] == ["cross", "logit"]
    assert set(scores.left_out) == {"embedding"}
    of_patches, of_text = scores.lenses
    assert of_patches.layers == tuple(block + 1 for block in cross.cross_blocks)
    assert of_patches.words_layer in of_patches.layers
    assert set(of_patches.thresholds) == set(of_patches.layers)
    assert of_patches.headline("auroc_all").value.mean > 0.8
    assert of_patches.headline("kl_text") is None
    assert {score.metric for score in of_text.scores} == {"kl_text", "kl_answer", "bias_text", "bias_answer"}
    demo = load("demo")
    (compared,) = score_model(
        demo, {"embedding": EmbeddingLens.of(demo.adapter)}, replace(drawn_exam(2, 3), has_captions=False)
    ).lenses
    assert compared.headline("readable_top5").value.mean > 0.7
    assert {score.metric for score in compared.scores} == {m.name for m in METRICS if m.read_at != "mean"}


class Layered(LogitLens):
    """Spoils what it is told comes from the second half."""

    def normed(self, resid_layer, layer, unembed):
        return super().normed(resid_layer if layer < 4 else -resid_layer, layer, unembed)


def test_a_lens_that_knows_its_layer_has_its_own_shift() -> None:
    model = load("demo")
    (lens,) = score_model(model, {"layered": Layered()}, replace(drawn_exam(2, 3), has_captions=False)).lenses
    assert not lens.layers_alike
    course = lens.course("readable_top5")
    assert course[1].nulls["shift"].estimate.mean < 0.1  # layer 1 read as layer 5
    assert course[2].value.mean > 0.8
    assert course[1].own_layer
    assert course[5].nulls["shift"].estimate.mean > 0.8  # layer 5 read as layer 1
    assert not course[5].own_layer
    assert "shift" in lens.headline("kl_text").nulls
    assert lens.headline("kl_text").nulls["shift"].estimate.mean != lens.headline("kl_text").value.mean


def test_the_blank_picture_is_read_once_a_size_and_its_words_are_what_is_scored(monkeypatch) -> None:
    shown: list[str] = []

    def watched(model, picture):
        shown.append(picture.name)
        return ask_known(model, picture)

    monkeypatch.setattr(examine_module, "ask_known", watched)
    model, exam = load("demo"), drawn_exam(2, 3)
    examinee = examine_module.Examinee.of(model, exam)
    candidates = {"logit": examine_module.TriedLens(LogitLens(), tuple(range(9)), None)}
    found = examine_module.examine(examinee, candidates, exam.seeds[0], lambda: None, nulls=True)["logit"]
    assert shown.count("grey") == 1
    assert len(shown) == 3 + 3 + 1
    blank = replace(exam.seeds[0].pictures[0](), picture=np.full((140, 140, 3), 128, np.uint8))
    shot = states_for(LogitLens(), ask_known(model, blank))
    seen, expected = read_out(shot, LogitLens(), examinee.concepts, ()), Tally()
    for make in exam.seeds[0].pictures:
        picture = make()
        truth = patch_truth(picture.things, picture.ground, shot.boxes)
        score_patches(expected, seen, truth, examinee.concepts)
    for name, values in expected.values(None).items():
        np.testing.assert_allclose(found.nulls["blank"].values(None)[name], values, rtol=1e-5, err_msg=name)


def test_sizes_that_give_no_interval_are_refused() -> None:
    for seeds, scenes in ((1, 5), (0, 5), (101, 5), (5, 1), (5, -3)):
        with pytest.raises(SelectionError):
            drawn_exam(seeds, scenes)
