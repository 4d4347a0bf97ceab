"""A bank holds the states it says it holds, and the words in it are found again by them."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from lens_oracle import Oracle
from torch.nn.functional import normalize

from patchlens.capture import capture
from patchlens.errors import DataError, FormatError, LensError, NumericsError, PromptError, SelectionError
from patchlens.fit.contexts import Occurrence, build_bank, choose, source_layers
from patchlens.lens.bank import Bank
from patchlens.lens.embedding import EmbeddingLens
from patchlens.lens.files import read_lens, write_lens
from patchlens.lens.latent import LatentLens
from patchlens.models.inputs import prepare
from patchlens.reading.store import open_reading
from patchlens.run import Model, load
from patchlens.scenes.scene import make_scene
from patchlens.views.html import page
from patchlens.views.payload import pack
from tiny import CORPUS, tiny_gpt2, tiny_llama, tiny_llava, tiny_mllama, tiny_qwen_vl
from views import unpacked

TEXTS = [*CORPUS, "", "   ", "the dog sits on the cat", "a cat, a dog and a cat"]
BUILDERS = {"llava": tiny_llava, "mllama": tiny_mllama, "qwen": tiny_qwen_vl, "gpt2": tiny_gpt2}


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


@pytest.fixture(scope="module")
def bank(llama):
    return build_bank(Model(llama), TEXTS, layers=[1, 3], per_type=3, seed=4)


# -- choosing ------------------------------------------------------------------------------------------------


def test_layers_double_up_to_the_last_but_one():
    assert source_layers(32) == (1, 2, 4, 8, 16, 31)
    assert source_layers(8) == (1, 2, 4, 7)
    assert source_layers(3) == (1, 2)
    assert source_layers(2) == source_layers(1) == (1,)


def test_every_occurrence_has_the_same_chance_and_no_token_has_too_many():
    stream = [[(token, Occurrence(str(i), 1, i * 10 + token)) for token in (5, 7)] for i in range(12)]
    kept = Counter()
    for seed in range(1500):
        chosen = choose(stream, 3, seed)
        assert {token: len(own) for token, own in chosen.items()} == {5: 3, 7: 3}
        kept.update(own.text for own in chosen[5])
    assert choose(stream, 3, 8) == choose(stream, 3, 8) != choose(stream, 3, 9)
    expected = 1500 * 3 / 12
    assert all(abs(kept[str(i)] - expected) < 5 * expected**0.5 for i in range(12))


def test_what_a_causal_model_sees_alike_is_taken_once(llama):
    bank = build_bank(Model(llama), ["the cat sits", "the cat sits", "the cat is here"], layers=[1])
    assert bank.tokens.tolist().count(llama.tokenizer.convert_tokens_to_ids("Ġcat")) == 1
    rows = {(int(s), int(p)) for s, p in zip(bank.sentence_rows, bank.positions, strict=True)}
    assert len(rows) == len(bank.tokens)


# -- what it holds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", BUILDERS)
def test_each_state_is_the_model_s_own_at_the_place_it_names(family):
    adapter = BUILDERS[family]()
    bank = build_bank(Model(adapter), TEXTS, dtype=torch.float32, per_type=2)
    assert bank.layers == source_layers(adapter.n_layers)
    for sentence in range(len(bank.sentences)):
        inputs = prepare(adapter, bank.sentences[sentence], chat=False)
        resid = capture(adapter, inputs, layers=bank.layers).resid
        for row in (bank.sentence_rows == sentence).nonzero().flatten().tolist():
            place = int(bank.positions[row])
            assert place > 0 and inputs.places.kind[place] == "text"
            assert inputs.ids[place] == bank.tokens[row]
            torch.testing.assert_close(
                bank.states[:, row], normalize(resid[:, place], dim=-1), atol=1e-6, rtol=0
            )
    assert bank.tokens.tolist() == sorted(bank.tokens.tolist())
    assert max(Counter(bank.tokens.tolist()).values()) == 2
    assert set(bank.pieces) == set(bank.tokens.tolist())


def test_a_bank_follows_its_seed_and_its_texts_alone(llama, bank):
    again = build_bank(Model(llama), iter(TEXTS), layers=[3, 1], per_type=3, seed=4)
    other = build_bank(Model(llama), TEXTS, layers=[1, 3], per_type=3, seed=5)
    assert torch.equal(again.states, bank.states) and again.sentences == bank.sentences
    assert bank.states.dtype == torch.float16
    assert not torch.equal(other.positions, bank.positions) or other.sentences != bank.sentences


def test_half_precision_changes_a_similarity_by_less_than_said(llama, bank):
    full = build_bank(Model(llama), TEXTS, layers=[1, 3], per_type=3, seed=4, dtype=torch.float32)
    near = normalize(bank.states.double(), dim=-1) * normalize(full.states.double(), dim=-1)
    assert float((1 - near.sum(-1)).abs().max()) < 1e-4


def test_a_chat_template_is_used_when_asked_for():
    adapter = tiny_llava(chat=True)
    plain, chat = (build_bank(Model(adapter), ["a red cat"], chat=chat) for chat in (False, True))
    assert len(chat.tokens) > len(plain.tokens)
    assert plain.sentences == chat.sentences == ("a red cat",)


def test_what_cannot_be_built_is_refused(llama):
    with pytest.raises(DataError, match="the texts hold no word"):
        build_bank(Model(llama), ["", " \n"])
    with pytest.raises(SelectionError, match="per_type is 0"):
        build_bank(Model(llama), TEXTS, per_type=0)
    with pytest.raises(SelectionError, match="layer 9 does not exist"):
        build_bank(Model(llama), TEXTS, layers=[9])
    with pytest.raises(PromptError, match="text 2: the prompt has"):
        build_bank(Model(llama), ["a cat", "a cat " * 600])


def test_progress_is_told_per_text(llama):
    told = []
    bank = build_bank(Model(llama), TEXTS, layers=[1], progress=lambda *at: told.append(at))
    assert told == [(i + 1, len(bank.sentences)) for i in range(len(bank.sentences))]


# -- finding -------------------------------------------------------------------------------------------------


def test_planted_states_are_found_with_sentence_place_and_layer(bank):
    lens = LatentLens(bank)
    for source, layer in enumerate(bank.layers):
        rows = range(0, len(bank.tokens), 7)
        found = lens.neighbours(bank.states[source, list(rows)].float() * 30, k=2)
        for row, (best, second) in zip(rows, found, strict=True):
            assert best.similarity == pytest.approx(1, abs=1e-6) and second.similarity <= best.similarity
            assert best.layer == layer
            assert best.token == bank.tokens[row] and best.word == bank.pieces[best.token]
            assert best.sentence == bank.sentences[int(bank.sentence_rows[row])]
            assert best.position == bank.positions[row]


def test_neighbours_can_be_kept_to_one_layer(bank):
    lens = LatentLens(bank)
    state = bank.states[0, :1].float()
    assert {n.layer for n in lens.neighbours(state, 3, 4)[0]} == {3}
    near = normalize(bank.states[1].double(), dim=-1) @ normalize(state[0].double(), dim=0)
    assert lens.neighbours(state, 3, 1)[0][0].similarity == pytest.approx(float(near.max()), abs=1e-6)
    with pytest.raises(SelectionError, match="no states of layer 2: choose 1, 3"):
        lens.neighbours(state, 2)
    with pytest.raises(NumericsError, match="a state is not finite"):
        lens.neighbours(state * torch.nan)


# -- reading -------------------------------------------------------------------------------------------------


def make_lens(adapter, name):
    if name == "embedding":
        return EmbeddingLens.of(adapter)
    return LatentLens(build_bank(Model(adapter), TEXTS, per_type=4))


def similarities(resid, lens, vocab):
    """Best cosine similarity of every token in float64, -1 without a state."""
    states, tokens = (
        (lens.embeddings[None, :vocab], torch.arange(len(lens.embeddings[:vocab])))
        if isinstance(lens, EmbeddingLens)
        else (lens.bank.states, lens.bank.tokens)
    )
    best = torch.full((*resid.shape[:2], vocab), -1.0, dtype=torch.float64)
    for source in states:
        near = normalize(resid.double(), dim=-1) @ normalize(source.double(), dim=-1).T
        best.scatter_reduce_(2, tokens.expand(near.shape), near, "amax")
    return best


@pytest.mark.parametrize("name", ["embedding", "latent"])
@pytest.mark.parametrize("family", ["llava", "mllama", "qwen", "gpt2", "demo"])
def test_a_reading_is_whole_and_says_what_its_numbers_are(family, name, tmp_path):
    adapter = load("demo").adapter if family == "demo" else BUILDERS[family]()
    image = None if family == "gpt2" else make_scene(5).image
    trace = Model(adapter).trace(image, "a red cat", max_new_tokens=2, steps=True)
    lens = make_lens(adapter, name)
    reading = trace.read(lens, top_k=6, targets=["cat", "zebra"])
    again = open_reading(reading.save(tmp_path / "r.safetensors"))
    assert again.lens == name and again.lens_params == dict(lens.params())
    assert any(f"the {name} lens compares states" in note for note in again.notes)
    assert "compares states" in str(unpacked.split(pack(again))[0])
    assert page(again)
    assert all(len(set(cell)) == 6 for cell in again.top_ids.reshape(-1, 6).tolist())
    scores = similarities(trace.resid, lens, adapter.vocab_size) / 0.05
    expected = Oracle(scores, adapter.unembed.logits(trace.captured.final).detach().double())
    np.testing.assert_allclose(reading.kl_to_final, expected.kl, atol=2e-4, rtol=1e-4)
    np.testing.assert_allclose(reading.top_logprobs, expected.top(6)[0], atol=1e-4)
    assert reading.kl_to_final[-1].max() > 0.1  # the last layer is not the model's answer


def test_the_channels_name_the_nearest_state(bank, llama):
    trace = Model(llama).trace(None, "a red cat sits on the grass beside", max_new_tokens=0)
    lens = LatentLens(bank)
    reading = trace.read(lens, top_k=1)
    source, near = (channel for channel in reading.channels)
    assert (source.name, near.name) == ("latent_source_layer", "latent_similarity")
    assert source.axes == near.axes == ("layer", "pos")
    for layer in range(len(reading.layers)):
        for position, (best,) in enumerate(lens.neighbours(trace.resid[layer], k=1)):
            assert reading.top_ids[layer, position, 0] == best.token
            assert source.values[layer, position] == best.layer
            assert near.values[layer, position] == pytest.approx(best.similarity, abs=1e-6)
    back = 0.05 * (reading.top_logprobs[..., 0] + reading.logsumexp)
    np.testing.assert_allclose(back, near.values, atol=2e-6)


def test_a_bank_finds_itself_through_a_reading(llama):
    texts = ["a red cat sits on the grass", "is there a cat? yes"]
    bank = build_bank(Model(llama), texts, layers=[2], dtype=torch.float32)
    trace = Model(llama).trace(None, texts[0], max_new_tokens=0)
    reading = trace.read(LatentLens(bank), top_k=1)
    words = reading.positions.kind == "text"
    assert (reading.top_ids[2, words, 0] == reading.positions.token[words]).all()
    np.testing.assert_allclose(reading.channels[1].values[2, words], 1, atol=1e-6)


# -- files ---------------------------------------------------------------------------------------------------


def test_a_bank_survives_its_file(bank, llama, tmp_path):
    lens = LatentLens(bank, temperature=0.1)
    path = write_lens(lens, tmp_path / "l.safetensors", model=llama.name, unembed=llama.unembed)
    again = read_lens(path, llama.unembed)
    assert isinstance(again, LatentLens) and again.temperature == 0.1 and again.file
    for name, array in bank.to_arrays().items():
        assert torch.equal(again.bank.to_arrays()[name], array), name
    assert again.bank.facts() == bank.facts() and again.bank.sentences == bank.sentences
    assert again.bank.pieces == bank.pieces and again.bank.layers == bank.layers
    state = bank.states[0, :2].float()
    assert again.neighbours(state, k=3) == lens.neighbours(state, k=3)
    assert json.dumps(dict(again.params()))


def test_text_of_any_script_survives(llama, tmp_path):
    texts = ["ein Hund für 猫 🦒", "क\u0301 и Ж"]
    bank = build_bank(Model(llama), texts, layers=[1])
    path = write_lens(LatentLens(bank), tmp_path / "l.safetensors", model="m", unembed=llama.unembed)
    assert read_lens(path).bank.sentences == bank.sentences
    assert set(bank.sentences) == set(texts)


def test_a_foreign_file_is_refused(bank, llama, tmp_path):
    path = write_lens(LatentLens(bank), tmp_path / "l.safetensors", model="m", unembed=llama.unembed)
    with pytest.raises(LensError, match="another model"):
        read_lens(path, tiny_llama(seed=3).unembed)
    data = path.read_bytes()
    for part in (data[:-100], data[:50], b"", b"PK\x03\x04" + data):
        path.write_bytes(part)
        with pytest.raises(FormatError):
            read_lens(path)
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    with pytest.raises(FormatError, match="damaged"):
        read_lens(path)


def changed(name, change):
    def work(arrays, facts):
        arrays[name] = change(arrays[name])

    return work


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda arrays, facts: arrays.pop("states"), "KeyError"),
        (lambda arrays, facts: facts.pop("seed"), "KeyError"),
        (changed("states", lambda x: x[:, :-1]), "columns do not fit"),
        (changed("states", lambda x: x[:1]), "columns do not fit"),
        (changed("states", lambda x: x[0]), "of shape"),
        (changed("states", lambda x: x.int()), "states are torch.int32"),
        (changed("states", lambda x: x * torch.inf), "not finite"),
        (changed("tokens", lambda x: x.flip(0)), "do not rise"),
        (changed("tokens", lambda x: x + 10_000), "no piece"),
        (changed("positions", lambda x: -x), "no number from 0"),
        (changed("sentence_rows", lambda x: x + 1000), "not there"),
        (changed("layers", lambda x: x.flip(0)), "do not rise"),
        (changed("sentence.bytes", lambda x: x[:-1]), "do not fit their bytes"),
        (changed("sentence.bytes", lambda x: x | 0x80), "Unicode"),
        (changed("sentence.ends", lambda x: x.flip(0)), "do not fit their bytes"),
        (changed("piece.ids", lambda x: x[:-1]), "ValueError"),
    ],
)
def test_a_bank_that_contradicts_itself_is_refused(bank, damage, says):
    arrays, facts = dict(bank.to_arrays()), dict(bank.facts())
    damage(arrays, facts)
    with pytest.raises(FormatError, match=says):
        Bank.from_arrays(arrays, facts)


def test_a_lens_without_a_temperature_is_refused(bank):
    with pytest.raises(FormatError, match="temperature None"):
        LatentLens.from_arrays(bank.to_arrays(), bank.facts())
