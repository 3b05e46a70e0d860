"""From a name to a model: folders, adapters, hub ids in a local cache, GGUF files, and errors."""

import json
import re

import pytest
import torch

from spillover.errors import ModelError, TemplateError
from spillover.files import fingerprint
from spillover.models import find_architecture
from spillover.models.adapters import write_provenance
from spillover.testing import write_tiny_model
from tests.models.builders import BRIEF, adapter_on, load, logits_of
from tests.models.ggufs import write_gguf

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a function that puts a tiny model into an empty hub cache, as a download would."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(repo, *, commit=COMMIT, branch="main", **settings):
        place = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
        write_tiny_model(place / "snapshots" / commit, **settings)
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / branch).write_text(commit)

    return put


def test_a_folder_is_loaded_for_inference(folder):
    loaded = load(folder)
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    assert loaded.source == str(folder)
    assert loaded.architecture == find_architecture(loaded.model)
    assert loaded.device == torch.device("cpu")
    stop = loaded.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert (loaded.chat.stop_id, loaded.stop_ids) == (stop, [stop])
    assert loaded.pad_id == loaded.tokenizer.pad_token_id


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_have_the_dtype_that_was_asked_for(folder, dtype):
    parameters = load(folder, dtype=dtype).model.parameters()
    assert {p.dtype for p in parameters} == {getattr(torch, dtype)}


def test_every_token_that_ends_a_response_is_a_stop_token(folder):
    file = folder / "generation_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "eos_token_id": [2, 7]}))
    assert load(folder).stop_ids == [2, 7]


def test_without_a_pad_token_padding_is_written_with_the_stop_token(folder):
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    del config["pad_token"]
    file.write_text(json.dumps(config))
    loaded = load(folder)
    assert loaded.tokenizer.pad_token_id is None
    assert loaded.pad_id == loaded.chat.stop_id


# Adapters.


def test_an_adapter_folder_brings_its_base_and_is_merged(folder, tmp_path):
    plain = load(folder)
    adapter = adapter_on(plain, tmp_path / "adapter", base=folder)
    found, given = load(adapter), load(folder, adapter=adapter)
    assert torch.equal(logits_of(found.model), logits_of(given.model))
    assert (logits_of(found.model) - logits_of(plain.model)).abs().max() > 1e-3
    assert found.fingerprint == given.fingerprint != plain.fingerprint
    assert found.architecture == plain.architecture


def test_adapters_upon_adapters_are_merged_from_the_base_up(folder, tmp_path):
    first = adapter_on(load(folder), tmp_path / "first", base=folder, seed=1)
    second = adapter_on(load(first), tmp_path / "second", base=first, seed=2)
    write_provenance(second, base_fingerprint=load(first).weights_fingerprint)
    assert load(second).fingerprint == load(first, adapter=second).fingerprint
    with pytest.raises(ModelError, match="trained on a base with fingerprint"):
        load(folder, adapter=second)


def test_an_adapter_that_is_its_own_base_is_refused(folder, tmp_path):
    adapter = adapter_on(load(folder), tmp_path / "adapter", base=tmp_path / "adapter")
    with pytest.raises(ModelError, match="names itself as its base model"):
        load(adapter)


def test_a_missing_adapter_is_named(folder, tmp_path):
    with pytest.raises(ModelError, match=r"nowhere: no adapter_config.json"):
        load(folder, adapter=tmp_path / "nowhere")


# Hub ids.


def test_a_hub_id_is_loaded_from_the_cache_and_traced_to_its_commit(hub, folder):
    hub("org/tiny")
    loaded = load("org/tiny")
    assert loaded.weights_fingerprint == fingerprint(["org/tiny", COMMIT])
    assert torch.equal(logits_of(loaded.model), logits_of(load(folder).model))


def test_two_commits_of_a_hub_id_have_two_fingerprints(hub):
    hub("org/tiny")
    hub("org/tiny", commit="f" * 40, branch="next", seed=1)
    main, by_commit = load("org/tiny"), load("org/tiny", revision=COMMIT)
    other = load("org/tiny", revision="next")
    assert main.fingerprint == by_commit.fingerprint != other.fingerprint
    assert not torch.equal(logits_of(main.model), logits_of(other.model))


def test_a_revision_that_does_not_exist_is_refused(hub):
    hub("org/tiny")
    with pytest.raises(ModelError, match=r"org/tiny: .*cannot be found.*taken for a hub id"):
        load("org/tiny", revision="nowhere")


@pytest.mark.parametrize("source", ["org/unknown", "unknown"])
def test_a_hub_id_that_is_not_in_the_cache_is_refused_offline(hub, source):
    with pytest.raises(ModelError, match=rf"{source}: .*no folder has this name.*hub id"):
        load(source)


def test_a_revision_of_a_folder_is_refused(folder):
    with pytest.raises(ModelError, match=r"revision 'main': .* only hub ids have revisions"):
        load(folder, revision="main")


# Errors.


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all", "a/b/c"])
def test_a_path_where_nothing_is_is_refused(name):
    with pytest.raises(ModelError, match=r"no such model folder; give a folder, a .gguf file"):
        load(name)


def test_a_file_in_place_of_a_folder_is_called_one(tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    with pytest.raises(ModelError, match=r"note\.txt: is a file; give a folder"):
        load(tmp_path / "note.txt")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"r": 8}, r"adapter_config\.json: base_model_name_or_path is missing; write the base"),
        (
            {"base_model_name_or_path": "/nowhere/base"},
            r"adapter: its base model, '/nowhere/base', is not there \(.*no such model folder",
        ),
    ],
)
def test_an_adapter_whose_base_cannot_be_found_is_named(tmp_path, config, message):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message):
        load(folder)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"neither config.json nor adapter_config.json is there"):
        load(tmp_path)


@pytest.mark.parametrize("dtype", ["float64", "bf16", "int8"])
def test_an_unknown_dtype_is_refused_with_the_choices(folder, dtype):
    with pytest.raises(ModelError, match=f"dtype '{dtype}'.*float32, bfloat16, float16"):
        load(folder, dtype=dtype)


def test_an_unknown_device_is_refused_with_the_choices(folder):
    with pytest.raises(ModelError, match="device 'tpu9' is not known; use auto, cpu, cuda"):
        load(folder, device="tpu9")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(folder):
    with pytest.raises(ModelError, match="torch sees no CUDA device; use cpu"):
        load(folder, device="cuda")


def test_a_folder_without_a_tokenizer_is_refused(folder):
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"its tokenizer cannot be loaded.*needs config.json"):
        load(folder)


def test_a_tokenizer_of_another_model_is_refused(folder):
    config = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = config["model"]["vocab"]
    vocabulary.update({f"word{i}": len(vocabulary) + i for i in range(50)})
    (folder / "tokenizer.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"has 309 tokens, but the model only 259 embeddings"):
        load(folder)


def test_a_tokenizer_with_an_unused_token_beyond_the_embeddings_is_accepted(folder):
    loaded = load(folder)
    loaded.tokenizer.add_tokens(["<image>"], special_tokens=True)
    loaded.tokenizer.save_pretrained(folder)
    assert len(load(folder).tokenizer) == 260


def test_pickled_weights_are_refused(folder):
    weights = load(folder).model.state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="the model cannot be loaded"):
        load(folder)


def test_damaged_weights_are_refused(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="the model cannot be loaded"):
        load(folder)


def test_a_damaged_configuration_is_refused(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(folder)


# Chat templates.


def test_a_model_without_a_template_is_refused_and_a_file_is_the_remedy(tmp_path):
    folder = write_tiny_model(tmp_path / "base", chat_template=None)
    with pytest.raises(TemplateError, match=r"no chat template; give one with `chat_template"):
        load(folder)
    file = tmp_path / "template.jinja"
    file.write_text(BRIEF, encoding="utf-8")
    assert load(folder, chat_template=file).chat.render("Hi").startswith("Be brief.<|im_start|>")


def test_a_template_file_that_is_missing_is_named(folder):
    with pytest.raises(ModelError, match=r"chat_template: nowhere.jinja: no such file"):
        load(folder, chat_template="nowhere.jinja")


# GGUF.


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPILLOVER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_gguf_file_gives_the_same_logits_and_the_same_chat(tiny, tmp_path, cache):
    loaded = load(write_gguf(tmp_path / "tiny.gguf", tiny))
    found, expected = logits_of(loaded.model)[..., :-1], logits_of(tiny.model)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert loaded.chat.render("Hi") == tiny.chat.render("Hi")
    assert loaded.stop_ids == tiny.stop_ids


def test_a_gguf_file_is_converted_once_and_nothing_else_is_left_in_the_cache(tiny, tmp_path, cache):
    file = write_gguf(tmp_path / "tiny.gguf", tiny)
    first = load(file)
    (converted,) = cache.iterdir()
    before = (converted / "model.safetensors").stat().st_mtime_ns
    assert load(file).fingerprint == first.fingerprint
    assert (converted / "model.safetensors").stat().st_mtime_ns == before
    assert re.fullmatch(r"tiny-[0-9a-f]{12}", converted.name)


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing_behind(tmp_path, cache):
    (tmp_path / "bad.gguf").write_bytes(b"not a model at all, but long enough to be read")
    with pytest.raises(ModelError, match=r"bad.gguf: transformers cannot read this GGUF file"):
        load(tmp_path / "bad.gguf")
    assert list(cache.iterdir()) == []


def test_a_gguf_file_that_is_missing_is_named():
    with pytest.raises(ModelError, match=r"nowhere.gguf: no such GGUF file"):
        load("nowhere.gguf")
