"""The items of a study: a prompt with its pictures, and what is known of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from patchlens.pictures.open import OpenedPicture, open_picture, picture_bytes
from patchlens.scenes.scene import Kind, make_scene


@dataclass(frozen=True)
class PictureFile:
    """A picture on disk; ``told`` is how the spec names it."""

    path: Path
    told: str

    def ship(self) -> Shipped:
        """Read its bytes.

        Raises:
            ImageError: it cannot be read.
        """
        data = picture_bytes(self.path)
        return Shipped(self.path.name, hashlib.sha256(data).hexdigest(), data)

    def key(self) -> str:
        """How a spec's fingerprint names it."""
        return self.told


@dataclass(frozen=True)
class DrawnPicture:
    """The drawn scene of a seed and kind."""

    seed: int
    kind: Kind | None

    def ship(self) -> Shipped:
        """Draw it where it is needed."""
        return Shipped(f"scene {self.seed}", self.key(), self)

    def key(self) -> str:
        """How a spec's fingerprint names it."""
        return f"scene {self.kind or 'any'} {self.seed}"


PictureSource = PictureFile | DrawnPicture


@dataclass(frozen=True)
class Shipped:
    """A picture on its way to a worker: the bytes of its file, or what draws it; ``digest`` names it."""

    name: str
    digest: str
    content: bytes | DrawnPicture = field(repr=False)

    def open(self) -> OpenedPicture:
        """Decode or draw it.

        Raises:
            ImageError: it is damaged, too large, or no picture.
        """
        if isinstance(self.content, bytes):
            return open_picture(self.content, self.name)
        return open_picture(make_scene(self.content.seed, self.content.kind).image, self.name)


@dataclass(frozen=True)
class StudyItem:
    """One prompt with its pictures.

    ``name`` is its own among all items. ``expected`` are words of which the answer should hold one,
    ``concepts`` words that are followed in every form and language, ``group`` what it is compared by.
    """

    name: str
    prompt: str
    pictures: tuple[PictureSource, ...] = ()
    expected: tuple[str, ...] = ()
    concepts: tuple[str, ...] = ()
    group: str | None = None

    def ship(self) -> tuple[Shipped, ...]:
        """Its pictures as a worker takes them.

        Raises:
            ImageError: one cannot be read.
        """
        return tuple(picture.ship() for picture in self.pictures)
