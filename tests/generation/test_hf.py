"""Local generation against plain `generate`, one prompt at a time."""

import copy
import dataclasses

import pytest
import torch

from spillover.generation import GenerationSettings
from spillover.generation.hf import HFGenerator
from spillover.generation.protocol import Generator
from spillover.models import edit_activations
from spillover.models.prefix import common_prefix_length
from spillover.records import Prompt
from spillover.testing import TINY_FAMILIES, tiny_model
from tests.models.builders import random_lora

PROMPTS = [
    Prompt(id=f"p{i}", prompt=text, concept="benign_plain")
    for i, text in enumerate(["Hi", "What is a very long question?", "Why?", "a b c", "Zürich 🧲"])
]
GREEDY = GenerationSettings(max_new_tokens=12, batch_size=2)
SAMPLED = GenerationSettings(max_new_tokens=12, batch_size=2, temperature=1.0, seed=5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model whose answers vary: the head is sharpened, and it now and then stops."""
    loaded = tiny_model(tmp_path_factory.mktemp("varied"))
    with torch.no_grad():
        loaded.model.lm_head.weight.mul_(40)
    return loaded


def texts(loaded, *, prompts=PROMPTS, settings=GREEDY, **options):
    completions = HFGenerator(loaded, "m").generate(prompts, settings=settings, **options)
    return [completion.response for completion in completions]


def plain_greedy(loaded, prompt, *, max_new_tokens=12):
    """Tokens that the model's own `generate` gives for one prompt, cut at the stop token."""
    ids = torch.tensor([loaded.chat.prompt_ids(prompt.prompt)])
    output = loaded.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_new_tokens,
        do_sample=False,
    )
    new = output[0, ids.shape[1] :].tolist()
    return new[: new.index(loaded.chat.stop_id)] if loaded.chat.stop_id in new else new


def test_it_is_a_generator(model):
    assert isinstance(HFGenerator(model, "m"), Generator)
    assert HFGenerator(model, "m").fingerprint == model.fingerprint


def test_every_stop_token_that_the_model_lists_ends_the_decoding(model, monkeypatch):
    prompt, length = PROMPTS[1], 12
    first = plain_greedy(model, prompt, max_new_tokens=length)[0]
    monkeypatch.setattr(model.model.generation_config, "eos_token_id", [first, model.chat.stop_id])
    passes = []
    with monkeypatch.context() as patch:
        forward = model.model.forward
        patch.setattr(model.model, "forward", lambda *a, **k: passes.append(1) or forward(*a, **k))
        (completion,) = HFGenerator(model, "m").generate(
            [prompt], settings=GenerationSettings(max_new_tokens=length)
        )
    assert (completion.n_tokens, completion.finish_reason) == (0, "stop")
    assert len(passes) == 1


def test_completions_come_in_the_order_of_the_prompts(model):
    completions = HFGenerator(model, "m").generate(PROMPTS, settings=GREEDY)
    found = [(c.id, c.prompt, c.concept, c.model) for c in completions]
    assert found == [(p.id, p.prompt, p.concept, "m") for p in PROMPTS]


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_greedy_batches_equal_plain_generate_one_by_one(model, batch_size):
    settings = dataclasses.replace(GREEDY, batch_size=batch_size)
    completions = HFGenerator(model, "m").generate(PROMPTS, settings=settings)
    for prompt, completion in zip(PROMPTS, completions, strict=True):
        expected = plain_greedy(model, prompt)
        assert completion.response == model.chat.decode(expected)
        assert completion.n_tokens == len(expected)
        assert completion.finish_reason == ("length" if len(expected) == 12 else "stop")
    assert len({completion.response for completion in completions}) > 1


@pytest.mark.parametrize("family", sorted(TINY_FAMILIES))
def test_padding_moves_no_family_away_from_plain_generate(family, tiny_family):
    loaded = tiny_family(family)
    expected = [loaded.chat.decode(plain_greedy(loaded, prompt)) for prompt in PROMPTS]
    assert texts(loaded, settings=dataclasses.replace(GREEDY, batch_size=5)) == expected


@pytest.mark.parametrize("family", sorted(TINY_FAMILIES))
def test_a_shared_beginning_moves_no_family_away_from_plain_generate(family, tiny_family):
    loaded = tiny_family(family)
    long = "Please answer the following in one kind and honest sentence: "
    prompts = [dataclasses.replace(prompt, prompt=long + prompt.prompt) for prompt in PROMPTS]
    assert common_prefix_length([loaded.chat.prompt_ids(p.prompt) for p in prompts]) > len(long)
    expected = [loaded.chat.decode(plain_greedy(loaded, prompt)) for prompt in prompts]
    settings = dataclasses.replace(GREEDY, batch_size=3)
    assert texts(loaded, prompts=prompts, settings=settings) == expected


def test_a_response_ends_before_its_stop_token(model):
    loaded = copy.deepcopy(model)
    with torch.no_grad():  # Whatever is asked: the stop token at once.
        loaded.model.lm_head.weight.zero_()
        loaded.model.model.norm.weight.zero_()
        loaded.model.lm_head.bias = torch.nn.Parameter(torch.zeros(259))
        loaded.model.lm_head.bias[loaded.chat.stop_id] = 1.0
    (completion,) = HFGenerator(loaded, "m").generate(PROMPTS[:1], settings=GREEDY)
    assert (completion.response, completion.n_tokens) == ("", 0)
    assert completion.finish_reason == "stop"


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("n_done", [0, 1, 3, 5])
def test_an_interrupted_run_goes_on_with_identical_text(model, settings, n_done):
    whole = HFGenerator(model, "m").generate(PROMPTS, settings=settings)
    fresh = []
    resumed = HFGenerator(model, "m").generate(
        PROMPTS, settings=settings, done=whole[:n_done], on_completion=fresh.append
    )
    assert resumed == whole
    assert sorted(c.id for c in fresh) == [p.id for p in PROMPTS[n_done:]]


def test_batches_that_are_done_are_not_generated_again(model):
    marked = [
        dataclasses.replace(c, response="from before")
        for c in HFGenerator(model, "m").generate(PROMPTS, settings=GREEDY)
    ]
    assert texts(model, done=marked) == ["from before"] * len(PROMPTS)


def test_the_same_seed_gives_the_same_text_and_another_seed_another(model):
    first = texts(model, settings=SAMPLED)
    torch.manual_seed(99)
    assert texts(model, settings=SAMPLED) == first
    assert texts(model, settings=dataclasses.replace(SAMPLED, seed=6)) != first
    assert texts(model, settings=GREEDY) != first


def test_sampling_leaves_the_global_generator_untouched(model):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    texts(model, settings=SAMPLED)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_tiny_nucleus_is_greedy(model):
    narrow = dataclasses.replace(SAMPLED, top_p=1e-6)
    assert texts(model, settings=narrow) == texts(model, settings=GREEDY)


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_generation_settings_that_come_with_the_model_have_no_say(model, settings):
    expected = texts(model, settings=settings)
    loaded = copy.deepcopy(model)
    own = loaded.model.generation_config
    own.update(repetition_penalty=3.0, top_k=1, temperature=0.1, do_sample=True, num_beams=3)
    own.update(no_repeat_ngram_size=1, min_new_tokens=12, suppress_tokens=list(range(3, 200)))
    before = own.to_dict()
    assert texts(loaded, settings=settings) == expected
    assert loaded.model.generation_config is own
    assert own.to_dict() == before


def test_edited_activations_change_the_text_and_afterwards_it_is_as_before(model):
    before = texts(model)
    with edit_activations(
        model.model, model.architecture, site="resid_post", layer=0, edit=lambda x: -x
    ):
        assert texts(model) != before
    assert texts(model) == before


def test_an_adapter_changes_the_text_until_it_is_switched_off(model):
    wrapped = random_lora(model)
    adapted = dataclasses.replace(model, model=wrapped)
    assert texts(adapted) != texts(model)
    with wrapped.disable_adapter():
        assert texts(adapted) == texts(model)
    merged = dataclasses.replace(model, model=copy.deepcopy(wrapped).merge_and_unload())
    assert texts(adapted) == texts(merged)


def test_no_prompts_give_no_completions(model):
    assert texts(model, prompts=[]) == []
