"""What is above the Trace asks the Trace: no room there runs a model by itself."""

import ast
from pathlib import Path

import patchlens

SOURCE = Path(patchlens.__file__).parent
ROOMS = ("cause", "bench", "studies", "fit")
INNER = {
    "patchlens.capture": None,
    "patchlens.causal.rerun": None,
    "patchlens.causal.plan": None,
    "patchlens.causal": {"rerun", "Rerun", "intervening", "patch_states"},
    "patchlens.models.generate": None,
    "patchlens.models.inputs": {"prepare"},
}
"""Modules that run a model, and which of their names do; None for all."""

def inner_names(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in INNER:
            names = {alias.name for alias in node.names}
            yield from names if INNER[node.module] is None else names & INNER[node.module]


def test_nothing_above_the_trace_runs_a_model_by_itself():
    found = {
        path.relative_to(SOURCE).as_posix(): sorted(inner_names(path))
        for room in ROOMS
        for path in (SOURCE / room).rglob("*.py")
    }
    assert not {name: names for name, names in found.items() if names}
