"""The tiers hold, and what must stay light stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import patchlens

SOURCE = Path(patchlens.__file__).parent
TIERS = [
    {"errors", "axes", "files", "progress", "selection"},
    {"stats", "pictures"},
    {"reading", "concepts", "views"},
    {"demo", "scenes"},
    {"models"},
    {"capture", "lens", "attention", "causal"},
    {"run", "trace"},
    {"data", "fit", "cause", "bench", "studies"},
    {"cli", "__main__"},
]
RANK = {name: rank for rank, tier in enumerate(TIERS) for name in tier}
OPEN = {"adapter", "inputs", "positions", "tokens", "unembed"}  # of models/, what those above may see
FAMILY_NAMES = ("llava", "mllama", "qwen", "gpt2", "gemma", "granite")


def imports(path: Path):
    """Every patchlens module a file imports at any depth, type-checking imports apart."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from {name.split(".")[1] for name in names if name.startswith("patchlens.")}


def sources():
    return sorted(p for p in SOURCE.rglob("*.py") if p != SOURCE / "__init__.py")


def home(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_downward(path):
    for name in imports(path):
        if name in RANK:
            assert RANK[name] <= RANK[home(path)], f"{path.name} (tier of {home(path)}) imports {name}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_lens_side_sees_a_model_only_through_the_adapter(path):
    if home(path) in TIERS[5]:
        tree = ast.parse(path.read_text())
        modules = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module]
        assert not [m for m in modules if m.startswith("patchlens.models") and m.split(".")[2] not in OPEN]
        assert not [m for m in modules if m.split(".")[0] == "transformers"] or home(path) == "models"


def test_every_module_has_a_tier():
    assert {home(path) for path in sources()} <= RANK.keys()


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_family_names_stay_under_models(path):
    if home(path) in {"models", "demo"}:
        return
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            assert not any(name in node.value.lower() for name in FAMILY_NAMES), f"{path}: {node.value}"
        if isinstance(node, ast.Name):
            assert not any(name in node.id.lower() for name in FAMILY_NAMES), f"{path}: {node.id}"


@pytest.mark.parametrize(
    "module",
    [
        "patchlens",
        "patchlens.cli",
        "patchlens.reading.store",
        "patchlens.concepts",
        "patchlens.reading.frames",
        "patchlens.views.html",
        "patchlens.views.notebook",
        "patchlens.views.tables",
        "patchlens.scenes.scene",
        "patchlens.studies.study",
        "patchlens.studies.pools.processes",
        "patchlens.studies.report",
    ],
)
def test_torch_is_not_imported_by(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there_and_documented():
    for name in dir(patchlens):
        assert hasattr(patchlens, name)
        assert name == "__version__" or getattr(patchlens, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = patchlens.nonsense
