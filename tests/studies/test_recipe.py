import json

import pytest
from small_study import noise_picture, write_spec

from patchlens.data.item import DrawnPicture, PictureFile
from patchlens.errors import StudyError
from patchlens.studies.recipe.study import read_study


def items_of(folder, *entries, **more):
    return read_study(write_spec(folder / "spec.json", items=list(entries), **more)).items


def test_a_spec_in_yaml_holds_models_lenses_items_and_settings(tmp_path):
    (tmp_path / "study.yaml").write_text(
        """
        name: colours
        models:
          - demo
          - {name: big, load: some/model, dtype: bfloat16, device_map: auto, revision: abc}
        lenses: [logit, mine.safetensors, {name: other, file: sub/own.safetensors}]
        top_k: 5
        layers: [0, -1]
        positions: answer
        items:
          - {image: a.png, prompt: "What colour?", expected: [red, rot], concepts: red, group: 1}
          - {prompt: "What colour is snow?", name: no picture}
        """
    )
    study = read_study(tmp_path / "study.yaml")
    assert study.name == "colours"
    assert [(m.name, m.load, m.dtype, m.device_map, m.revision) for m in study.models] == [
        ("demo", "demo", "auto", None, None),
        ("big", "some/model", "bfloat16", "auto", "abc"),
    ]
    assert [(lens.name, lens.find) for lens in study.lenses] == [
        ("logit", "logit"),
        ("mine", str(tmp_path / "mine.safetensors")),
        ("other", str(tmp_path / "sub" / "own.safetensors")),
    ]
    assert (study.settings.top_k, study.settings.layers, study.settings.positions) == (5, (0, -1), "answer")
    first, second = study.items
    assert (first.name, first.expected, first.concepts, first.group) == ("a", ("red", "rot"), ("red",), "1")
    assert first.pictures == (PictureFile(tmp_path / "a.png", "a.png"),)
    assert (second.name, second.pictures) == ("no picture", ())


def test_a_folder_asks_one_prompt_of_each_picture(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.png", "a.jpg"):
        noise_picture(folder / name)
    (folder / "notes.txt").write_text("no picture")
    found = items_of(tmp_path, {"data": "photos", "prompt": "What is this?", "group": "photos"})
    assert [(item.name, item.prompt, item.group) for item in found] == [
        ("a", "What is this?", "photos"),
        ("b", "What is this?", "photos"),
    ]
    assert [item.name for item in read_study(folder, prompt="What is this?").items] == ["a", "b"]


def test_the_older_mapping_has_a_prompt_per_picture(tmp_path):
    mapping = {"1.jpg": "What is this?", "2.jpg": "What animal? One word."}
    (tmp_path / "mapping.json").write_text(json.dumps(mapping))
    found = items_of(tmp_path, "mapping.json")
    assert [(item.name, item.prompt) for item in found] == [("1", "What is this?"), ("2", mapping["2.jpg"])]
    assert found[0].pictures[0].path == tmp_path / "1.jpg"
    alone = read_study(tmp_path / "mapping.json")
    assert (alone.items, alone.models[0].name, alone.lenses[0].name) == (found, "demo", "logit")
    elsewhere = items_of(tmp_path, {"data": "mapping.json", "images": "photos"})
    assert elsewhere[1].pictures[0].path == tmp_path / "photos" / "2.jpg"


def test_lines_of_jsonl_may_leave_to_the_source_what_they_share(tmp_path):
    lines = [{"image": "x.png"}, {"image": ["x.png", "y.png"], "prompt": "Which?", "group": "two"}]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    found = items_of(tmp_path, {"data": "items.jsonl", "prompt": "What?", "group": "one"})
    assert [(item.name, item.prompt, item.group) for item in found] == [
        ("x", "What?", "one"),
        ("x + y", "Which?", "two"),
    ]


def test_cocos_annotations_say_what_is_expected(tmp_path):
    content = {
        "images": [{"id": 2, "file_name": "two.jpg"}, {"id": 1, "file_name": "one.jpg"}],
        "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "dog"}],
        "annotations": [
            {"image_id": 1, "category_id": 8},
            {"image_id": 1, "category_id": 7},
            {"image_id": 1, "category_id": 8},
        ],
    }
    (tmp_path / "instances.json").write_text(json.dumps(content))
    found = items_of(tmp_path, {"data": "instances.json", "prompt": "What?", "concepts": "truth", "limit": 2})
    assert [(item.name, item.expected, item.concepts) for item in found] == [
        ("one", ("dog", "cat"), ("dog", "cat")),
        ("two", (), ()),
    ]


def test_scenes_come_with_their_questions_and_answers(tmp_path):
    found = items_of(
        tmp_path,
        {"scenes": "one", "count": 3, "ask": "what", "language": "de", "concepts": "truth", "group": "asked"},
        {"scenes": "texture", "count": 2, "prompt": "Describe the picture."},
    )
    assert len(found) == 5 == len({item.name for item in found})
    for item in found[:3]:
        assert item.group == "asked" and len(item.expected) == 1 == len(item.concepts)
        assert isinstance(item.pictures[0], DrawnPicture) and item.pictures[0].kind == "one"
    assert {item.prompt for item in found[3:]} == {"Describe the picture."}
    again = items_of(
        tmp_path, {"scenes": "texture", "count": 2, "prompt": "Describe the picture.", "seed": 1}
    )
    assert not {item.pictures for item in again} & {item.pictures for item in found}


def test_the_same_picture_twice_makes_two_items(tmp_path):
    found = items_of(tmp_path, {"image": "a.png", "prompt": "x"}, {"image": "a.png", "prompt": "y"})
    assert [item.name for item in found] == ["a", "a (2)"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"items": [{"image": "a.png", "prompt": "x"}], "lense": ["logit"]}, "did you mean 'lenses'"),
        ({"items": [{"image": "a.png", "promt": "x"}]}, "did you mean 'prompt'"),
        ({"items": [{"image": "a.png"}]}, 'expected a "prompt"'),
        ({"items": []}, 'expected "items"'),
        ({"items": [{"image": True, "prompt": "x"}]}, "got True; put it in quotes"),
        ({"items": [{"prompt": "x", "group": "*"}]}, "stands for several"),
        ({"items": [{"prompt": "\ud800"}]}, "is not text"),
        ({"items": [{"prompt": "x"}], "models": [{"name": "demo", "dtype": 7}]}, '"dtype" of model demo'),
        ({"items": [{"prompt": "x"}], "lenses": [{"name": "a", "file": "tuned"}]}, "ends in .safetensors"),
        ({"models": ["demo"]}, 'expected "items"'),
        ({"items": [{"prompt": "x", "name": "a"}, {"prompt": "y", "name": "a"}]}, "two items are called 'a'"),
        ({"items": "missing.jsonl"}, "cannot be read"),
        ({"items": "missing"}, "neither a folder nor"),
        ({"items": [{"scenes": "cats", "prompt": "x"}]}, "'cats' is none of texture"),
        ({"items": [{"scenes": "one"}]}, 'either "prompt" or "ask"'),
        ({"items": [{"scenes": "texture", "ask": "relation", "count": 2}]}, "only 0 of 2 scenes allow"),
        ({"items": [{"scenes": "one", "prompt": "x", "count": 0}]}, "a whole number from 1"),
        ({"items": [{"prompt": "x"}], "top_k": "ten"}, '"top_k" cannot be'),
        ({"items": [{"prompt": "x"}], "batch": 0}, '"batch" cannot be 0'),
        ({"items": [{"prompt": "x"}], "positions": "somewhere"}, "expected all, answer"),
        ({"items": [{"prompt": "x"}], "channels": ["heat"]}, '"channels" cannot be'),
        ({"items": [{"prompt": "x"}], "attention": "yes"}, "expected true or false"),
        ({"items": [{"prompt": "x"}], "models": ["demo", "demo"]}, "model 'demo' is there twice"),
        ({"items": [{"prompt": "x"}], "models": [{"nam": "demo"}]}, "did you mean 'name'"),
        ({"items": [{"prompt": "x"}], "models": [3]}, "a model: expected a name"),
        (
            {"items": [{"prompt": "x"}], "models": [{"name": "demo", "ask": "One word."}]},
            "where the prompt goes",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, content, told):
    with pytest.raises(StudyError, match=r"^[^\n]*$") as error:
        read_study(write_spec(tmp_path / "spec.json", **content))
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.yaml", "models: [demo", "is not YAML"),
        ("a.json", "{", "is not JSON"),
        ("a.yaml", "- 1", "expected"),
    ],
)
def test_a_spec_that_is_no_spec_is_refused(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(StudyError, match=told):
        read_study(tmp_path / name)


def test_a_prompt_for_a_spec_that_has_its_own_is_refused(tmp_path):
    with pytest.raises(StudyError, match="leave --prompt out"):
        read_study(write_spec(tmp_path / "spec.json", items=[{"prompt": "x"}]), prompt="y")


def test_models_and_lenses_can_be_named_instead(tmp_path):
    spec = write_spec(tmp_path / "spec.json", items=[{"prompt": "x"}])
    study = read_study(spec, models=["demo-cross"], lenses=["tuned"])
    assert [model.load for model in study.models] == ["demo-cross"]
    assert [lens.find for lens in study.lenses] == ["tuned"]


def test_yaml_says_what_is_written(tmp_path):
    (tmp_path / "s.yaml").write_text(
        """
        items:
          - {prompt: 007, expected: [1.50, no, 2024-05-06, 0x10, 12], group: on}
        layers: [0, -1]
        attention: true
        """
    )
    study = read_study(tmp_path / "s.yaml")
    (item,) = study.items
    assert (item.prompt, item.group) == ("007", "on")
    assert item.expected == ("1.50", "no", "2024-05-06", "0x10", "12")
    assert (study.settings.layers, study.settings.attention) == ((0, -1), True)


@pytest.mark.parametrize(
    ("name", "text"),
    [("s.yaml", "models: [demo]\nmodels: [demo-cross]\n"), ("s.json", '{"models": 1, "models": 2}')],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(StudyError, match="'models' is there twice"):
        read_study(tmp_path / name)


def test_a_prompt_beside_a_mapping_is_refused(tmp_path):
    (tmp_path / "mapping.json").write_text('{"1.jpg": "What?"}')
    with pytest.raises(StudyError, match="a prompt for each picture"):
        read_study(tmp_path / "mapping.json", prompt="Why?")


def test_a_picture_is_no_spec(tmp_path):
    with pytest.raises(StudyError, match="is a picture: name a folder"):
        read_study(noise_picture(tmp_path / "a.png"))
