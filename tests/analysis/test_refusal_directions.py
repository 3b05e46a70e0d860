"""The refusal direction: candidates, criteria, and a planted one that is found again."""

import numpy as np
import pytest
import torch

from spillover.analysis.refusal_candidates import (
    RefusalCandidates,
    post_instruction_length,
    refusal_candidates,
)
from spillover.analysis.refusal_directions import find_refusal_direction
from spillover.analysis.refusal_readout import refusal_log_odds
from spillover.analysis.refusal_selection import select_refusal_direction
from spillover.analysis.refusal_tokens import find_refusal_tokens
from spillover.models import record_activations
from spillover.models.logprobs import next_token_logprobs
from spillover.models.steering import ablate_directions, add_direction
from tests.analysis.planted_refusals import REFUSAL, planted_model, prompts, token_id


@pytest.fixture(scope="module")
def planted(tiny):
    return planted_model(tiny)


def log_odds(loaded, texts):
    ids = [loaded.chat.prompt_ids(text) for text in texts]
    logprobs = next_token_logprobs(loaded.model, ids, pad_id=loaded.pad_id)
    return refusal_log_odds(logprobs, [token_id(loaded, REFUSAL)])


def found_in(loaded, **settings):
    given = {"rng": np.random.default_rng(0), "n_validation": 6} | settings
    return find_refusal_direction(
        loaded, prompts(20, harmful=True), prompts(20, harmful=False), **given
    )


def test_a_planted_refusal_direction_is_recovered(planted):
    loaded, direction = planted
    found = found_in(loaded)
    assert found.refusal_ids == (token_id(loaded, REFUSAL),)
    assert found.selection.direction.layer == 1  # The only layer whose input has it.
    assert float(found.selection.direction.unit @ direction) > 0.999
    assert found.selection.harmful_log_odds > 0 > found.selection.harmless_log_odds


def test_the_recovered_direction_takes_refusals_away_and_brings_them(planted):
    loaded, _ = planted
    d = found_in(loaded).selection.direction
    harmful, harmless = (prompts(10, harmful=kind, start=50) for kind in (True, False))
    assert (log_odds(loaded, harmful) > 0).all()
    with ablate_directions(loaded.model, loaded.architecture, d):
        assert (log_odds(loaded, harmful) < 0).all()
    with add_direction(loaded.model, loaded.architecture, d):
        assert (log_odds(loaded, harmless) > 0).all()


def test_scores_are_those_of_the_hooks(planted):
    loaded, _ = planted
    candidates = refusal_candidates(
        loaded, prompts(8, harmful=True), prompts(8, harmful=False), n_positions=1
    )
    harmful, harmless = (prompts(5, harmful=kind, start=30) for kind in (True, False))
    found = select_refusal_direction(
        loaded, candidates, harmful, harmless, refusal_ids=[token_id(loaded, REFUSAL)]
    )
    d, chosen = found.direction, found.chosen
    with ablate_directions(loaded.model, loaded.architecture, d):
        assert chosen.bypass == pytest.approx(log_odds(loaded, harmful).mean(), abs=1e-4)
    with add_direction(loaded.model, loaded.architecture, d):
        assert chosen.induce == pytest.approx(log_odds(loaded, harmless).mean(), abs=1e-4)
    assert chosen.kl == pytest.approx(0, abs=1e-4)  # Harmless prompts never had any of it.
    assert d.provenance["bypass"] == chosen.bypass
    assert found.harmful_log_odds == pytest.approx(log_odds(loaded, harmful).mean(), abs=1e-4)


def test_candidates_are_differences_of_means_at_the_last_tokens(tiny):
    bad, good = ["ab", "a much longer one"], ["xy", "z", "hm"]
    found = refusal_candidates(tiny, bad, good, n_positions=3, batch_size=2)

    def mean(texts, layer):
        rows = []
        for text in texts:
            ids = torch.tensor([tiny.chat.prompt_ids(text)])
            with (
                torch.no_grad(),
                record_activations(tiny.model, tiny.architecture, sites=["resid_pre"]) as seen,
            ):
                tiny.model(input_ids=ids, attention_mask=torch.ones_like(ids))
            rows.append(seen["resid_pre", layer][0, -3:])
        return torch.stack(rows).mean(dim=0)

    for layer in (0, 1):
        expected = (mean(bad, layer) - mean(good, layer)).double()
        torch.testing.assert_close(found.vectors[layer], expected, atol=1e-5, rtol=0)
    assert found.positions == (-3, -2, -1)


def test_candidates_can_be_kept_off_the_first_token_s_state(tiny):
    bad, good = ["ab", "a much longer one"], ["xy", "z"]
    plain = refusal_candidates(tiny, bad, good, n_positions=2)
    spared = refusal_candidates(tiny, bad, good, n_positions=2, spare_first_token=True)
    ids = torch.tensor([tiny.chat.prompt_ids("ab")])
    with (
        torch.no_grad(),
        record_activations(tiny.model, tiny.architecture, sites=["resid_pre"]) as seen,
    ):
        tiny.model(input_ids=ids, attention_mask=torch.ones_like(ids))
    axis = torch.nn.functional.normalize(seen["resid_pre", 1][0, 0].double(), dim=0)
    along = spared.vectors[1] @ axis
    torch.testing.assert_close(along, torch.zeros_like(along), atol=1e-5, rtol=0)
    rest = plain.vectors[1] - (plain.vectors[1] @ axis)[:, None] * axis
    torch.testing.assert_close(spared.vectors[1], rest, atol=1e-5, rtol=0)


def test_the_template_s_own_end_is_found(tiny):
    # <|im_end|>, a line break, <|im_start|>, the nine bytes of `assistant`, and a line break.
    assert post_instruction_length(tiny.chat) == 13


def candidates_of(vectors):
    norms = torch.ones(vectors.shape[0], dtype=torch.float64)
    positions = tuple(range(-vectors.shape[1], 0))
    return RefusalCandidates(
        vectors=vectors, positions=positions, activation_norms=norms, n_harmful=1, n_harmless=1
    )


def select(loaded, vectors, **settings):
    return select_refusal_direction(
        loaded,
        candidates_of(vectors),
        prompts(4, harmful=True),
        prompts(4, harmful=False),
        refusal_ids=[token_id(loaded, REFUSAL)],
        **settings,
    )


def test_each_criterion_leaves_out_what_fails_it(planted):
    loaded, direction = planted
    vectors = torch.zeros(2, 3, 32, dtype=torch.float64)
    vectors[1, 0] = 8 * direction  # As it should be.
    vectors[1, 1] = -8 * direction  # Induces the opposite.
    found = select(loaded, vectors)
    reasons = {(s.layer, s.position): s.left_out for s in found.scores}
    assert reasons[1, -3] == ""
    assert reasons[1, -2] == "it induces too little"
    assert reasons[0, -1] == "harmful and harmless prompts have the same mean"
    assert (found.chosen.layer, found.chosen.position) == (1, -3)
    skipped = next(s for s in found.scores if (s.layer, s.position) == (1, -2))
    assert skipped.kl is None
    assert skipped.bypass is None
    whole = select(loaded, vectors, score_all=True).scores[4]
    assert (whole.left_out, whole.position) == ("it induces too little", -2)
    assert whole.bypass is not None
    assert len(found.to_frame()) == 6


def test_layers_beyond_the_depth_are_left_out(planted):
    loaded, direction = planted
    vectors = torch.zeros(2, 1, 32, dtype=torch.float64)
    vectors[1] = 8 * direction
    with pytest.raises(ValueError, match=r"none of 2 candidates .*its layer is too high'?: 1"):
        select(loaded, vectors, max_depth=0.5)


def test_a_direction_that_changes_harmless_answers_is_left_out(planted):
    loaded, direction = planted
    random = torch.randn(32, generator=torch.Generator().manual_seed(3))
    vectors = torch.zeros(2, 2, 32, dtype=torch.float64)
    # Enough of the planted one to induce; the rest changes everything when it is ablated.
    vectors[1, 0] = 30 * direction + 4 * random
    vectors[1, 1] = 30 * direction
    found = select(loaded, vectors, max_kl=0.01)
    assert found.scores[2].left_out == "its KL is too large"
    assert found.chosen.position == -1


def test_the_best_inducer_can_be_asked_for(planted):
    loaded, direction = planted
    vectors = torch.zeros(2, 2, 32, dtype=torch.float64)
    vectors[1, 0], vectors[1, 1] = 6 * direction, 12 * direction
    assert select(loaded, vectors, aim="induce").chosen.norm == pytest.approx(12, rel=1e-4)


def test_prompts_that_are_answered_do_not_count_as_harmful(planted):
    loaded, _ = planted
    harmful = [*prompts(12, harmful=True), *prompts(5, harmful=False, start=60)]
    found = find_refusal_direction(
        loaded,
        harmful,
        prompts(12, harmful=False),
        rng=np.random.default_rng(1),
        n_validation=4,
    )
    assert (found.n_harmful, found.n_harmless) == (12, 12)


def test_too_few_prompts_are_refused(planted):
    with pytest.raises(ValueError, match="20 prompts are left of one kind, and 19"):
        found_in(planted[0], n_validation=19)


def test_a_model_that_never_refuses_has_no_refusal_tokens():
    same = torch.log_softmax(torch.randn(4, 9), dim=-1)
    with pytest.raises(ValueError, match="no first token is likelier by"):
        find_refusal_tokens(same, same)
