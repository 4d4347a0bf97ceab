"""One thing to ask a model, and what is known of it; and how its pictures travel to a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from patchlens.errors import naming
from patchlens.pictures.open import OpenedPicture, PictureLike, open_picture, picture_bytes
from patchlens.scenes.scene import Kind, make_scene
from patchlens.scenes.truth import Labelled


@dataclass(frozen=True)
class PictureFile:
    """A picture on disk; ``key`` is how its source names it, which stays when the source is moved."""

    path: Path
    key: str

    @property
    def label(self) -> str:
        """What an item without a name is called by."""
        return self.path.stem

    def open(self) -> OpenedPicture:
        """Decode it.

        Raises:
            ImageError: it is missing, damaged, too large, or no picture.
        """
        return open_picture(self.path)

    def ship(self) -> ShippedPicture:
        """Read its bytes.

        Raises:
            ImageError: it cannot be read.
        """
        data = picture_bytes(self.path)
        return ShippedPicture(self.path.name, hashlib.sha256(data).hexdigest(), data)


@dataclass(frozen=True)
class DrawnPicture:
    """The drawn scene of a seed, and of a kind if one is given; drawn where and when it is wanted."""

    seed: int
    kind: Kind | None = None

    @property
    def key(self) -> str:
        """How the fingerprint of a study names it."""
        return f"scene {self.kind or 'any'} {self.seed}"

    @property
    def label(self) -> str:
        """What an item without a name is called by."""
        return self.key

    def open(self) -> OpenedPicture:
        """Draw it."""
        return open_picture(make_scene(self.seed, self.kind).image, f"scene {self.seed}")

    def ship(self) -> ShippedPicture:
        """Itself, to be drawn there."""
        return ShippedPicture(f"scene {self.seed}", self.key, self)


@dataclass(frozen=True)
class ShippedPicture:
    """A picture on its way to a worker: the bytes of its file, or what draws it; ``digest`` names it."""

    name: str
    digest: str
    content: bytes | DrawnPicture = field(repr=False)

    @property
    def key(self) -> str:
        """Its digest."""
        return self.digest

    @property
    def label(self) -> str:
        """What an item without a name is called by."""
        return self.name

    def open(self) -> OpenedPicture:
        """Decode or draw it.

        Raises:
            ImageError: it is damaged, too large, or no picture.
        """
        if isinstance(self.content, bytes):
            return open_picture(self.content, self.name)
        return self.content.open()

    def ship(self) -> ShippedPicture:
        """Itself."""
        return self


PictureSource = PictureFile | DrawnPicture | ShippedPicture


@dataclass(frozen=True)
class Item:
    """One prompt with its pictures, none for text only, and what is known of it.

    Args:
        name: its own among all items; errors and tables call it so.
        prompt: what is asked.
        pictures: whatever `patchlens.Model.trace` takes, or what stands for it.
        expected: words of which the answer should hold one.
        concepts: words that are followed in every form and language.
        group: what it is compared by.
        truth: draws or opens what is true of its picture, pixel by pixel; None where that is not known.
    """

    name: str
    prompt: str
    pictures: tuple[PictureLike | PictureSource, ...] = ()
    expected: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()
    group: str | None = None
    truth: Callable[[], Labelled] | None = field(default=None, repr=False, compare=False)

    @property
    def sources(self) -> tuple[PictureSource, ...]:
        """What its pictures come from; those in memory as the bytes of a file."""
        return tuple(_source(picture) for picture in self.pictures)

    def known(self) -> Labelled | None:
        """What is true of its picture, drawn or opened for this; None where nothing is known.

        Raises:
            DataError, ImageError: it cannot be read.
        """
        return None if self.truth is None else self.truth()

    def open(self) -> tuple[OpenedPicture, ...]:
        """Open or draw the pictures.

        Raises:
            ImageError: one cannot be read; says which.
        """
        with naming(self.name):
            return tuple(source.open() for source in self.sources)

    def ship(self) -> tuple[ShippedPicture, ...]:
        """The pictures as a worker takes them.

        Raises:
            ImageError: one cannot be read.
        """
        return tuple(source.ship() for source in self.sources)


def _source(picture: PictureLike | PictureSource) -> PictureSource:
    if isinstance(picture, (str, Path)):
        return PictureFile(Path(picture).expanduser(), str(picture))
    if isinstance(picture, PictureSource):
        return picture
    opened = open_picture(picture)
    return ShippedPicture(opened.name, hashlib.sha256(opened.data).hexdigest(), opened.data)


def pixel_digest(picture: OpenedPicture) -> str:
    """Name of a picture's pixels: the same picture has it under any file name."""
    size = f"{picture.width}x{picture.height}:".encode()
    return hashlib.sha256(size + picture.image.tobytes()).hexdigest()
