"""Fitting lenses: ``patchlens fit tuned`` and its like. Each lens that can be fitted is one command here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from patchlens.cli.app import (
    DeviceOption,
    DtypeOption,
    ModelOption,
    RevisionOption,
    app,
    check_writable,
    progress_display,
)

fits = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(fits, name="fit", help="Fit a lens to a model, on your pictures or texts.")

DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        help="A folder of pictures, a .jsonl file (image, prompt), a .txt file of texts, or scenes:N.",
    ),
]
PromptOption = Annotated[
    str | None, typer.Option("--prompt", "-p", help="What to ask of each picture of a folder.")
]
OutOption = Annotated[
    Path, typer.Option("--out", "-o", help="NAME.safetensors; reports come beside it. Required.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of the split and of everything drawn.")]
TokensOption = Annotated[int, typer.Option("--max-new-tokens", min=0, help="Longest answer of the model.")]


@fits.command()
def tuned(
    data: DataOption = ...,  # pyright: ignore[reportArgumentType]
    out: OutOption = ...,  # pyright: ignore[reportArgumentType]
    model: ModelOption = "demo",
    prompt: PromptOption = None,
    positions: Annotated[
        str | None,
        typer.Option("--positions", help="Some of text,patch,answer. Those that occur if left out."),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="closed, or gradient, which goes on from there.")
    ] = "closed",
    strength: Annotated[
        str, typer.Option("--strength", help="Of the ridge; of several (0.001,0.01,0.1) the best is taken.")
    ] = "0.01",
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, help="Passes of --method gradient at most; 1 gives most of it.")
    ] = 20,
    held_out: Annotated[
        float, typer.Option("--held-out", help="Share of the pictures that the report is made on.")
    ] = 0.2,
    seed: SeedOption = 0,
    max_new_tokens: TokensOption = 20,
    patches: Annotated[
        int | None, typer.Option("--patches", help="Patches kept of each item, drawn. All if left out.")
    ] = None,
    disk_gb: Annotated[float, typer.Option("--disk-gb", help="Limit of the disk for states.")] = 20.0,
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
    revision: RevisionOption = None,
) -> None:
    """Fit a tuned lens. Stopped and run again with the same arguments, it goes on where it was."""
    check_writable(out, ".safetensors")
    with progress_display(long=True) as tell:
        tell("loading the model", 0, 1)
        from patchlens.fit import TunedSettings, fit_tuned, read_items
        from patchlens.fit.settings import parse_kinds, parse_method, parse_strengths
        from patchlens.run import load

        settings = TunedSettings(
            kinds=parse_kinds(positions),
            method=parse_method(method),
            strengths=parse_strengths(strength),
            held_out=held_out,
            seed=seed,
            max_new_tokens=max_new_tokens,
            patches=patches,
            epochs=epochs,
        )
        items = read_items(data, prompt)
        loaded = load(model, dtype=dtype, device_map=device_map, revision=revision)
        tell("loading the model", 1, 1)
        result = fit_tuned(loaded, items, settings, out=out, data=data, disk_gb=disk_gb, progress=tell)
    _finish(out, result.report)


@fits.command()
def jacobian(
    data: DataOption = ...,  # pyright: ignore[reportArgumentType]
    out: OutOption = ...,  # pyright: ignore[reportArgumentType]
    model: ModelOption = "demo",
    prompt: PromptOption = None,
    versions: Annotated[
        str | None, typer.Option("--versions", help="Some of text,answer,image. Those possible if left out.")
    ] = None,
    probes: Annotated[
        int | None, typer.Option("--probes", help="Random directions per item; all, exactly, if left out.")
    ] = None,
    seed: SeedOption = 0,
    max_new_tokens: TokensOption = 20,
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
    revision: RevisionOption = None,
) -> None:
    """Fit a Jacobian lens, on about 100 items."""
    check_writable(out, ".safetensors")
    with progress_display(long=True) as tell:
        tell("loading the model", 0, 1)
        from patchlens.fit import read_items
        from patchlens.fit.jacobian import fit_jacobian_lens, parse_versions, spreads
        from patchlens.run import load

        chosen = parse_versions(versions)
        items = read_items(data, prompt)
        loaded = load(model, dtype=dtype, device_map=device_map, revision=revision)
        tell("loading the model", 1, 1)
        lens = fit_jacobian_lens(
            loaded,
            items,
            versions=chosen,
            probes=probes,
            seed=seed,
            max_new_tokens=max_new_tokens,
            out=out,
            data=data,
            progress=tell,
        )
        found = spreads(loaded.adapter, lens, seed)
    for version, spread in found.items():
        ranks = ", ".join(f"{rank:.1f}" for rank in spread.effective_rank.tolist())
        typer.echo(f"version {version}: directions that the rows of words span, by layer: {ranks}")
    if lens.note:
        typer.echo(f"note: {lens.note}", err=True)
    typer.echo(f"wrote {out}", err=True)


@fits.command()
def latent(
    data: Annotated[
        str,
        typer.Option("--data", "-d", help="A .txt or .jsonl file of texts, or scenes:N for captions."),
    ] = ...,  # pyright: ignore[reportArgumentType]
    out: OutOption = ...,  # pyright: ignore[reportArgumentType]
    model: ModelOption = "demo",
    per_type: Annotated[int, typer.Option("--per-type", help="Most occurrences of one token.")] = 20,
    seed: SeedOption = 0,
    dtype: DtypeOption = "auto",
    device_map: DeviceOption = None,
    revision: RevisionOption = None,
) -> None:
    """Make a latent lens: states of words in texts, to compare others with."""
    check_writable(out, ".safetensors")
    with progress_display(long=True) as tell:
        tell("loading the model", 0, 1)
        from patchlens.fit.latent import fit_latent, read_texts
        from patchlens.run import load

        texts = read_texts(data)
        loaded = load(model, dtype=dtype, device_map=device_map, revision=revision)
        tell("loading the model", 1, 1)
        fit_latent(loaded, texts, per_type=per_type, seed=seed, out=out, progress=tell)
    typer.echo(f"wrote {out}", err=True)


def _finish(out: Path, report: Any) -> None:
    for kind, own in report.kinds.items():
        for half, lenses in own.headline.items():
            figures = ", ".join(f"{lens} {estimate}" for lens, estimate in lenses.items())
            typer.echo(f"{kind}, {half} of the layers: held-out KL {figures} nats")
    if report.control is not None:
        typer.echo(report.control.sentence)
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)
    for suffix in (".safetensors", ".report.json", ".report.md"):
        typer.echo(f"wrote {out.with_suffix(suffix)}", err=True)
