"""What a newcomer types wrongly is told on one line that says what to write, before any model is loaded."""

import shlex

import pytest
from PIL import Image

from patchlens import cli
from readings import make_reading

WRONG = """
reed photo.png                                          | Unknown command "reed". Did you mean "read"?
read                                                    | --prompt requires an argument
read photo.png                                          | --prompt requires an argument
read photo.png -p                                       | -p requires an argument
read photo.png -p a -p b                                | -p specified multiple times
read none.png -p a                                      | there is no file none.png
read . -p a                                             | name the picture in it
read notes.txt -p a                                     | notes.txt is not a picture
read https://example.org/cat.png -p a                   | download the picture first
read photo.png -p ""                                    | the prompt is empty
read photo.png -p a -k 0                                | Must be >= 1
read photo.png -p a -k -3                               | Must be >= 1
read photo.png -p a -k ten                              | "ten" into int
read photo.png -p a --max-new-tokens -1                 | Must be >= 0
read photo.png -p a --layers x                          | neither a number nor a range
read photo.png -p a --layers 5-2                        | runs backwards
read photo.png -p a --lens crystal                      | there is no lens 'crystal': choose logit
read photo.png -p a --lens none.safetensors             | none.safetensors
read photo.png -p a --lens one.safetensors              | one.safetensors
read photo.png -p a --target " "                        | a target is empty
read photo.png -p a --channel heat                      | 'heat' is none of contribution
read photo.png -p a --dtype float12                     | Choose from: "auto", "float32"
read photo.png -p a --out a.pt                          | ends in .safetensors
read photo.png -p a --out nowhere/a.safetensors         | there is no folder nowhere
read photo.png -p a --html a.htm                        | ends in .html
read photo.png -p a --html folder.html                  | it is a folder
read photo.png -p a --tpo-k 3                           | Did you mean --top-k?
read photo.png -p a -x                                  | Unknown option: -x
read photo.png -p a --json found.json                   | there is no file found.json
attend photo.png -p a --heads many                      | neither a number nor a range
attend photo.png -p a --sink-factor 0                   | must be a number above 0
attend photo.png -p a --relative=perhaps                | "perhaps" into bool
show                                                    | READING requires an argument
show none.safetensors                                   | none.safetensors
show photo.png                                          | photo.png: not a readable safetensors file
show one.safetensors --step 99                          | 99
show one.safetensors --position 999                     | 999
view one.safetensors one.safetensors photo.png          | 'photo.png' is one argument too many
view one.safetensors -o a.htm                           | ends in .html
chart one.safetensors                                   | --out requires an argument
chart one.safetensors -o a.gif                          | ends in .png or .svg
chart one.safetensors -o a.png --kind pie               | Choose from: "topk", "trajectory"
chart one.safetensors -o a.png --image -1               | they are counted from 0
words one.safetensors --at sky                          | Choose from: "patches", "answer", "text"
words one.safetensors --dictionary none.tsv             | cannot read the dictionary none.tsv
bench --seeds 1                                         | 1 seeds
bench --lens crystal                                    | there is no lens 'crystal'
bench --data nowhere                                    | there is no folder nowhere
cause explode                                           | Unknown command "explode"
cause patches photo.png                                 | say with --prompt what to ask
cause patches photo.png -p ""                           | the prompt is empty
cause patches none.png -p a                             | there is no file none.png
cause patches -p a                                      | leave --prompt out
cause patches --above 0.1 --top 0.1                     | --above and --top together
cause patches --above 2                                 | a share of the map's maximum
cause patches --draws 0                                 | no control
cause patches --step 0                                  | 1 patch wide or more
cause patches --by grey                                 | Choose from: "mean", "zero"
cause patches --html a.html                             | a page is of one picture
cause patches --out a.json                              | ends in .jsonl
cause patches --data more.jsonl                         | more.jsonl:2: there is no file
cause knockout photo.png -p a --data scenes:3           | give one of them
cause knockout --width 0                                | --width 1 or more
cause knockout --scenes 0                               | choose 1 to
cause knockout --data nowhere                           | no folder or file nowhere
cause grounding --others 0                              | --others 1 or more
cause grounding --max-new-tokens 0                      | allow 1 or more
cause fidelity --directions 2                           | cannot be ranked
cause fidelity --at first                               | Choose from: "last", "patches"
cause fidelity --layers some                            | neither a number nor a range
cause fidelity --reference nowhere                      | no folder or file nowhere
cause hallucination --validation 0                      | choose 1 to
cause change photo.png -p a                             | nothing is changed
cause change photo.png -p a --swap last                 | say with --other which
cause change photo.png -p a --swap last --other no.png  | there is no file no.png
fit crystal --data scenes:9 -o a.safetensors            | Unknown command "crystal"
fit tuned -o a.safetensors                              | --data requires an argument
fit tuned -d scenes:x -o a.safetensors                  | scenes:N
fit tuned -d scenes:9 -o a.safetensors --method magic   | Choose from: "closed", "gradient"
fit tuned -d scenes:9 -o a.safetensors --strength weak  | 'weak' is no number
fit tuned -d scenes:9 -o a.safetensors --held-out 1     | between 0 and 1
fit tuned -d scenes:9 -o a.safetensors --epochs 0       | choose 1 or more
fit tuned -d more.jsonl -o a.safetensors                | more.jsonl:2: there is no file
fit jacobian -d scenes:9 -o a.safetensors --probes 0    | take 1 or more
fit latent -d scenes:9 -o a.safetensors --per-type 0    | keep 1 or more
study nowhere.yaml -o out                               | there is no file nowhere.yaml
study more.jsonl                                        | --out requires an argument
study more.jsonl -o out --workers -1                    | Must be >= 0
report .                                                | holds no study
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 50), "red").save("photo.png")
    (tmp_path / "notes.txt").write_text("a red cat")
    (tmp_path / "folder.html").mkdir()
    lines = ['{"image": "photo.png", "prompt": "a"}', '{"image": "none.png", "prompt": "a"}']
    (tmp_path / "more.jsonl").write_text("\n".join(lines))
    make_reading().save(tmp_path / "one.safetensors")
    return tmp_path


@pytest.fixture
def no_model(monkeypatch):
    def load(*_, **__):
        raise AssertionError("a model was loaded before everything was checked")

    monkeypatch.setattr("patchlens.run.load", load)


@pytest.mark.parametrize("line", WRONG.strip().splitlines(), ids=lambda line: line.split("  ")[0])
def test_a_wrong_command_line_is_told_on_one_line(line, folder, no_model, capsys):
    typed, _, says = line.partition("|")
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        cli.main(shlex.split(typed))
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert says.strip() in err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["\x1b[31mred"],
        ["show", "\x1b]0;x\x07.safetensors"],
        ["read", "a\nb.png", "-p", "a"],
        ["read", "--\x9b"],
    ],
)
def test_what_was_typed_cannot_act_in_the_terminal(arguments, folder, no_model, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert err.endswith("\n") and all(char.isprintable() for char in err[:-1])


def test_markup_in_what_was_typed_stays_text(folder, no_model, capsys):
    with pytest.raises(SystemExit):
        cli.main(["read", "[bold]cat[/bold].png", "-p", "a"])
    assert "there is no file [bold]cat[/bold].png" in capsys.readouterr().err
