"""Many interventions at once against one whole forward pass for each, on the bundled models.

For each experiment both give the log-probability of the answer's tokens under every intervention. First these
are asserted to be equal; only then is anything timed. The plain pass that is recorded first is part of the
time.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from measure import interleaved, machine, ratio, table
from patchlens.causal import Ablate, Interventions, Knockout, Mean, intervening, patch_numbers
from patchlens.run import Model, load
from patchlens.scenes.scene import make_scene
from patchlens.trace import Trace

ONE, OURS = "one forward each", "patchlens, batched"
QUESTION = "What is this?"
TOLERANCE = 1e-5


def question(model: Model, seed: int, other: int) -> Trace:
    """A drawn scene with a question and the model's answer to another one, which it is far from giving."""
    elsewhere = model.trace(make_scene(other, "one").image, QUESTION, max_new_tokens=4)
    return model.trace(make_scene(seed, "one").image, QUESTION, answer=elsewhere.answer.ids)


def experiments(model: Model, trace: Trace, quick: bool) -> dict[str, list[Interventions]]:
    """What is asked of a picture: where it matters, whether these patches matter, and the way it takes."""
    numbers = patch_numbers(trace.inputs)
    chosen = numbers[numbers >= 0]
    mean = Mean(torch.cat([question(model, seed, 0).patch_states() for seed in (2, 3)]))
    draw = np.random.default_rng(0)
    sets = [draw.choice(chosen, len(chosen) // 10, replace=False).tolist() for _ in range(8 if quick else 32)]
    windows = [range(first, first + 3) for first in range(model.n_layers - 2)]
    routes = [("last", "patches"), ("last", "text"), ("answer", "image")]
    return {
        "map: each patch": [Ablate([number], mean) for number in chosen[:: 4 if quick else 1].tolist()],
        "random tenths of the patches": [Ablate(chosen, mean) for chosen in sets],
        "knockout to the answer, windows": [
            Knockout(*route, window) for route in routes for window in windows
        ],
        "knockout patches to text, windows": [Knockout("text", "patches", window) for window in windows],
    }


def one_each(trace: Trace, interventions: list[Interventions]) -> Float[NDArray[np.float32], "run step"]:
    """Log-probabilities of the answer, a whole pass for each intervention."""
    adapter, inputs, answer = trace.adapter, trace.told, torch.tensor(trace.answer.ids)
    rows: list[Tensor] = []
    for each in interventions:
        with torch.inference_mode(), adapter.undisturbed(), intervening(adapter, inputs, each):
            made = adapter.model(**inputs.tensors, use_cache=False, logits_to_keep=len(answer) + 1)
            rows.append(made.logits[0, :-1].log_softmax(-1).gather(1, answer[:, None])[:, 0])
    return torch.stack(rows).numpy()


def batched(trace: Trace, interventions: list[Interventions]) -> Float[NDArray[np.float32], "run step"]:
    """The same, many at a time; a copy of the trace, so that nothing is kept from an earlier round."""
    return replace(trace).effects(interventions).logprobs


def report(name: str, repeats: int, quick: bool) -> str:
    """Check and time; return a Markdown table."""
    model = load(name)
    trace = question(model, 0, 1)
    rows: list[tuple[str, ...]] = []
    totals: dict[str, list[float]] = {ONE: [0.0] * repeats, OURS: [0.0] * repeats}
    for title, interventions in experiments(model, trace, quick).items():
        expected = one_each(trace, interventions)
        assert expected.std(0).max() > 1000 * TOLERANCE, f"{name}, {title}: the interventions do nothing"
        got = batched(trace, interventions)
        np.testing.assert_allclose(got, expected, atol=TOLERANCE, rtol=1e-6)
        difference = abs(got - expected).max()
        works = {
            ONE: lambda given=interventions: one_each(trace, given),
            OURS: lambda given=interventions: batched(trace, given),
        }
        seconds = interleaved(works, repeats)
        for contender, times in seconds.items():
            totals[contender] = [a + b for a, b in zip(totals[contender], times, strict=True)]
        rows.append(_row(title, len(interventions), seconds, f"{difference:.0e}"))
    n = sum(int(row[1]) for row in rows)
    rows.append(_row("all of these", n, totals, ""))
    header = ("experiment", "runs", "times faster", f"{ONE}, ms", f"{OURS}, ms", "largest difference, nats")
    title = f"{name}: {model.n_layers} blocks, {len(trace.told)} positions, {repeats} rounds"
    return f"### {title}\n\n{table(header, rows)}\n"


def _row(title: str, n: int, seconds: dict[str, list[float]], difference: str) -> tuple[str, ...]:
    each = [f"{1e3 * min(seconds[name]) / n:.1f}" for name in (ONE, OURS)]
    return title, str(n), f"{ratio(seconds[ONE], seconds[OURS]):.1f}", *each, difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="threads of torch, 0 for its default")
    parser.add_argument("--quick", action="store_true", help="fewer interventions, two rounds")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{machine()}\n")
    for name in ("demo", "demo-cross"):
        print(report(name, 2 if options.quick else options.repeats, options.quick), flush=True)


if __name__ == "__main__":
    main()
