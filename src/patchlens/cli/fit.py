"""Fitting lenses: ``patchlens fit tuned`` and its like. Each lens that can be fitted is one command here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from patchlens.cli import options
from patchlens.cli.app import Flat, app, progress_display, say, say_written
from patchlens.fit.settings import JacobianSettings, LatentSettings, TunedSettings

if TYPE_CHECKING:
    from patchlens.data.item import Item
    from patchlens.fit.report import FitReport

fits = App(name="fit", help="Fit a lens to a model, on your pictures or texts.")
app.command(fits)

Data = Annotated[
    str,
    Parameter(
        alias="-d",
        help="A folder of pictures, a .jsonl file (image, prompt), a .txt file of texts, or scenes:N.",
    ),
]
Prompt = Annotated[str | None, options.Prompt, Parameter(help="What to ask of each picture of a folder.")]
LensFile = Annotated[
    Path, options.writes(".safetensors", alias="-o", help="NAME.safetensors; reports come beside it.")
]


@fits.command
def tuned(
    *,
    data: Data,
    out: LensFile,
    prompt: Prompt = None,
    model: Flat[options.ModelOptions] = options.ModelOptions(),
    settings: Flat[TunedSettings] = TunedSettings(),
    disk_gb: float = 20.0,
) -> None:
    """Fit a tuned lens. Stopped and run again with the same arguments, it goes on where it was.

    Args:
        disk_gb: Limit of the disk for states.
    """
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        items = _items(data, prompt)
        from patchlens.fit.tuned import fit_tuned

        loaded = model.load()
        tell("loading the model", 1, 1)
        result = fit_tuned(loaded, items, settings, out=out, about=data, disk_gb=disk_gb, progress=tell)
    _finish(out, result.report)


@fits.command
def jacobian(
    *,
    data: Data,
    out: LensFile,
    prompt: Prompt = None,
    model: Flat[options.ModelOptions] = options.ModelOptions(),
    settings: Flat[JacobianSettings] = JacobianSettings(),
) -> None:
    """Fit a Jacobian lens, on about 100 items."""
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        items = _items(data, prompt)
        from patchlens.fit.jacobian import fit_jacobian, spreads

        loaded = model.load()
        tell("loading the model", 1, 1)
        lens = fit_jacobian(loaded, items, settings, out=out, about=data, progress=tell)
        found = spreads(loaded, lens, settings.seed)
    for version, spread in found.items():
        ranks = ", ".join(f"{rank:.1f}" for rank in spread.effective_rank.tolist())
        print(f"version {version}: directions that the rows of words span, by layer: {ranks}")
    if lens.note:
        say(f"note: {lens.note}")
    say_written(out)


@fits.command
def latent(
    *,
    data: Annotated[
        str, Parameter(alias="-d", help="A .txt or .jsonl file of texts, or scenes:N for captions.")
    ],
    out: LensFile,
    model: Flat[options.ModelOptions] = options.ModelOptions(),
    settings: Flat[LatentSettings] = LatentSettings(),
) -> None:
    """Make a latent lens: states of words in texts, to compare others with."""
    with progress_display() as tell:
        tell("loading the model", 0, 1)
        from patchlens.fit.latent import fit_latent, read_texts

        texts = read_texts(data)
        loaded = model.load()
        tell("loading the model", 1, 1)
        fit_latent(loaded, texts, settings, out=out, progress=tell)
    say_written(out)


def _items(data: str, prompt: str | None) -> tuple[Item, ...]:
    """Read what to fit on, and check what can be before a model loads."""
    from patchlens.data.read import read_items

    items = read_items(data, prompt)
    options.check_pictures(items)
    return items


def _finish(out: Path, report: FitReport) -> None:
    for kind, own in report.kinds.items():
        for half, lenses in own.headline.items():
            figures = ", ".join(f"{lens} {estimate}" for lens, estimate in lenses.items())
            print(f"{kind}, {half} of the layers: held-out KL {figures} nats")
    if report.control is not None:
        print(report.control.sentence)
    for note in report.notes:
        say(f"note: {note}")
    say_written(*(out.with_suffix(suffix) for suffix in (".safetensors", ".report.json", ".report.md")))
