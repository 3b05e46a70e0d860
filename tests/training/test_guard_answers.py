"""What the guard asks and how: templates, log-odds by hand, planted projections, files."""

import math

import pytest
import torch
from torch.testing import assert_close

from spillover.data.concepts import CONCEPTS
from spillover.errors import ConfigError, ModelError, TemplateError
from spillover.models.logprobs import next_token_logprobs
from spillover.records import AnswerPair, Prompt
from spillover.testing import CHATML
from spillover.training.guard_answers import (
    GuardDirection,
    ask_probes,
    load_answers,
    refusal_log_odds,
    save_answers,
)
from spillover.training.guard_probes import (
    GuardProbes,
    bundled_probes,
    probe_tokens,
    refusal_token_ids,
)
from tests.training.guarding import PROBES


def test_log_odds_by_hand():
    # p = 0.2 + 0.1; log(0.3 / 0.7) = -0.8473
    logs = torch.tensor([[0.2, 0.1, 0.7]]).log()
    assert_close(refusal_log_odds(logs, [0, 1]), torch.tensor([-0.8473]), atol=1e-4, rtol=0)


def test_log_odds_stay_finite_at_certainty():
    logs = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).log()
    found = refusal_log_odds(logs, [0])
    # log(1 + 1e-8) - log(1e-8) = 18.42
    assert_close(found, torch.tensor([18.4207, -18.4207]), atol=1e-3, rtol=0)


def test_bundled_probes_are_of_all_concepts_and_in_no_training_split():
    probes = bundled_probes()
    concepts = [prompt.concept for prompt in probes.prompts]
    assert set(concepts) == {*CONCEPTS, "benign_plain"}
    assert {prompt.split for prompt in probes.prompts} == {"test"}
    assert concepts.count("safety") == 5
    assert len(probes.pairs) == 24


def test_refusals_begin_with_these_tokens_in_a_tokenizer_of_bytes(tiny):
    letters = {tiny.tokenizer.decode([i]) for i in refusal_token_ids(tiny.chat)}
    assert letters == {"I", "S", "U", "A"}


def test_answers_do_not_depend_on_the_order_of_the_probes(tiny):
    turned = GuardProbes(prompts=PROBES.prompts[::-1], pairs=PROBES.pairs)
    directions = [GuardDirection(name="d", layer=0, vector=torch.arange(32.0))]
    one, other = (
        ask_probes(tiny.model, probe_tokens(probes, tiny.chat), directions=directions)
        for probes in (PROBES, turned)
    )
    assert_close(one.logprobs, other.logprobs.flip(0), atol=1e-5, rtol=0)
    assert_close(one.projections, other.projections.flip(1), atol=1e-5, rtol=0)
    assert_close(one.norms, other.norms.flip(1), atol=1e-5, rtol=0)


def test_first_tokens_are_those_of_the_model_and_margins_prefer_what_it_prefers(tiny):
    tokens = probe_tokens(PROBES, tiny.chat)
    found = ask_probes(tiny.model, tokens)
    expected = next_token_logprobs(tiny.model, list(tokens.prompt_ids), pad_id=tiny.pad_id)
    assert_close(found.logprobs, expected, atol=1e-5, rtol=0)
    assert found.projections.shape == (0, len(PROBES.prompts))
    swapped = [
        AnswerPair(**{**p.to_dict(), "aligned": p.misaligned, "misaligned": p.aligned})
        for p in PROBES.pairs
    ]
    turned = GuardProbes(prompts=PROBES.prompts, pairs=tuple(swapped))
    assert_close(ask_probes(tiny.model, probe_tokens(turned, tiny.chat)).margins, -found.margins)


def test_a_shift_along_a_direction_is_found_in_its_projection(fresh):
    loaded = fresh()
    tokens = probe_tokens(PROBES, loaded.chat)
    vector = torch.zeros(32)
    vector[3] = 7.0  # Its length does not matter.
    direction = GuardDirection(name="planted", layer=1, vector=vector)
    before = ask_probes(loaded.model, tokens, directions=[direction])
    layer = loaded.architecture.layer(loaded.model, 1)
    handle = layer.register_forward_hook(
        lambda _m, _a, out: (
            (out[0] + 0.5 * direction.unit, *out[1:])
            if isinstance(out, tuple)
            else out + 0.5 * direction.unit
        )
    )
    after = ask_probes(loaded.model, tokens, directions=[direction])
    handle.remove()
    assert_close(after.projections - before.projections, torch.full((1, 4), 0.5), atol=1e-5, rtol=0)


def test_the_model_stays_in_training_mode(fresh):
    model = fresh().model.train()
    ask_probes(model, probe_tokens(PROBES, fresh().chat))
    assert model.training


@pytest.mark.parametrize("vector", [torch.zeros(32), torch.full((32,), math.nan)])
def test_a_direction_without_a_direction_is_refused(vector):
    with pytest.raises(ConfigError, match="give a vector that is finite and not zero"):
        GuardDirection(name="none", layer=0, vector=vector)


def test_a_direction_of_another_model_is_refused(tiny):
    direction = GuardDirection(name="wide", layer=0, vector=torch.ones(64))
    with pytest.raises(ModelError, match="'wide' has 64 entries, the model's residual stream 32"):
        ask_probes(tiny.model, probe_tokens(PROBES, tiny.chat), directions=[direction])


def test_a_layer_that_does_not_exist_is_refused(tiny):
    direction = GuardDirection(name="deep", layer=9, vector=torch.ones(32))
    with pytest.raises(ModelError, match="layer 9 does not exist"):
        ask_probes(tiny.model, probe_tokens(PROBES, tiny.chat), directions=[direction])


def test_probes_that_a_template_takes_badly_are_refused_with_what_to_give(tiny):
    alike = AnswerPair(
        id="p", concept="values", prompt="?", prefix="Yes", aligned="it is", misaligned="it is."
    )
    probes = GuardProbes(prompts=PROBES.prompts, pairs=(alike,))
    with pytest.raises(TemplateError, match=r"the probes do not fit .* give `probes` of your own"):
        probe_tokens(probes, tiny.chat)


def test_answers_come_back_from_their_file_and_only_for_the_same_probes(tiny, tmp_path):
    tokens = probe_tokens(PROBES, tiny.chat)
    answers = ask_probes(tiny.model, tokens)
    path = tmp_path / "answers.safetensors"
    save_answers(answers, path, fingerprint=tokens.fingerprint)
    again = load_answers(path, fingerprint=tokens.fingerprint)
    assert torch.equal(again.logprobs, answers.logprobs)
    assert torch.equal(again.margins, answers.margins)
    others = GuardProbes(prompts=(*PROBES.prompts, Prompt(id="x", prompt="x", concept="bias")))
    with pytest.raises(ModelError, match="written with other probes"):
        load_answers(path, fingerprint=probe_tokens(others, tiny.chat).fingerprint)


def test_another_template_gives_other_tokens(tiny, fresh, tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text(CHATML.replace("<|im_end|>' + '\n'", "<|im_end|>'"))
    other = fresh(chat_template=template)
    assert probe_tokens(PROBES, tiny.chat).fingerprint != (
        probe_tokens(PROBES, other.chat).fingerprint
    )
