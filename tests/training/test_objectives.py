"""The table of objectives: complete, and its sums by hand."""

import pytest
import torch
from torch.testing import assert_close

from spillover.errors import ConfigError
from spillover.training.objectives import OBJECTIVES, Responses, make_objective

FORGET = Responses(
    policy=torch.tensor([-3.0, -15.0]),
    reference=torch.tensor([-5.0, -5.0]),
    n_tokens=torch.tensor([2.0, 7.0]),
)
RETAIN = Responses(
    policy=torch.tensor([-4.0, -3.0]),
    reference=torch.zeros(2),
    n_tokens=torch.tensor([4.0, 1.0]),
)


def test_the_table_names_each_objective_with_its_roles_and_its_need_of_a_reference():
    found = {
        name: (kind.forget is not None, kind.retain is not None, kind.uses_reference)
        for name, kind in OBJECTIVES.items()
    }
    assert found == {
        "npo": (True, False, True),
        "anpo": (True, True, True),
        "sft": (False, True, False),
        "gradient_ascent": (True, False, False),
    }


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_an_objective_has_the_roles_that_the_table_gives_it(name):
    objective, kind = make_objective(name), OBJECTIVES[name]
    assert (objective.forget is None) == (kind.forget is None)
    assert (objective.retain is None) == (kind.retain is None)
    assert objective.uses_reference == kind.uses_reference
    assert (objective.forget_weight, objective.retain_weight) == (1.0, 1.0)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_only_objectives_that_use_a_reference_look_at_it(name):
    objective = make_objective(name)
    if objective.forget is None:
        assert not objective.uses_reference
        return
    moved = Responses(FORGET.policy, FORGET.reference - 1, FORGET.n_tokens)
    same = torch.equal(objective.forget(FORGET), objective.forget(moved))
    assert same == (not objective.uses_reference)


def test_anpo_is_w1_times_npo_plus_w2_times_cross_entropy_by_hand():
    anpo = make_objective("anpo", beta=0.1, forget_weight=0.5, retain_weight=3.0)
    forget, retain = anpo.forget(FORGET), anpo.retain(RETAIN)
    # NPO, see test_losses: (15.9628 + 6.2652) / 2 = 11.1140
    assert forget.mean().item() == pytest.approx(11.1140, abs=1e-4)
    # Cross-entropy: (4 / 4 + 3 / 1) / 2 = 2
    assert retain.mean().item() == pytest.approx(2.0)
    # 0.5 * 11.1140 + 3 * 2 = 11.5570
    loss = anpo.forget_weight * forget.mean() + anpo.retain_weight * retain.mean()
    assert loss.item() == pytest.approx(11.5570, abs=1e-4)


def test_beta_reaches_npo():
    weak, strong = (make_objective("npo", beta=beta) for beta in (0.1, 0.5))
    untouched = Responses(FORGET.policy, FORGET.policy, FORGET.n_tokens)
    # (2 / beta) ln 2
    assert_close(weak.forget(untouched), torch.full((2,), 13.8629), atol=1e-4, rtol=0)
    assert_close(strong.forget(untouched), torch.full((2,), 2.7726), atol=1e-4, rtol=0)


def test_an_unknown_objective_lists_the_known_ones():
    message = "objective 'simpo' is not known; choose one of npo, anpo, sft, gradient_ascent"
    with pytest.raises(ConfigError, match=message):
        make_objective("simpo")
