import re
from pathlib import Path

from patchlens.demo import demo_pictures

PAGE = Path(__file__).parents[2] / "docs" / "causal.md"


def test_the_python_shown_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture = next(p for p in demo_pictures() if p.file.stem == "cat")
    (tmp_path / "photo.png").write_bytes(picture.file.read_bytes())
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, PAGE.name, "exec"), names)
    assert names["effects"].logprobs.shape[0] == 3
    assert names["ablation"].change < names["ablation"].control.mean()
    assert names["changed"].resid.isfinite().all()
