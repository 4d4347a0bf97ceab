"""Pictures: opened safely, upright and in RGB, as people see them."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from patchlens.errors import ImageError

MAX_PIXELS = 80_000_000
MAX_ASPECT = 200
PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".avif"}
)
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF")
BROKEN = (
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
ORIENTATION = 0x0112


@dataclass(frozen=True)
class OpenedPicture:
    """A picture upright and in RGB, as the model gets it, and as bytes for a page.

    ``data`` decodes to ``image`` exactly, except that a photograph stored on its side is encoded again.
    It carries no metadata of the file.
    """

    name: str
    image: Image.Image
    data: bytes
    mime: str
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.image.width

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.image.height


PictureLike = str | Path | bytes | Image.Image | NDArray[Any] | OpenedPicture


def open_picture(source: PictureLike, name: str | None = None) -> OpenedPicture:
    """Open a picture, refuse what is none, and bring it to upright RGB.

    Transparent pictures are laid on white, 16-bit grey is scaled to 8 bits, of several frames the first is
    taken; ``notes`` say so.

    Raises:
        ImageError: missing, damaged, too large (`MAX_PIXELS`, before decoding), or no picture.
    """
    if isinstance(source, OpenedPicture):
        return source
    if isinstance(source, np.ndarray) or hasattr(source, "detach"):
        source, name = _from_array(source), name or "array"
    if isinstance(source, Image.Image):
        name = name or Path(str(getattr(source, "filename", ""))).name or "image"
        _check_size(source.size, name)
        image, notes = _upright(source, name)
        return OpenedPicture(name, image, _png(image), "image/png", notes)
    if not isinstance(source, (str, Path, bytes)):  # pyright: ignore[reportUnnecessaryIsInstance]
        came = type(source).__name__
        raise ImageError(f"expected a picture (path, bytes, PIL picture, array or tensor), got {came}")
    data = source if isinstance(source, bytes) else picture_bytes(source)
    name = name or ("image" if isinstance(source, bytes) else Path(source).name)
    return _decoded(data, name.encode("utf-8", "replace").decode())


def picture_bytes(source: str | Path) -> bytes:
    """The bytes of a picture's file, not looked into.

    Raises:
        ImageError: there is none, or it cannot be read.
    """
    if str(source).startswith(("http://", "https://")):
        raise ImageError(f"{source} is an address: download the picture first, patchlens reads files only")
    path = Path(source).expanduser()
    if not path.exists():
        raise ImageError(f"there is no file {path}")
    if path.is_dir():
        raise ImageError(f"{path} is a folder: name the picture in it")
    if not path.is_file():
        raise ImageError(f"{path} is no ordinary file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror or error}") from error


def _decoded(data: bytes, name: str) -> OpenedPicture:
    Image.init()
    formats = [kind for kind in FORMATS if kind in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged metadata, and about size, which is checked below
            with Image.open(BytesIO(data), formats=formats) as image:
                _check_size(image.size, name)
                kind, mode = image.format, image.mode
                frames = 1 if kind == "MPO" else getattr(image, "n_frames", 1)
                turned = image.getexif().get(ORIENTATION, 1) != 1
                upright, notes = _upright(image, name)
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture patchlens can read ({', '.join(formats)})") from error
    except BROKEN as error:
        raise ImageError(f"{name} is damaged or cut short: {error}") from error
    if frames > 1:
        notes += (f"only the first of its {frames} frames is read",)
    if kind == "JPEG" and mode in ("RGB", "L") and not turned:
        return OpenedPicture(name, upright, without_metadata(data), "image/jpeg", notes)
    if kind in ("JPEG", "MPO") and mode in ("RGB", "L"):
        return OpenedPicture(name, upright, _jpeg(upright), "image/jpeg", notes)
    return OpenedPicture(name, upright, _png(upright), "image/png", notes)


def without_metadata(jpeg: bytes) -> bytes:
    """A JPEG file without comments and application segments, which may tell where and by whom it was taken.

    Kept are those that decoding needs (JFIF and Adobe's colour transform).
    """
    kept, at = [jpeg[:2]], 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker == 0xDA:
            break
        if not (0xE1 <= marker <= 0xED or marker in (0xEF, 0xFE)):
            kept.append(jpeg[at:end])
        at = end
    return b"".join([*kept, jpeg[at:]])


def _upright(image: Image.Image, name: str) -> tuple[Image.Image, tuple[str, ...]]:
    """Apply the stored orientation and convert to RGB, with a note for each thing that changes colours."""
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or (image.mode == "I" and np.asarray(image).max() > 0xFFFF):
        raise ImageError(f"{name} has {image.mode} pixels without a stated range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.rint(grey / 257).astype(np.uint8)).convert("RGB"), (
            "16-bit grey was scaled to 8 bits",
        )
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        if np.asarray(layer.getchannel("A")).min() == 0xFF:
            return layer.convert("RGB"), ()
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB"), (
            "its transparent parts were laid on white",
        )
    if image.mode == "CMYK":
        return image.convert("RGB"), ("CMYK was converted to RGB without a colour profile",)
    return image.convert("RGB"), ()


def _from_array(source: Any) -> Image.Image:
    """A picture of an array, or of a tensor (whose channels may come first); floats are shares of white."""
    is_tensor = hasattr(source, "detach")
    array: NDArray[Any] = np.asarray(source.detach().cpu().numpy() if is_tensor else source)
    came = f"{array.dtype} of shape {list(array.shape)}"
    if is_tensor and array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (3, 4):
        array = np.moveaxis(array, 0, 2)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if fits and array.size and array.dtype.kind == "f" and array.min() >= 0 and array.max() <= 1:
        array = np.rint(255 * array).astype(np.uint8)
    if not fits or 0 in array.shape or array.dtype != np.uint8:
        raise ImageError(
            "an array picture must have pixels [height, width], [height, width, 3] or [.., 4] (a tensor also "
            f"[3, height, width]) of uint8, or of floats from 0 to 1; got {came}"
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise _too_large(name, f" with its {width} x {height} pixels")
    if max(size) > MAX_ASPECT * min(size):
        raise ImageError(
            f"{name} is {width} x {height} pixels, over {MAX_ASPECT} times as long as wide: crop it first"
        )


def _too_large(name: str, size: str = "") -> ImageError:
    return ImageError(
        f"{name} is too large{size}: at most {MAX_PIXELS // 1_000_000} million are read; scale it down first"
    )


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", exif=b"")
    return buffer.getvalue()


def _jpeg(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0, exif=b"")
    return buffer.getvalue()
