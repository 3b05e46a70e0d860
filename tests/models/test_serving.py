"""What vLLM reads of an adapter's configuration, and what it would refuse or ignore."""

import shlex

import pytest

from spillover.errors import ModelError
from spillover.files import read_json, write_json
from spillover.models import serving
from spillover.models.adapters import add_lora
from spillover.models.lora_biases import quiet_about_biases
from spillover.models.serving import VLLM_RANKS, vllm_command, vllm_problems
from spillover.models.steering_vectors import add_steering_vector
from spillover.testing import tiny_model


def adapter_folder(tmp_path, make):
    loaded = tiny_model(tmp_path / "base")
    with quiet_about_biases():
        make(loaded).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def lora(**options):
    return lambda loaded: add_lora(loaded.model, loaded.architecture, **options)


@pytest.mark.parametrize(
    "options", [{"rank": 4}, {"rank": 20, "rank_stabilised": True}, {"rank": 1, "layers": [1]}]
)
def test_every_kind_of_our_lora_is_served(tmp_path, options):
    folder = adapter_folder(tmp_path, lora(**options))
    assert vllm_problems(folder) == []
    expected = next(rank for rank in VLLM_RANKS if rank >= options["rank"])
    assert f"--enable-lora --max-lora-rank {expected} --lora-modules adapter=" in vllm_command(
        folder
    )


def test_the_line_can_be_given_as_it_is_wherever_the_model_lies(tmp_path, monkeypatch):
    folder = adapter_folder(tmp_path / "my models", lora(rank=4))
    words = shlex.split(vllm_command(folder))
    assert words[:3] == ["vllm", "serve", str(tmp_path / "my models" / "base")]
    assert words[-1] == f"adapter={folder}"
    # vLLM knows no model of that name: the embedded one is given by its folder.
    config = read_json(folder / "adapter_config.json")
    write_json(folder / "adapter_config.json", {**config, "base_model_name_or_path": "embedded"})
    monkeypatch.setattr(serving, "embedded_folder", lambda: tmp_path / "smollm2")
    assert shlex.split(vllm_command(folder))[2] == str(tmp_path / "smollm2")


def test_a_steering_vector_has_to_be_merged(tmp_path):
    def steering(loaded):
        return add_steering_vector(loaded.model, loaded.architecture, layer=1)

    folder = adapter_folder(tmp_path, steering)
    assert any("lora_bias" in problem for problem in vllm_problems(folder))
    with pytest.raises(ModelError, match=r"vLLM cannot serve this adapter: .*export it merged"):
        vllm_command(folder)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"modules_to_save": ["lm_head"]}, "serves no modules that were trained whole"),
        ({"use_dora": True}, "it has no DoRA"),
        ({"bias": "all"}, "it has no biases"),
        ({"rank_pattern": {"q_proj": 2}}, "one rank for all modules"),
        ({"r": 1024}, "takes ranks up to 512"),
        ({"lora_alpha": None}, "lora_alpha missing"),
    ],
)
def test_what_vllm_cannot_serve_is_said(tmp_path, change, problem):
    folder = adapter_folder(tmp_path, lora(rank=4))
    config = read_json(folder / "adapter_config.json")
    write_json(folder / "adapter_config.json", {**config, **change})
    (found,) = vllm_problems(folder)
    assert problem in found


def test_a_folder_without_an_adapter_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"no adapter_config\.json; give a PEFT adapter folder"):
        vllm_problems(tmp_path)
