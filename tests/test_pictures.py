import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import patchlens.pictures.open as pictures_module
from patchlens.errors import ImageError, PromptError
from patchlens.models.inputs import prepare
from patchlens.pictures.open import OpenedPicture, open_picture, without_metadata
from tiny import tiny_llama, tiny_llava, tiny_mllama, tiny_qwen_vl

NOISE = Image.effect_noise((64, 48), 90).convert("RGB")
SIDE_BY_SIDE = Image.new("RGB", (40, 20), "red")
SIDE_BY_SIDE.paste("blue", (20, 0, 40, 20))


def saved(folder: Path, name: str, image: Image.Image, **options) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


def shown(picture: OpenedPicture) -> Image.Image:
    return Image.open(BytesIO(picture.data)).convert("RGB")


def with_size(width: int, height: int) -> bytes:
    """A small PNG whose header claims to be large."""
    buffer = BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def test_a_plain_picture_is_taken_as_it_is(tmp_path):
    picture = open_picture(saved(tmp_path, "cat.png", NOISE))
    assert (picture.name, picture.mime, picture.notes) == ("cat.png", "image/png", ())
    assert (picture.width, picture.height) == NOISE.size
    assert picture.image.mode == "RGB"
    np.testing.assert_array_equal(picture.image, NOISE)
    np.testing.assert_array_equal(shown(picture), NOISE)
    assert open_picture(picture) is picture


def test_a_jpeg_keeps_its_bytes_but_not_what_they_tell_of_their_owner(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "SECRET MAKER"
    path = saved(tmp_path, "a.jpg", NOISE, exif=exif, comment=b"SECRET PLACE", icc_profile=b"SECRET PROFILE")
    assert b"SECRET" in path.read_bytes()
    picture = open_picture(path)
    assert b"SECRET" not in picture.data
    assert picture.mime == "image/jpeg"
    np.testing.assert_array_equal(shown(picture), picture.image)
    assert abs(len(picture.data) - len(path.read_bytes())) < 300


def test_a_png_does_not_keep_its_metadata(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "SECRET MAKER"
    picture = open_picture(saved(tmp_path, "a.png", NOISE, exif=exif))
    assert b"SECRET" not in picture.data


@pytest.mark.parametrize(
    "junk", [b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1\xff\xff", b"\xff\xd8\xff\xe1\x00\x00"]
)
def test_segments_that_lie_do_not_hang(junk):
    assert without_metadata(junk).startswith(b"\xff\xd8")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = open_picture(saved(tmp_path, "a.jpg", SIDE_BY_SIDE, exif=exif, quality=95))
    sideways = orientation >= 5
    assert picture.image.size == ((20, 40) if sideways else (40, 20))
    seen = shown(picture)
    assert seen.size == picture.image.size
    assert not Image.open(BytesIO(picture.data)).getexif().get(0x0112)
    np.testing.assert_allclose(np.asarray(seen, int), np.asarray(picture.image, int), atol=12)
    first = np.asarray(picture.image)[2, 2]
    assert (first.argmax() == 0) == (orientation in (1, 4, 5, 6))


def test_transparency_is_laid_on_white(tmp_path):
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 4, 8))
    picture = open_picture(saved(tmp_path, "a.png", clear))
    assert picture.image.getpixel((0, 0)) == (0, 0, 255)
    assert picture.image.getpixel((7, 7)) == (255, 255, 255)
    assert "white" in picture.notes[0]
    opaque = open_picture(saved(tmp_path, "b.png", NOISE.convert("RGBA")))
    assert opaque.notes == ()
    np.testing.assert_array_equal(opaque.image, NOISE)


def test_a_palette_keeps_its_colours_and_its_transparency(tmp_path):
    plain = open_picture(saved(tmp_path, "a.png", SIDE_BY_SIDE.quantize(4)))
    np.testing.assert_array_equal(plain.image, SIDE_BY_SIDE)
    assert plain.notes == ()
    holes = SIDE_BY_SIDE.quantize(4)
    index = holes.getpixel((39, 19))
    clear = open_picture(saved(tmp_path, "b.png", holes, transparency=index))
    assert clear.image.getpixel((39, 19)) == (255, 255, 255)
    assert clear.image.getpixel((0, 0)) == (255, 0, 0)
    assert "white" in clear.notes[0]
    alphas = open_picture(saved(tmp_path, "c.png", holes, transparency=bytes([128] * 4)))
    assert "white" in alphas.notes[0]


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    picture = open_picture(saved(tmp_path, "a.png", Image.fromarray(ramp)))
    grey = np.asarray(picture.image)[..., 0]
    assert (grey[0, 0], grey[-1, -1]) == (0, 255)
    np.testing.assert_allclose(grey, ramp / 257, atol=0.51)
    assert "16-bit" in picture.notes[0]


def test_cmyk_is_converted_and_noted(tmp_path):
    picture = open_picture(saved(tmp_path, "a.jpg", SIDE_BY_SIDE.convert("CMYK"), quality=100))
    np.testing.assert_allclose(np.asarray(picture.image, int), np.asarray(SIDE_BY_SIDE, int), atol=40)
    assert picture.mime == "image/png"
    assert "CMYK" in picture.notes[0]


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_and_black_and_white_are_read(tmp_path, mode):
    picture = open_picture(saved(tmp_path, "a.png", NOISE.convert("L").convert(mode)))
    assert picture.image.mode == "RGB"
    assert picture.notes == ()


def test_a_picture_of_one_pixel_can_be_read_by_every_family(tmp_path):
    picture = open_picture(saved(tmp_path, "a.png", Image.new("RGB", (1, 1), "red")))
    for build in (tiny_llava, tiny_mllama, tiny_qwen_vl):
        prepared = prepare(build(), "what is it?", [picture])
        assert (prepared.grids[0].width, prepared.grids[0].height) == (1, 1)


def test_of_an_animation_the_first_frame_is_read(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    for name in ("a.gif", "a.webp"):
        picture = open_picture(
            saved(tmp_path, name, frames[0], save_all=True, append_images=frames[1:], lossless=True)
        )
        assert picture.image.getpixel((4, 4)) == (255, 0, 0) or name == "a.webp"
        assert "first of its 3 frames" in picture.notes[-1]


def test_a_missing_file_a_folder_and_an_address_are_refused(tmp_path):
    with pytest.raises(ImageError, match="no file"):
        open_picture(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder"):
        open_picture(tmp_path)
    with pytest.raises(ImageError, match="download"):
        open_picture("https://example.org/cat.png")


def test_what_is_no_picture_is_refused(tmp_path):
    for content in (
        b"",
        b"not a picture",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ):
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        with pytest.raises(ImageError, match="not a picture"):
            open_picture(path)


def test_formats_that_hardly_anyone_checks_are_refused(tmp_path):
    for name in ("a.tga", "a.pcx", "a.eps"):
        with pytest.raises(ImageError, match="not a picture"):
            open_picture(saved(tmp_path, name, NOISE))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_a_truncated_picture_is_refused_wherever_it_ends(kind):
    buffer = BytesIO()
    NOISE.save(buffer, kind)
    data = buffer.getvalue()
    for share in (0.2, 0.5, 0.9):
        with pytest.raises(ImageError, match=r"damaged|not a picture"):
            open_picture(data[: int(len(data) * share)])


def test_damaged_bytes_give_a_picture_or_a_typed_error():
    generator = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"):
        buffer = BytesIO()
        NOISE.save(buffer, kind)
        for _ in range(40):
            data = bytearray(buffer.getvalue())
            for at in generator.integers(0, len(data), 8):
                data[at] = generator.integers(0, 256)
            try:
                assert open_picture(bytes(data)).image.mode == "RGB"
            except ImageError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("size", [(20000, 20000), (9000, 9000), (60000, 2000)])
def test_a_picture_too_large_is_refused_before_it_is_decoded(size, monkeypatch):
    def fail(*_):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(pictures_module, "_upright", fail)
    with pytest.raises(ImageError, match="too large"):
        open_picture(with_size(*size))


def test_a_picture_too_narrow_is_refused():
    with pytest.raises(ImageError, match="times as long as wide"):
        open_picture(Image.new("RGB", (1, 300)))


def test_a_pil_picture_is_upright_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = BytesIO()
    SIDE_BY_SIDE.save(buffer, "PNG", exif=exif)
    picture = open_picture(Image.open(buffer))
    assert picture.image.size == (20, 40)
    assert picture.name == "image"
    assert open_picture(SIDE_BY_SIDE, name="mine").name == "mine"


def test_arrays_are_read_if_they_say_what_they_are():
    array = np.asarray(NOISE)
    np.testing.assert_array_equal(open_picture(array).image, NOISE)
    assert open_picture(array[..., 0]).image.mode == "RGB"
    np.testing.assert_array_equal(open_picture(array / 255).image, NOISE)
    tensor = torch.from_numpy(array.copy())
    for own in (tensor, tensor.permute(2, 0, 1), tensor.permute(2, 0, 1) / 255, tensor.requires_grad_(False)):
        np.testing.assert_array_equal(open_picture(own).image, NOISE)
    grey = open_picture(tensor.permute(2, 0, 1)[:1])
    np.testing.assert_array_equal(np.asarray(grey.image)[..., 1], array[..., 0])
    normed = (tensor.permute(2, 0, 1) / 255 - 0.5) / 0.5
    for wrong in (
        array / 1.0,
        array[..., :2],
        array[None],
        array.astype(int),
        array[:0],
        normed,
        tensor[None],
    ):
        with pytest.raises(ImageError, match="array picture must"):
            open_picture(wrong)


@pytest.mark.parametrize("wrong", [None, 3, ["a.png"], {"image": 1}, object()])
def test_what_is_no_kind_of_picture_is_named(wrong):
    with pytest.raises(ImageError, match=f"expected a picture .* got {type(wrong).__name__}"):
        open_picture(wrong)


def test_pixels_without_a_range_are_refused(tmp_path):
    floats = Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8))
    with pytest.raises(ImageError, match="stated range"):
        open_picture(saved(tmp_path, "a.tiff", floats))


def test_prepare_opens_pictures_and_appends_an_answer(tmp_path):
    adapter = tiny_llava()
    path = saved(tmp_path, "a.png", NOISE)
    prepared = prepare(adapter, "what is it?", [path, NOISE], answer_ids=[50, 51])
    assert len(prepared.grids) == 2
    assert len(prepared) == prepared.n_prompt + 2
    assert prepared.prompt == "what is it?"


def test_prepare_refuses_what_does_not_fit():
    with pytest.raises(PromptError, match="text-only"):
        prepare(tiny_llama(), "what is it?", [NOISE])
    with pytest.raises(PromptError, match="empty"):
        prepare(tiny_llama(), "")
    with pytest.raises(PromptError, match="1 image marker"):
        prepare(tiny_llava(), "<image> and?", [NOISE, NOISE])
    with pytest.raises(ImageError):
        prepare(tiny_llava(), "what?", ["/no/such.png"])


def test_text_only_prompts_need_no_picture():
    for build in (tiny_llava, tiny_mllama, tiny_qwen_vl, tiny_llama):
        prepared = prepare(build(), "the cat")
        assert prepared.grids == ()
        assert prepared.vision_places is None
