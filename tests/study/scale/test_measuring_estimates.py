"""Measuring along training and on pairs, counted by hand."""

import pytest

from spillover.study.scale.estimates import BYTES, LAYER_SECONDS, TRAINED, generation_estimate
from spillover.study.scale.hardware import GIB, Hardware
from spillover.study.scale.measuring_estimates import measuring_estimates, n_measurements
from spillover.study.scale.model_shapes import ModelShape
from spillover.study.scale.training_works import mean_tokens
from spillover.study.stages.datasets import split_held_out, study_prompts

SHAPE = ModelShape(n_parameters=1000.0, n_layers=2, d_model=10, d_mlp=20, d_kv=5, vocab=100)
DEVICE = Hardware(name="x", n_devices=1, memory_gib=1.0, flops=1e6, bandwidth=1e6)


def test_a_study_that_measures_nothing_besides_needs_nothing(small_study):
    assert measuring_estimates(small_study(), SHAPE, DEVICE) == []
    assert n_measurements(small_study(), SHAPE) == 0


@pytest.mark.parametrize(
    ("select", "n"),
    [
        # Unlearning has 6 steps, containing 16. Every 4: 0, 4, 6; and 0, 4, 8, 12, 16.
        ("{every: 4}", 3 + 5),
        ("{every: 100}", 2 + 2),
        # 16 forget examples, 4 a step: an epoch is 4 steps.
        ("{every_epochs: 1}", 3 + 5),
        ("{every_epochs: 0.625}", (1 + 3) + (1 + 7)),  # Every 2.5 steps.
    ],
)
def test_a_training_is_measured_at_its_start_in_between_and_at_its_end(small_study, select, n):
    assert n_measurements(small_study(f"select={select}"), SHAPE) == n
    assert n_measurements(small_study(f"select={select}", seeds=[0, 1]), SHAPE) == 2 * n


def test_the_time_of_a_choice_is_that_of_its_answers_and_of_what_is_read(small_study):
    # Without pairs and questions only the held-out prompts' answers are left.
    config = small_study(
        "select={every: 100, held_out: 2, pairs: null, capability: null, tuned: last}"
    )
    prompts = split_held_out(study_prompts(config.prompts)["train"], n=2).held_out
    once = generation_estimate(
        "",
        SHAPE,
        DEVICE,
        n_prompts=2 * 5,  # Three concepts and two benign sets.
        prompt_tokens=mean_tokens(prompts),
        new_tokens=24,
        batch_size=8,
        dtype="float32",
    )
    (found,) = measuring_estimates(config, SHAPE, DEVICE)
    assert found.name == "select x 4"
    assert found.seconds == pytest.approx(4 * (once.seconds + 2 * LAYER_SECONDS))
    (more,) = measuring_estimates(small_study("select={every: 100, held_out: 2}"), SHAPE, DEVICE)
    assert more.seconds > found.seconds


def test_pairs_behind_a_trigger_are_read_once_more(small_study):
    (plain,) = measuring_estimates(small_study("evaluate.suites=[value_pairs]"), SHAPE, DEVICE)
    suites = ("evaluate.suites=[value_pairs]", "evaluate.trigger=x")
    (both,) = measuring_estimates(small_study(*suites), SHAPE, DEVICE)
    assert plain.gib == 1000 * BYTES["float32"] / GIB
    computing = plain.seconds - 2 * LAYER_SECONDS
    tokens = computing * 1e6 * TRAINED / (2 * (SHAPE.n_matrix + 10))
    assert 3 * 72 * 3 * 25 < tokens < 3 * 72 * 3 * 100  # Three models, 72 pairs, read three times.
    assert (both.seconds - 2 * LAYER_SECONDS) / computing == pytest.approx(2, rel=0.02)
