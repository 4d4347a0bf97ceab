"""Pictures whose content is taken away keep their size, and show no more than they should."""

import numpy as np
import pytest

from patchlens.cause.grounding.replaced import CONTROL, KINDS, is_blank, replaced
from patchlens.scenes.scene import make_scene

SCENE = make_scene(9_000_001).picture
OTHER = make_scene(9_000_002, size=98).picture


def made(kind, picture=SCENE, seed=0):
    return replaced(picture, kind, np.random.default_rng(seed), OTHER)


@pytest.mark.parametrize("kind", [CONTROL, *KINDS])
@pytest.mark.parametrize("size", [(140, 140), (33, 70), (7, 9)])
def test_a_replaced_picture_keeps_its_size(kind, size):
    picture = SCENE[: size[0], : size[1]]
    got = made(kind, picture)
    assert got.shape == picture.shape and got.dtype == np.uint8
    assert not np.array_equal(got, picture)


def test_what_each_kind_shows():
    assert (made("grey") == 128).all() and (made("black") == 0).all()
    assert 60 < made("noise").std() < 90 and abs(made("noise").mean() - 127.5) < 3
    faint = made(CONTROL).astype(int) - SCENE
    assert 1 < faint.std() < 2.2 and abs(faint).max() < 15
    assert not np.array_equal(made("noise"), made("noise", seed=1))


def test_a_scrambled_picture_has_the_same_tiles_elsewhere():
    def tiles(picture):
        cut = picture.reshape(10, 14, 10, 14, 3).swapaxes(1, 2).reshape(100, -1)
        return {tile.tobytes() for tile in cut}

    got = made("scrambled")
    assert tiles(got) == tiles(SCENE)
    assert np.array_equal(np.sort(got.reshape(-1, 3), 0), np.sort(SCENE.reshape(-1, 3), 0))


def test_blank_pictures_are_known():
    assert is_blank(np.full((20, 30, 3), 77, np.uint8))
    barely = np.full((20, 30, 3), 77, np.uint8)
    barely[::2] += 4
    assert is_blank(barely)
    barely[::2] += 2
    assert not is_blank(barely) and not is_blank(SCENE)
    one_colour = np.zeros((20, 30, 3), np.uint8)
    one_colour[:10, :, 2] = 200
    assert not is_blank(one_colour)
