import json
import logging
import socket
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from PIL import Image
from transformers import LlavaProcessor, MllamaProcessor, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

import patchlens.models.source as source_module
from patchlens.capture import capture
from patchlens.errors import ModelNotFoundError, SelectionError, UnsupportedModelError
from patchlens.models.adapter import Adapter
from patchlens.models.load import adapt, load_adapter, supported_families
from tiny import BUILDERS, VISION, save, tiny_gpt2, tiny_llama, tiny_llava, tiny_mllama, tiny_qwen_vl

RED = Image.effect_noise((50, 70), 80).convert("RGB")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    build = {name: (lambda b=b, n=name: b(chat=True) if n in VISION else b()) for name, b in BUILDERS.items()}
    return {name: save(build[name](), root / name) for name in BUILDERS}


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def rewritten(folder: Path, target: Path, **changes) -> Path:
    """A copy of a model's folder with entries of its config changed or, if None, left out."""
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text()) | changes
    config = {key: value for key, value in config.items() if value is not None}
    (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize("family", BUILDERS)
def test_a_folder_is_loaded_without_the_network_and_reads_the_same(family, folders, no_network):
    built = BUILDERS[family](chat=True) if family in VISION else BUILDERS[family]()
    loaded = load_adapter(str(folders[family]))
    assert type(loaded) is type(built)
    assert loaded.family in supported_families()
    assert loaded.chat_template == built.chat_template
    assert loaded.cross_blocks == built.cross_blocks
    assert (loaded.n_layers, loaded.d_model, loaded.vocab_size) == (
        built.n_layers,
        built.d_model,
        built.vocab_size,
    )
    loaded.prove()
    pictures = [RED] if family in VISION else []
    ours, theirs = (capture(a, a.encode("what is it?", pictures)).resid for a in (built, loaded))
    torch.testing.assert_close(ours, theirs)


def test_a_bundled_name_is_a_folder_and_a_near_miss_is_suggested(folders, monkeypatch, no_network):
    bundled = {"demo": folders["llava"], "demo-cross": folders["mllama"]}
    monkeypatch.setattr(source_module, "bundled_models", lambda: bundled)
    assert load_adapter("demo-cross").name == "demo-cross"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for wrong, meant in {"dmeo": "demo", "demo-cros": "demo-cross", "./demo": "demo"}.items():
        with pytest.raises(ModelNotFoundError, match=f"did you mean {meant}"):
            load_adapter(wrong)
    with pytest.raises(ModelNotFoundError, match="bundled models: demo, demo-cross"):
        load_adapter("nobody/nothing")


@pytest.mark.parametrize(
    "name", ["nobody/nothing", "meta-llama/Llama-3.2-11B-Vision", "a b", "x/y/z", "", "/no/such"]
)
def test_a_model_that_is_not_there_is_one_line(name):
    with pytest.raises(ModelNotFoundError) as caught:
        load_adapter(name)
    assert "\n" not in str(caught.value)


def hub_error(kind: type, message: str) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    return error


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (GatedRepoError, "accept its licence"),
        (RepositoryNotFoundError, "no model 'org/model' on the hub"),
        (LocalEntryNotFoundError, "cannot be reached"),
        (ConnectionError, "cannot be reached"),
        (PermissionError, "cannot be loaded: wrapped"),
    ],
)
def test_what_the_hub_answers_is_said_in_one_line(kind, says, monkeypatch):
    def fail(*_, **__):
        raise OSError("wrapped\nwith more lines") from hub_error(kind, "inner")

    with monkeypatch.context() as patch:
        patch.setattr(HfApi, "model_info", lambda *_, **__: None)
        patch.setattr(PreTrainedConfig, "get_config_dict", fail)
        with pytest.raises(ModelNotFoundError, match=says) as caught:
            load_adapter("org/model")
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(HfApi, "model_info", fail)
    with pytest.raises(ModelNotFoundError, match=says) as caught:
        load_adapter("org/model")
    assert "\n" not in str(caught.value)


def test_a_cached_model_is_read_offline_without_asking_again(monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("no route")

    source = source_module.resolve("org/model", "main")
    monkeypatch.setattr(HfApi, "model_info", offline)
    with pytest.raises(ModelNotFoundError, match="cannot be reached"):
        source_module.reach(source)
    monkeypatch.setattr(source_module, "try_to_load_from_cache", lambda *_, **__: "config.json")
    assert source_module.reach(source).options == {"local_files_only": True, "revision": "main"}
    monkeypatch.setattr(HfApi, "model_info", lambda *_, **__: None)
    assert source_module.reach(source).options == {"local_files_only": False, "revision": "main"}


def test_a_folder_without_a_model_says_so(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"without a config\.json"):
        load_adapter(str(tmp_path))
    (tmp_path / "config.json").write_text("{ broken")
    with pytest.raises(ModelNotFoundError, match="cannot be loaded"):
        load_adapter(str(tmp_path))


def test_a_folder_without_weights_says_so(folders, tmp_path):
    bare = rewritten(folders["llama"], tmp_path / "bare")
    (bare / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"no \*\.safetensors weights"):
        load_adapter(str(bare))


def test_damaged_weights_are_a_typed_error(folders, tmp_path):
    broken = rewritten(folders["llama"], tmp_path / "broken")
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelNotFoundError, match="cannot be loaded"):
        load_adapter(str(broken))


def test_missing_weights_are_not_made_up(folders, tmp_path):
    deeper = rewritten(folders["llama"], tmp_path / "deeper", num_hidden_layers=5)
    with pytest.raises(ModelNotFoundError, match="lacks 9 of its weights"):
        load_adapter(str(deeper))


def test_weights_of_another_shape_are_refused(folders, tmp_path):
    wider = rewritten(folders["llama"], tmp_path / "wider", intermediate_size=50)
    with pytest.raises(ModelNotFoundError, match="another shape"):
        load_adapter(str(wider))


def test_pickles_are_refused_unless_allowed(folders, tmp_path):
    pickled = rewritten(folders["gpt2"], tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    weights = tiny_gpt2().model.state_dict()
    torch.save({name: tensor.clone() for name, tensor in weights.items()}, pickled / "pytorch_model.bin")
    with pytest.raises(UnsupportedModelError, match="allow_pickle=True"):
        load_adapter(str(pickled))
    load_adapter(str(pickled), allow_pickle=True).prove()


def test_a_models_own_code_is_not_run(folders, tmp_path):
    custom = rewritten(
        folders["llama"],
        tmp_path / "custom",
        model_type="homemade",
        auto_map={"AutoModelForCausalLM": "code.Model"},
    )
    (custom / "code.py").write_text("raise SystemExit('this code ran')")
    with pytest.raises(UnsupportedModelError, match="trust_remote_code=True"):
        load_adapter(str(custom))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "idefics3"}, "multimodal model of type 'idefics3'.*Llama-3.2-Vision"),
        ({"model_type": "gemma3"}, "multimodal"),
        ({"model_type": "new_vlm", "vision_config": {}}, "multimodal"),
        ({"model_type": "bert_generation_nothing"}, "no causal language model"),
        ({"model_type": "t5"}, "no causal language model"),
        ({"model_type": None}, "'unknown'"),
    ],
)
def test_other_architectures_are_refused_and_never_guessed(changes, says, folders, tmp_path):
    with pytest.raises(UnsupportedModelError, match=says):
        load_adapter(str(rewritten(folders["llama"], tmp_path / "other", **changes)))


def test_llava_with_a_tower_of_its_own_resolution_is_refused():
    adapter = tiny_llava()
    adapter.model.config.vision_config.model_type = "pixtral"
    with pytest.raises(UnsupportedModelError, match="pixtral tower"):
        adapt(adapter.model, adapter.tokenizer, adapter.processing.image_processor)


def test_a_decoder_with_parts_missing_is_refused():
    model = tiny_llama().model
    model.model.norm_by_another_name = model.model._modules.pop("norm")
    with pytest.raises(UnsupportedModelError, match="a final norm named one of norm"):
        adapt(model, tiny_llama().tokenizer)


def test_a_model_in_memory_is_adapted():
    built = tiny_llava()
    adapted = adapt(built.model, built.tokenizer, built.processing.image_processor, name="mine")
    assert adapted.name == "mine"
    inputs = adapted.encode("what is it?", [RED])
    torch.testing.assert_close(capture(adapted, inputs).resid, capture(built, inputs).resid)


def test_dtype_follows_the_checkpoint_but_small_models_run_in_float32_on_a_cpu(tmp_path, monkeypatch):
    folder = str(save(tiny_llama(dtype=torch.bfloat16), tmp_path / "half"))
    assert load_adapter(folder).dtype == torch.float32
    assert load_adapter(folder, dtype="bfloat16").dtype == torch.bfloat16
    assert load_adapter(folder, dtype=torch.float16).dtype == torch.float16
    monkeypatch.setattr("patchlens.models.load.SMALL", 10)
    assert load_adapter(folder).dtype == torch.bfloat16
    with pytest.raises(UnsupportedModelError, match="no data type"):
        load_adapter(folder, dtype="int7")


def test_float32_of_a_half_checkpoint_holds_the_same_weights(tmp_path):
    half = tiny_llama(dtype=torch.bfloat16)
    loaded = load_adapter(str(save(half, tmp_path / "half")))
    torch.testing.assert_close(loaded.unembed.weight, half.unembed.weight.float(), rtol=0, atol=0)


def test_a_device_is_taken_and_a_plan_spreads_the_model(folders):
    adapter = load_adapter(str(folders["llama"]), device_map="cpu")
    assert adapter.device.type == "cpu"
    planned = load_adapter(str(folders["llama"]), device_map={"": "cpu"})
    torch.testing.assert_close(
        capture(planned, planned.encode("a cat", [])).resid,
        capture(adapter, adapter.encode("a cat", [])).resid,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is there")
@pytest.mark.parametrize("device", ["cuda", "nonsense"])
def test_a_device_that_is_not_there_is_refused(device, folders):
    with pytest.raises(SelectionError, match=f"cannot be put on device '{device}'") as caught:
        load_adapter(str(folders["llama"]), device_map=device)
    assert "\n" not in str(caught.value)


def test_an_unembedding_that_is_nowhere_is_refused():
    adapter = tiny_llama()
    with pytest.raises(UnsupportedModelError, match="left off the devices"):
        adapt(adapter.model.to("meta"), adapter.tokenizer)


def test_a_folder_with_its_whole_processor_reads_the_same(tmp_path):
    llava, mllama = tiny_llava(chat=True), tiny_mllama(chat=True)
    whole = {
        llava: LlavaProcessor(
            llava.processing.image_processor,
            llava.tokenizer,
            patch_size=14,
            vision_feature_select_strategy="default",
            chat_template=llava.chat_template,
            num_additional_image_tokens=1,
        ),
        mllama: MllamaProcessor(
            mllama.processing.image_processor, mllama.tokenizer, chat_template=mllama.chat_template
        ),
    }
    for adapter, processor in whole.items():
        folder = tmp_path / adapter.name
        adapter.model.save_pretrained(folder)
        processor.save_pretrained(folder)
        loaded = load_adapter(str(folder))
        assert loaded.chat_template == adapter.chat_template
        ours, theirs = (a.encode("what is it?", [RED]) for a in (adapter, loaded))
        assert ours.text == theirs.text
        for key, tensor in ours.tensors.items():
            torch.testing.assert_close(tensor, theirs.tensors[key])


def test_a_qwen_folder_as_on_the_hub_is_put_together_by_hand(folders, tmp_path):
    folder = rewritten(folders["qwen_vl"], tmp_path / "qwen")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings |= {
        "processor_class": "Qwen2_5_VLProcessor",
        "image_processor_type": "Qwen2VLImageProcessor",
        "min_pixels": settings["size"]["shortest_edge"],
        "max_pixels": settings.pop("size")["longest_edge"],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    template = json.loads((folder / "tokenizer_config.json").read_text()).pop("chat_template", None)
    template = template or (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    built, loaded = tiny_qwen_vl(chat=True), load_adapter(str(folder))
    ours, theirs = (a.encode("what is it?", [RED]) for a in (built, loaded))
    assert ours.text == theirs.text
    for key, tensor in ours.tensors.items():
        torch.testing.assert_close(tensor, theirs.tensors[key])


def test_loading_is_quiet_and_leaves_the_log_as_it_was(folders, capfd):
    transformers_logging.set_verbosity(logging.INFO)
    try:
        load_adapter(str(folders["llava"]))
        assert transformers_logging.get_verbosity() == logging.INFO
        with pytest.raises(ModelNotFoundError):
            load_adapter("nobody/nothing")
        assert transformers_logging.get_verbosity() == logging.INFO
        assert transformers_logging.is_progress_bar_enabled()
    finally:
        transformers_logging.set_verbosity_warning()
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def test_facts_are_stated():
    adapter = tiny_mllama()
    assert isinstance(adapter, Adapter)
    assert isinstance(adapter.model, PreTrainedModel)
    assert adapter.image_marker == "<|image|>"
    assert adapter.vocab_size < len(adapter.tokenizer)
    assert adapter.max_positions == 512
    assert tiny_llama().image_marker is None
