"""What the page about experiments shows runs as it stands."""

import re
from pathlib import Path

from patchlens.demo import demo_pictures

PAGE = Path(__file__).parents[2] / "docs" / "cause.md"


def test_the_python_shown_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = next(p for p in demo_pictures() if p.file.stem == "cat")
    (tmp_path / "photo.png").write_bytes(picture.file.read_bytes())
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    assert len(names["found"].records["photo.png"]["causal_map"]) == 25
