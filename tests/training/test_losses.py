"""Losses against hand-worked values, published gradients and their limits."""

import math

import pytest
import torch
from torch.testing import assert_close

from spillover.training.losses import cross_entropy_loss, gradient_ascent_loss, npo_loss


def test_npo_loss_of_an_untouched_policy_is_two_log_two_over_beta():
    logprobs = torch.tensor([-3.0, -80.0])
    # (2 / 0.1) * ln 2 = 20 * 0.693147 = 13.8629, whatever the length.
    expected = torch.tensor([13.8629, 13.8629])
    assert_close(npo_loss(logprobs, logprobs, beta=0.1), expected, atol=1e-4, rtol=0)
    # (2 / 0.5) * ln 2 = 4 * 0.693147 = 2.7726
    assert_close(
        npo_loss(logprobs, logprobs, beta=0.5), torch.tensor([2.7726, 2.7726]), atol=1e-4, rtol=0
    )


def test_npo_loss_by_hand_where_the_policy_has_moved():
    policy = torch.tensor([-3.0, -15.0])
    reference = torch.tensor([-5.0, -5.0])
    # Ratio 2:   20 * ln(1 + e^0.2)  = 20 * ln(2.221403) = 20 * 0.798139 = 15.9628
    # Ratio -10: 20 * ln(1 + e^-1.0) = 20 * ln(1.367879) = 20 * 0.313262 = 6.2652
    expected = torch.tensor([15.9628, 6.2652])
    assert_close(npo_loss(policy, reference, beta=0.1), expected, atol=1e-4, rtol=0)


def test_npo_loss_does_not_overflow_far_from_the_reference():
    # -(2 / beta) log sigmoid(-x) is x's own size for large x, and nothing for very negative x.
    values = npo_loss(torch.tensor([0.0, -1e4]), torch.tensor([-1e4, 0.0]), beta=0.1)
    assert_close(values, torch.tensor([2e4, 0.0]))


def test_gradient_of_npo_at_an_untouched_policy_is_that_of_gradient_ascent():
    start = [-3.0, -80.0]
    npo, ascent = (torch.tensor(start, requires_grad=True) for _ in range(2))
    npo_loss(npo, torch.tensor(start), beta=0.1).sum().backward()
    gradient_ascent_loss(ascent).sum().backward()
    assert_close(npo.grad, torch.tensor([1.0, 1.0]))
    assert_close(npo.grad, ascent.grad)


def test_npo_becomes_gradient_ascent_as_beta_vanishes():
    policy = torch.tensor([-3.0, -9.0], dtype=torch.float64)
    reference = torch.tensor([-5.0, -5.0], dtype=torch.float64)
    beta = 1e-6
    # (2 / beta) ln 2 is a constant; what is left is log p - log r.
    rest = npo_loss(policy, reference, beta=beta) - 2 / beta * math.log(2)
    expected = gradient_ascent_loss(policy) - reference
    assert_close(rest, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_gradient_of_npo_has_the_published_weight(beta):
    policy = torch.tensor([-8.0, -5.0, -3.0, -1.0], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([-3.0, -5.0, -5.0, -9.0], dtype=torch.float64)
    npo_loss(policy, reference, beta=beta).sum().backward()
    p, r = policy.detach().exp(), reference.exp()
    assert_close(policy.grad, 2 * p**beta / (p**beta + r**beta))


def test_npo_sends_no_gradient_into_the_reference():
    policy = torch.tensor([-3.0], requires_grad=True)
    reference = torch.tensor([-5.0], requires_grad=True)
    npo_loss(policy, reference).sum().backward()
    assert policy.grad is not None
    assert reference.grad is None


@pytest.mark.parametrize("beta", [0.0, -0.1])
def test_npo_needs_a_positive_beta(beta):
    logprobs = torch.tensor([-3.0])
    with pytest.raises(ValueError, match=rf"beta must be positive, got {beta}; 0\.1"):
        npo_loss(logprobs, logprobs, beta=beta)


def test_gradient_ascent_loss_is_the_log_probability_itself():
    assert_close(gradient_ascent_loss(torch.tensor([-3.0])), torch.tensor([-3.0]))


def test_cross_entropy_by_hand_is_a_token_and_a_response():
    # Probabilities 1/2, 1/2, 1/4: -(ln .5 + ln .5 + ln .25) / 3 = 4 ln 2 / 3 = 0.9242
    total = math.log(0.5) + math.log(0.5) + math.log(0.25)
    values = cross_entropy_loss(torch.tensor([total, -3.0]), torch.tensor([3.0, 1.0]))
    assert_close(values, torch.tensor([0.9242, 3.0]), atol=1e-4, rtol=0)
