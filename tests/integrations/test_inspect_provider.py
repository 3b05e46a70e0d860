"""Our local backend in Inspect: our own generators, batched, under adapters and hooks."""

import copy

import pytest
import torch

pytest.importorskip("inspect_ai")

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    GenerateConfig,
    get_model,
)
from inspect_ai.solver import generate

from spillover.errors import ConfigError
from spillover.generation import GenerationSettings
from spillover.generation.hf import HFGenerator
from spillover.integrations import inspect_provider
from spillover.integrations.inspect_provider import SpilloverAPI, local_model
from spillover.integrations.inspect_tasks import seeded_generate
from spillover.models import edit_activations, load_model
from spillover.records import Prompt
from spillover.testing import write_tiny_model
from tests.integrations.inspecting import evaluate
from tests.models.builders import adapter_on, load

WORDS = ["Hi", "What is a very long question?", "Why?", "a b c", "Zürich", "one more", "last"]


@pytest.fixture(scope="module")
def varied(tiny):
    """A tiny model whose answers vary: the head is sharpened."""
    loaded = copy.deepcopy(tiny)
    with torch.no_grad():
        loaded.model.lm_head.weight.mul_(40)
    return loaded


def task(*inputs, max_tokens=8, solver=None, **options):
    dataset = [Sample(id=f"s{place}", input=one) for place, one in enumerate(inputs or WORDS)]
    config = GenerateConfig(max_tokens=max_tokens, **options)
    return Task(dataset=dataset, solver=solver or generate(), config=config)


def said(log):
    """Return the completions by sample and epoch."""
    found = {(sample.id, sample.epoch): sample.output.completion for sample in log.samples}
    return [found[key] for key in sorted(found)]


def expected(loaded, words=WORDS):
    prompts = [Prompt(id=str(i), prompt=text, concept="c") for i, text in enumerate(words)]
    settings = GenerationSettings(max_new_tokens=8, batch_size=1)
    answers = HFGenerator(loaded, "m").generate(prompts, settings=settings)
    return [answer.response for answer in answers]


def test_the_text_is_that_of_our_generator_and_requests_share_batches(
    varied, tmp_path, monkeypatch
):
    sizes = []
    plain = SpilloverAPI._answer

    def counted(self, conversations):
        sizes.append(len(conversations))
        return plain(self, conversations)

    monkeypatch.setattr(SpilloverAPI, "_answer", counted)
    log = evaluate(task(), local_model(varied, name="tiny", batch_size=4), tmp_path)
    assert said(log) == expected(varied)
    assert sorted(sizes) == [3, 4]
    assert log.eval.model == "spillover/tiny"


def test_lengths_and_ends_are_reported(varied, tmp_path):
    log = evaluate(task("Hi"), local_model(varied, name="tiny"), tmp_path)
    output = log.samples[0].output
    assert output.usage.input_tokens == len(varied.chat.prompt_ids("Hi"))
    assert output.usage.total_tokens == output.usage.input_tokens + output.usage.output_tokens
    assert output.stop_reason == ("max_tokens" if output.usage.output_tokens == 8 else "stop")


def test_system_prompts_and_earlier_turns_reach_the_model(varied, tmp_path):
    turns = [
        ChatMessageSystem(content="Be brief."),
        ChatMessageUser(content="Hi"),
        ChatMessageAssistant(content="Yes?"),
        ChatMessageUser(content="Why?"),
    ]
    log = evaluate(task(turns), local_model(varied, name="tiny"), tmp_path)
    n_turns = varied.chat.render_turns([{"role": t.role, "content": t.text} for t in turns])
    assert log.samples[0].output.usage.input_tokens == len(
        varied.tokenizer(n_turns, add_special_tokens=False)["input_ids"]
    )


def test_a_hook_on_the_model_takes_effect(varied, tmp_path):
    model = local_model(varied, name="tiny")
    with edit_activations(
        varied.model, varied.architecture, site="resid_post", layer=0, edit=lambda x: x.flip(-1)
    ):
        steered = said(evaluate(task(), model, tmp_path))
        assert steered == expected(varied)
    assert said(evaluate(task(), model, tmp_path)) == expected(varied) != steered


@pytest.mark.parametrize("way", ["folder", "adapter option", "adapter folder"])
def test_folders_and_adapters_are_loaded_by_name(way, tmp_path):
    folder = write_tiny_model(tmp_path / "tiny")
    adapter = adapter_on(load(folder), tmp_path / "adapter", base=folder)
    source = adapter if way == "adapter folder" else folder
    options = {"adapter": str(adapter)} if way == "adapter option" else {}
    model = get_model(f"spillover/{source}", dtype="float32", memoize=False, **options)
    log = evaluate(task(), model, tmp_path / "logs")
    own = load(folder) if way == "folder" else load(adapter)
    assert said(log) == expected(own)
    assert log.eval.model == f"spillover/{source}"


def test_sampling_with_a_seed_repeats_itself_and_without_one_does_not(varied, tmp_path):
    model = local_model(varied, name="tiny")

    def sampled(**options):
        asked = task("Hi", "Why?", max_tokens=16, temperature=1.0, **options)
        return said(evaluate(asked, model, tmp_path, epochs=2))

    assert sampled(seed=3) == sampled(seed=3) != sampled(seed=4)
    assert sampled() != sampled()


def test_our_solver_gives_each_epoch_a_seed_of_its_own(varied, tmp_path):
    asked = task("Hi", "Why?", max_tokens=16, temperature=1.0, solver=seeded_generate(seed=1))
    found = said(evaluate(asked, local_model(varied, name="tiny"), tmp_path, epochs=4))
    assert len(set(found)) == 8
    asked = task("Hi", "Why?", max_tokens=16, temperature=1.0, solver=seeded_generate(seed=1))
    again = local_model(varied, name="tiny", batch_size=3)
    assert said(evaluate(asked, again, tmp_path, epochs=4)) == found


@pytest.mark.parametrize(
    ("option", "value"), [("top_k", 5), ("stop_seqs", ["."]), ("logprobs", True)]
)
def test_a_setting_that_it_cannot_honour_is_an_error(option, value, varied, tmp_path):
    model = local_model(varied, name="tiny")
    log = evaluate(task("Hi", **{option: value}), model, tmp_path, status="error")
    assert f"spillover/ models cannot do {option}" in log.error.message


def test_an_image_is_an_error(varied, tmp_path):
    pixel = "data:image/png;base64,iVBORw0KGgo="
    asked = [ChatMessageUser(content=[ContentImage(image=pixel)])]
    log = evaluate(task(asked), local_model(varied, name="tiny"), tmp_path, status="error")
    assert "not image" in log.error.message


def test_a_model_that_is_not_there_is_an_error_that_says_so(tmp_path):
    model = get_model("spillover/./nowhere", memoize=False)
    log = evaluate(task("Hi"), model, tmp_path, status="error")
    assert "./nowhere: no such model folder" in log.error.message


def test_an_unknown_option_is_refused_before_anything_is_loaded():
    with pytest.raises(ConfigError, match="-M dtpye: not an option of spillover/ models"):
        get_model("spillover/embedded", dtpye="float32", memoize=False)


def test_every_option_is_an_argument_of_load_model():
    from inspect import signature

    assert set(inspect_provider.LOAD_OPTIONS) <= set(signature(load_model).parameters)
