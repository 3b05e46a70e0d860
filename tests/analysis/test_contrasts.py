"""Contrasts of two kinds of text: their difference, its resamples and its shuffles."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from spillover.analysis.contrasts import (
    Contrast,
    collect_contrast,
    difference,
    drawn_differences,
    halves,
    mean_activation_norms,
    resample_coefficients,
    shuffle_coefficients,
)
from spillover.models import record_activations
from tests.analysis.chains import exchanges
from tests.models.builders import logits_of

POSITIVE, NEGATIVE = exchanges(4, seed=1), exchanges(3, seed=2)


def contrast_of(positive, negative, *, weights=None, is_paired=False):
    """A contrast of given states, of shape (layer, example, d_model)."""
    sides = [torch.as_tensor(states, dtype=torch.float32) for states in (positive, negative)]
    weights = weights or [[1.0] * side.shape[1] for side in sides]
    return Contrast(
        layers=tuple(range(sides[0].shape[0])),
        site="resid_post",
        positive=sides[0],
        negative=sides[1],
        positive_weights=torch.tensor(weights[0], dtype=torch.float64),
        negative_weights=torch.tensor(weights[1], dtype=torch.float64),
        activation_norms=torch.ones(sides[0].shape[0], dtype=torch.float64),
        is_paired=is_paired,
    )


def states_of(loaded, example):
    with record_activations(loaded.model, loaded.architecture) as found:
        logits_of(loaded.model, example.input_ids)
    return torch.stack([found["resid_post", layer][0] for layer in (0, 1)]).double()


def test_the_difference_is_one_of_means_over_all_response_tokens(tiny):
    found = collect_contrast(tiny, POSITIVE, NEGATIVE, batch_size=3)

    def mean(examples):
        rows = [states_of(tiny, e)[:, e.prompt_length :] for e in examples]
        return torch.cat(rows, dim=1).mean(dim=1)

    assert_close(difference(found), mean(POSITIVE) - mean(NEGATIVE), atol=1e-5, rtol=0)


def test_at_the_last_prompt_token_all_examples_weigh_the_same(tiny):
    found = collect_contrast(tiny, POSITIVE, NEGATIVE, at="last_prompt_token")

    def mean(examples):
        rows = [states_of(tiny, e)[:, e.prompt_length - 1] for e in examples]
        return torch.stack(rows).mean(dim=0)

    assert_close(difference(found), mean(POSITIVE) - mean(NEGATIVE), atol=1e-5, rtol=0)


def test_activation_norms_leave_out_first_tokens(tiny):
    expected = torch.cat([states_of(tiny, e)[:, 1:].norm(dim=-1) for e in POSITIVE], dim=1)
    found = mean_activation_norms(tiny, POSITIVE, batch_size=2)
    assert_close(found, expected.mean(dim=1), atol=1e-5, rtol=0)


def test_weights_are_numbers_of_tokens():
    # Means (3 x 1 + 1 x 5) / 4 = 2 and 0.
    found = contrast_of([[[1.0], [5.0]]], [[[0.0]]], weights=[[3.0, 1.0], [2.0]])
    assert difference(found).tolist() == [[2.0]]


def test_resamples_of_equal_examples_are_the_difference():
    found = contrast_of([[[1.0, 2.0]] * 3], [[[0.0, 1.0]] * 2])
    rng = np.random.default_rng(0)
    drawn = drawn_differences(found, resample_coefficients(found, n_resamples=5, rng=rng))
    assert_close(drawn, torch.ones(5, 1, 2, dtype=torch.float64))


def test_resampled_pairs_stay_together():
    # Each pair differs by 1 while pairs differ a lot: no resample can be far from 1.
    positive = [[[10.0 * i + 1] for i in range(6)]]
    negative = [[[10.0 * i] for i in range(6)]]
    rng = np.random.default_rng(0)
    paired = contrast_of(positive, negative, is_paired=True)
    drawn = drawn_differences(paired, resample_coefficients(paired, n_resamples=50, rng=rng))
    assert_close(drawn, torch.ones_like(drawn))
    loose = contrast_of(positive, negative)
    drawn = drawn_differences(loose, resample_coefficients(loose, n_resamples=50, rng=rng))
    assert drawn.std() > 3


def test_shuffled_labels_give_differences_around_0():
    rng = np.random.default_rng(0)
    positive = rng.normal(size=(1, 30, 3)) + 5.0
    negative = rng.normal(size=(1, 30, 3))
    for is_paired in (True, False):
        found = contrast_of(positive, negative, is_paired=is_paired)
        drawn = drawn_differences(found, shuffle_coefficients(found, n_shuffles=400, rng=rng))
        assert drawn.mean().abs() < 0.2
        assert (difference(found) > 4.5).all()


def test_pairs_of_different_number_are_refused(tiny):
    with pytest.raises(ValueError, match="4 and 3 texts cannot be paired"):
        collect_contrast(tiny, POSITIVE, NEGATIVE, is_paired=True)


def test_coefficients_of_another_contrast_are_refused():
    found = contrast_of([[[1.0]]], [[[0.0]]])
    with pytest.raises(ValueError, match="3 coefficients for 2 examples"):
        drawn_differences(found, torch.ones(1, 3, dtype=torch.float64))


def test_halves_share_no_example_and_keep_pairs_together():
    rows = torch.arange(6.0).reshape(1, 6, 1)
    first, second = halves(contrast_of(rows, rows + 10, weights=[[1, 2, 3, 4, 5, 6]] * 2))
    assert first.positive[0, :, 0].tolist() == [0, 2, 4]
    assert second.positive[0, :, 0].tolist() == [1, 3, 5]
    assert second.negative[0, :, 0].tolist() == [11, 13, 15]
    assert second.negative_weights.tolist() == [2, 4, 6]
