"""The tiers hold, and what must stay light stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
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
LENS_SIDE = TIERS[5]
FAMILY_NAMES = ("llava", "mllama", "qwen", "gpt2", "gemma", "granite")
LIGHT_ROOMS = {"stats", "pictures", "reading", "concepts", "views", "scenes"}
LIGHT = ["patchlens", "patchlens.cli", "patchlens.studies.study", "patchlens.studies.pools.processes"]
LIGHT += ["patchlens.studies.report"]
TREES = {
    path: ast.parse(path.read_text())
    for path in sorted(SOURCE.rglob("*.py"))
    if path != SOURCE / "__init__.py"
}


def home(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def module(path: Path) -> str:
    return ".".join([SOURCE.name, *path.relative_to(SOURCE).with_suffix("").parts]).removesuffix(".__init__")


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', '?')}"


def imports(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Every module a file imports at any depth, with what it takes from it, type-checking imports apart."""
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
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)


def upward() -> Iterator[str]:
    for path, tree in TREES.items():
        for node, module in imports(tree):
            package, name, *_ = [*module.split("."), ""]
            if package == "patchlens" and RANK.get(name, 0) > RANK[home(path)]:
                yield f"{place(path, node)}: {home(path)} may not import {name}"


def around_the_adapter() -> Iterator[str]:
    for path, tree in TREES.items():
        if home(path) in LENS_SIDE:
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module:
                    package, *inner = node.module.split(".")
                    if package == "transformers" or (inner[:1] == ["models"] and not OPEN & {*inner[1:2]}):
                        yield f"{place(path, node)}: {node.module}"


def family_names() -> Iterator[str]:
    for path, tree in TREES.items():
        if home(path) in {"models", "demo"}:
            continue
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            text = node.id if isinstance(node, ast.Name) else getattr(node, "value", None)
            if not isinstance(node, ast.Name | ast.Constant) or id(node) in docstrings:
                continue
            if isinstance(text, str) and any(name in text.lower() for name in FAMILY_NAMES):
                yield f"{place(path, node)}: {text}"


def refuse(offenders: Iterable[str]) -> None:
    listed = "\n".join(offenders)
    assert not listed, f"\n{listed}"


def test_every_module_has_a_tier():
    assert {home(path) for path in TREES} <= RANK.keys()


def test_imports_go_downward():
    refuse(upward())


def test_lens_side_sees_a_model_only_through_the_adapter():
    refuse(around_the_adapter())


def test_family_names_stay_under_models():
    refuse(family_names())


def imports_torch(modules: Iterable[str]) -> bool:
    heavy = "'torch' in sys.modules or 'transformers' in sys.modules"
    code = f"import sys, {', '.join(modules)}; sys.exit(3 if {heavy} else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode in {0, 3}, done.stderr
    return done.returncode == 3


def test_what_must_stay_light_imports_no_torch():
    light = [*LIGHT, *(module(path) for path in TREES if home(path) in LIGHT_ROOMS)]
    if imports_torch(light):
        refuse(name for name in light if imports_torch([name]))


def test_every_public_name_is_there_and_documented():
    for name in dir(patchlens):
        assert hasattr(patchlens, name)
        assert name == "__version__" or getattr(patchlens, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = patchlens.nonsense
