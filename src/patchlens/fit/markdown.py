"""A fit's report as people read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from patchlens.fit.control import LENSES, Control
from patchlens.fit.report import FitReport, KindReport
from patchlens.fit.states import EARLY, LONG, SINKS

_HOW = f"""\
KL is KL(p_final ‖ p_lens) in nats. Bias is KL(mean of p_final ‖ mean of p_lens) in bits, the means over all
positions (Belrose et al. 2023). CE is the cross-entropy on the model's own next token in nats, agreement how
often that token is the lens's first. Gap is held-out minus train KL of the tuned lens: where it is large, the
lens knows its own pictures better than others. The last layer has no lens; it is the model. Train figures are
of no more items than are held out. Brackets are 95% intervals over pictures.

Left out of fit and figures: the first position of each sequence; the first {EARLY} of texts without picture
of more than {LONG} positions; sinks, whose state at any layer is over {SINKS.factor:g} times as long as the
median of that layer (patches held against patches, other positions against each other)."""


def to_markdown(report: FitReport) -> str:
    """NAME.report.md."""
    parts = [
        f"# {report.lens} lens of {_plain(str(report.model['name']))}",
        _facts(report),
        "## In short",
        _short(report),
        *(f"- {_plain(note)}" for note in report.notes),
        "## What the figures are",
        _HOW,
        *(part for kind, own in report.kinds.items() for part in (f"## {kind} positions", _kind(own))),
    ]
    if report.control is not None:
        parts += ["## Control: shuffled answers", _control(report.control)]
    return "\n\n".join(parts) + "\n"


def _facts(report: FitReport) -> str:
    counts = ", ".join(f"{report.items[s]} {s.replace('_', '-')}" for s in report.items)
    pictures = ", ".join(f"{report.pictures[s]} {s.replace('_', '-')}" for s in report.pictures)
    excluded = ", ".join(f"{reason} {n}" for reason, n in report.excluded.items())
    settings = ", ".join(f"{key} {value}" for key, value in report.settings.items())
    rows = [
        ("fitted on", _plain(report.data)),
        ("items", counts),
        ("pictures (or texts), never on two sides", pictures),
        ("settings", _plain(settings)),
        ("positions left out", excluded),
    ]
    return _table(("", ""), rows)


def _short(report: FitReport) -> str:
    rows = [
        (kind, half, *(str(estimate) for estimate in by_lens.values()))
        for kind, own in report.kinds.items()
        for half, by_lens in own.headline.items()
    ]
    table = _table(("positions", "layers", "KL, logit lens", f"KL, {report.lens} lens"), rows)
    return table if report.control is None else f"{table}\n\n{report.control.sentence}"


def _kind(own: KindReport) -> str:
    header = (
        f"Fitted on {own.fitted} positions, {own.per_dimension:.1f} per dimension, ridge strength "
        f"{own.strength:g}; measured on {own.positions['held_out']} held-out and {own.positions['train']} "
        "train positions. Each cell is raw / tuned, held-out."
    )
    held, train = own.scores["held_out"], own.scores["train"]
    raw, tuned = held["raw"], held["tuned"]
    rows = [
        (
            str(layer),
            _pair(raw.kl[layer], tuned.kl[layer]),
            f"{train['tuned'].kl[layer]:.3f}",
            f"{own.overfit[layer]:+.3f}",
            _pair(raw.bias_bits[layer], tuned.bias_bits[layer]),
            _pair(raw.cross_entropy[layer], tuned.cross_entropy[layer]),
            _pair(raw.top1[layer], tuned.top1[layer]),
        )
        for layer in range(len(raw.kl))
    ]
    columns = ("layer", "KL", "tuned KL, train", "gap", "bias, bits", "CE", "agreement")
    return f"{header}\n\n{_table(columns, rows)}"


def _pair(raw: float, tuned: float) -> str:
    return f"{raw:.3f} / {tuned:.3f}"


def _control(control: Control) -> str:
    words = (
        "The control is a lens of the same solver, fitted with each answer position paired with the final "
        "state of another picture's answer: it can know which answers are common, not which is right here. "
        "Surviving share of a gain: 1 - max(0, control - raw) / (tuned - raw), both terms meant over the "
        "layers. " + control.sentence
    )
    rows = [
        (
            str(layer),
            *(f"{control.top1[lens][layer]:.3f}" for lens in LENSES),
            _percent(control.surviving_by_layer["top1"][layer]),
            *(f"{control.logprob[lens][layer]:.2f}" for lens in LENSES),
            _percent(control.surviving_by_layer["logprob"][layer]),
        )
        for layer in range(len(control.top1["raw"]))
    ]
    columns = [f"{what}, {part}" for what in ("top-1", "log-prob") for part in (*LENSES, "survives")]
    return f"{words}\n\n{_table(('layer', *columns), rows)}"


def _percent(share: float | None) -> str:
    return "no gain" if share is None else f"{share:.0%}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text that cannot open a table cell or markup."""
    return "".join(f"\\{c}" if c in "|<>[]`*" else " " if c in "\r\n" else c for c in text)
