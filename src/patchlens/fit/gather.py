"""From items to stored states, split by picture: the part that every fit on a model's states begins with."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory

from patchlens.axes import FitKind
from patchlens.data.item import Item
from patchlens.errors import FitError, OutputError
from patchlens.fit.batches import Batches
from patchlens.fit.split import Side, groups_of, split
from patchlens.fit.states import Keep, StateStore, collect
from patchlens.fit.survey import Surveyed, data_digest, survey
from patchlens.fit.work import Fingerprint, finish, take_up, work_folder
from patchlens.models.adapter import Adapter
from patchlens.models.digest import model_digest
from patchlens.progress import Tell
from patchlens.run import Model

GIGABYTE = 1e9


@dataclass(frozen=True)
class Gathered:
    """Stored states of all items; ``groups`` and ``sides`` are by item, groups being numbered."""

    store: StateStore
    groups: tuple[int, ...]
    sides: tuple[Side, ...]

    def indices(self, side: Side) -> tuple[int, ...]:
        """Items of one side."""
        return tuple(index for index, own in enumerate(self.sides) if own == side)

    def batches(self, side: Side) -> Batches:
        """States of one side."""
        return Batches(self.store, self.indices(side))

    def count(self, side: Side) -> tuple[int, int]:
        """Items of a side, and groups among them."""
        own = self.indices(side)
        return len(own), len({self.groups[index] for index in own})


@contextmanager
def working(out: Path | None) -> Generator[Path]:
    """A folder for the states: beside ``out`` and left there if the fit is stopped, else a passing one."""
    if out is None:
        with TemporaryDirectory(prefix="patchlens-fit-") as folder:
            yield Path(folder)
        return
    folder = work_folder(out)
    yield folder
    finish(folder)


def gather(
    model: Model,
    items: Sequence[Item],
    folder: Path,
    keep: Keep,
    arguments: Fingerprint,
    *,
    needed: Sequence[FitKind],
    held_out: float,
    validation: bool,
    max_new_tokens: int,
    disk_gb: float,
    progress: Tell,
) -> Gathered:
    """Look the items over, split them, and run the model on those not yet stored in ``folder``.

    Args:
        model: the model.
        items: what to run it on.
        folder: where states are; what a stopped fit left there is gone on with.
        keep: which positions to store.
        arguments: whatever changes the result, to be noticed if it has changed since the fit was stopped.
        needed: kinds of position that were asked for by name.
        held_out: share of the pictures to hold out.
        validation: whether to set some apart for choices.
        max_new_tokens: length limit of the answers.
        disk_gb: how much disk the states may take at most.
        progress: called all along.

    Raises:
        FitError: there are no patches, and they are needed.
        DataError: too few pictures, or another fit's work is in the folder.
        ImageError, PromptError: an item is wrong; nothing has been run then.
        OutputError: the states would take more disk than allowed or free, or cannot be written.
    """
    adapter = model.adapter
    seen = survey(model, items, lambda done, total: progress("looking the data over", done, total))
    if "patch" in needed and not any(one.patches for one in seen):
        raise FitError(f"there are no patch positions in the sequences of {adapter.name}: leave them out")
    names = groups_of([one.pictures for one in seen])
    sides = split(names, held_out, keep.seed, validation=validation)
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    _check_room(adapter, seen, folder, keep, max_new_tokens, disk_gb)
    marks = {"model": adapter.name, "weights": model_digest(adapter), "data": data_digest(items, seen)}
    take_up(folder, {**marks, **arguments})
    store = StateStore(folder / "states")
    collect(
        model,
        items,
        store,
        keep,
        max_new_tokens=max_new_tokens,
        progress=lambda done, total: progress("running the model", done, total),
    )
    return Gathered(store, tuple(numbers[name] for name in names), tuple(sides))


def _check_room(
    adapter: Adapter, seen: Sequence[Surveyed], folder: Path, keep: Keep, max_new_tokens: int, disk_gb: float
) -> None:
    """Refuse before any work what the disk cannot hold."""
    surplus = [0 if keep.patches is None else max(0, one.patches - keep.patches) for one in seen]
    positions = sum(one.positions + max_new_tokens for one in seen) - sum(surplus)
    per_position = (adapter.n_layers + 1) * adapter.d_model * adapter.unembed.weight.element_size()
    needed, free = positions * per_position / GIGABYTE, disk_usage(folder.parent).free / GIGABYTE
    for room, whose in ((disk_gb, "the limit (--disk-gb)"), (free, f"the disk of {folder.parent}")):
        if needed > room:
            raise OutputError(
                f"the states of {len(seen)} items can take {needed:.3g} GB, and {whose} has room for "
                f"{room:.3g}: keep fewer patches of each (--patches 64) or take fewer items"
            )
