"""Tries whether a lens keeps what the engine relies on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from patchlens.axes import FIT_KINDS, FitKind, fit_kind
from patchlens.capture import Captured, capture
from patchlens.errors import LensError, NumericsError
from patchlens.lens.engine.statistics import Statistics
from patchlens.lens.function import json_values
from patchlens.lens.lens import Lens
from patchlens.lens.open import adapter_of, open_lens
from patchlens.models.adapter import Adapter
from patchlens.models.inputs import prepare

_PROMPT = "What is this?"
_PER_KIND = 6
_NUMBERS = ("top_logprobs", "entropy", "kl_to_final", "logsumexp")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
# Products of other shapes round otherwise; what a wrong lens changes is far more.
_TOLERANCE, _TOLERANCE_16_BIT = 2e-3, 0.1


def check_lens(lens: object, model: object) -> None:
    """Try a lens on a picture (or a text, where the model has no eyes), and return quietly if all is well.

    Checked are its name and parameters; that it gives finite states of the right shape and the model's dtype
    for every layer and kind of position; that the same state gives the same row when it is read again, alone,
    in another order or beside other layers; and that the states and the model's weights, hooks and mode stay
    as they were. Every lens of patchlens passes.

    Args:
        lens: as `patchlens.lens.open.open_lens` takes it.
        model: what it reads, likewise.

    Raises:
        LensError: naming the check that failed, and what came.
        SelectionError: the lens is not for this model.
    """
    adapter = adapter_of(model)
    own = open_lens(lens, adapter)
    json_values(own.name, own.params())
    tried = _tried_on(own, adapter)
    before = _model_state(adapter)
    with torch.no_grad():
        everywhere, slots = range(len(tried.kinds)), range(len(tried.captured.layers))
        whole = tried.read(everywhere, slots)
        tried.check_dtype()
        tried.check_same(whole, "determinism", "read twice", everywhere, slots)
        tried.check_same(whole, "positions", "read in another order", everywhere[::-1], slots)
        for row in everywhere[:: max(1, len(everywhere) // _PER_KIND)]:
            tried.check_same(whole, "positions", "read alone", [row], slots)
        tried.check_same(whole, "layers", "read beside other layers", everywhere, slots[::2])
    for part, state in _model_state(adapter).items():
        if state != before[part]:
            raise LensError(f"the lens {own.name} fails the check untouched: reading changed the {part}")


@dataclass(frozen=True)
class _Tried:
    """A lens with states of a pass at a few positions of every kind."""

    lens: Lens
    adapter: Adapter
    captured: Captured
    rows: tuple[int, ...]
    kinds: tuple[FitKind, ...]

    def read(self, positions: Sequence[int], slots: Sequence[int]) -> Statistics:
        """What the lens says at some of the positions and layers, all of it finite and of the right shape."""
        captured, rows = self.captured, [self.rows[position] for position in positions]
        resid = captured.resid[list(slots)][:, rows]
        before = resid.clone()
        try:
            found = self.lens.read(
                resid,
                captured.final[rows],
                self.adapter.unembed,
                [self.kinds[position] for position in positions],
                layers=[captured.layers[slot] for slot in slots],
                n_layers=self.adapter.n_layers,
                top_k=1,
            )
        except NumericsError as error:
            raise self._failed("finite", str(error)) from error
        if not torch.equal(resid, before):
            raise self._failed("untouched", "reading changed the states: work on a copy of them")
        for name in _NUMBERS:
            values = getattr(found, name)
            if tuple(values.shape[:2]) != (len(slots), len(positions)):
                raise self._failed(
                    "shape",
                    f"{name} is {tuple(values.shape)} for {len(slots)} layers x {len(positions)} positions",
                )
            if not torch.isfinite(values).all():
                raise self._failed("finite", f"{name} is not a number everywhere")
        return found

    def check_dtype(self) -> None:
        """States for the unembedding have the model's dtype, where the lens goes through it."""
        if type(self.lens).read is not Lens.read:
            return
        unembed, captured = self.adapter.unembed, self.captured
        for kind, row in dict(zip(self.kinds, self.rows, strict=True)).items():
            for slot, layer in enumerate(captured.layers):
                given = self.lens.for_kind(kind).normed(captured.resid[slot, [row]], layer, unembed)
                if given.dtype != unembed.weight.dtype:
                    raise self._failed(
                        "dtype",
                        f"{given.dtype} at layer {layer}, but the model has {unembed.weight.dtype}: "
                        "return states.to(unembed.weight.dtype)",
                    )

    def check_same(
        self, whole: Statistics, check: str, how: str, positions: Sequence[int], slots: Sequence[int]
    ) -> None:
        """Some positions and layers read by themselves give the rows they have in the whole."""
        found = self.read(positions, slots)
        exact = self.adapter.unembed.weight.dtype in {torch.float32, torch.float64}
        tolerance = _TOLERANCE if exact else _TOLERANCE_16_BIT
        for name in _NUMBERS:
            expected = getattr(whole, name)[list(slots)][:, list(positions)]
            off = (getattr(found, name) - expected).abs() - 1e-3 * expected.abs()
            if float(off.max()) > tolerance:
                raise self._failed(
                    check,
                    f"the same states {how} give another {name}, by {float(off.max()):.3g} nats: let each "
                    "row depend on its own state and layer alone",
                )

    def _failed(self, check: str, why: str) -> LensError:
        return LensError(f"the lens {self.lens.name} fails the check {check}: {why}")


def _tried_on(lens: Lens, adapter: Adapter) -> _Tried:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    inputs = prepare(adapter, _PROMPT, [] if adapter.image_token_id is None else [noise])
    inputs, captured = lens.lay_out(adapter, inputs, capture(adapter, inputs))
    kinds: list[FitKind] = [
        fit_kind(str(inputs.places.kind[at]), at - inputs.n_prompt + 1) for at in captured.positions
    ]
    of_kind = [[row for row, own in enumerate(kinds) if own == kind] for kind in FIT_KINDS]
    chosen = tuple(row for rows in of_kind for row in rows[:: max(1, len(rows) // _PER_KIND)])
    return _Tried(lens, adapter, captured, chosen, tuple(kinds[row] for row in chosen))


def _model_state(adapter: Adapter) -> dict[str, object]:
    model = adapter.model
    weights = [x for x in (*model.parameters(), *model.buffers()) if not x.is_meta]
    return {
        "model's weights": [(x.data_ptr(), float(x.detach().sum(dtype=torch.float64))) for x in weights],
        "model's hooks": [[len(getattr(module, name)) for name in _HOOKS] for module in model.modules()],
        "model's mode": [module.training for module in model.modules()],
    }
