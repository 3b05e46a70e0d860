"""First-token KL by hand, its rows and intervals, and that measuring changes nothing."""

import json
import math

import pytest
import torch
from torch.testing import assert_close

from spillover.models.logprobs import next_token_logprobs
from spillover.records import Prompt
from spillover.training import (
    LoraSettings,
    MonitorSettings,
    TrainingSettings,
    make_objective,
    train,
)
from spillover.training.monitor import FirstTokenMonitor, first_token_kl
from tests.training.examples import PEFT_WARNING, adapter_weights, schedule

pytestmark = pytest.mark.filterwarnings(PEFT_WARNING)

PROMPTS = tuple(
    Prompt(id=f"{concept}{i}", prompt=f"{concept} {i}", concept=concept)
    for concept, n in (("safety", 4), ("bias", 3), ("privacy", 1))
    for i in range(n)
)


def logs(*rows):
    return torch.tensor(rows).log()


def trained(loaded, folder, *, every, steps=5):
    return train(
        loaded,
        schedule(steps * 4),
        objective=make_objective("npo"),
        folder=folder,
        settings=TrainingSettings(steps=steps, units_per_step=4, learning_rate=1e-2),
        lora=LoraSettings(rank=4, dropout=0.1),
        monitor=None if every is None else MonitorSettings(prompts=PROMPTS, every=every),
    )


def rows_of_kind(folder, kind):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def test_kl_by_hand():
    reference = logs([0.5, 0.5], [0.9, 0.1])
    tuned = logs([0.25, 0.75], [0.5, 0.5])
    # .5 ln(.5 / .25) + .5 ln(.5 / .75) = .5 (0.6931 - 0.4055) = 0.1438
    # .9 ln(.9 / .5) + .1 ln(.1 / .5) = .9 * 0.5878 - .1 * 1.6094 = 0.3681
    assert_close(
        first_token_kl(reference, tuned), torch.tensor([0.1438, 0.3681]), atol=1e-4, rtol=0
    )


def test_kl_asks_what_is_lost_of_the_reference_so_its_direction_matters():
    sure, unsure = logs([0.98, 0.02]), logs([0.5, 0.5])
    # .98 ln 1.96 + .02 ln .04 = 0.5951 one way, -.5 ln(1.96 * .04) = 1.2730 the other.
    assert first_token_kl(sure, unsure).item() == pytest.approx(0.5951, abs=1e-4)
    assert first_token_kl(unsure, sure).item() == pytest.approx(1.2730, abs=1e-4)


def test_kl_of_a_distribution_with_itself_is_zero_and_rounding_never_makes_it_negative():
    generator = torch.Generator().manual_seed(0)
    some = torch.log_softmax(torch.randn(50, 1000, generator=generator), dim=-1)
    assert_close(first_token_kl(some, some), torch.zeros(50), atol=0, rtol=0)
    nearly = torch.log_softmax(some + 1e-7, dim=-1)
    assert first_token_kl(some, nearly).min() >= 0


def test_an_untouched_model_has_no_kl_at_step_zero(fresh, tmp_path):
    rows = rows_of_kind(trained(fresh(), tmp_path, every=5), "monitor")
    at_zero = [row for row in rows if row["step"] == 0]
    assert [row["value"] for row in at_zero] == pytest.approx([0.0] * 3, abs=1e-9)
    assert min(row["value"] for row in rows if row["step"] == 5) > 1e-4


def test_there_is_a_row_for_each_concept_at_the_start_every_few_steps_and_at_the_end(
    fresh, tmp_path
):
    rows = rows_of_kind(trained(fresh(), tmp_path, every=2), "monitor")
    assert [(row["step"], row["concept"]) for row in rows] == [
        (step, concept) for step in (0, 2, 4, 5) for concept in ("safety", "bias", "privacy")
    ]
    assert {row["concept"]: row["n"] for row in rows} == {"safety": 4, "bias": 3, "privacy": 1}
    assert {row["metric"] for row in rows} == {"first_token_kl"}


def test_each_value_lies_in_its_interval_and_one_prompt_has_none(fresh, tmp_path):
    for row in rows_of_kind(trained(fresh(), tmp_path, every=2), "monitor"):
        if row["concept"] == "privacy":
            assert row["ci_low"] is None
            assert row["ci_high"] is None
        else:
            assert 0 <= row["ci_low"] <= row["value"] <= row["ci_high"]


def test_the_last_row_is_the_kl_of_the_saved_adapter(fresh, tmp_path):
    folder = trained(fresh(), tmp_path, every=2)
    before, after = fresh(), fresh(adapter=folder)
    ids = [before.chat.prompt_ids(p.prompt) for p in PROMPTS if p.concept == "bias"]
    reference, tuned = (next_token_logprobs(m.model, ids, pad_id=m.pad_id) for m in (before, after))
    row = next(
        r for r in rows_of_kind(folder, "monitor") if r["step"] == 5 and r["concept"] == "bias"
    )
    assert row["value"] == pytest.approx(first_token_kl(reference, tuned).mean().item(), rel=1e-3)


def test_measuring_changes_nothing_in_the_training(fresh, tmp_path):
    watched = trained(fresh(), tmp_path / "watched", every=1)
    alone = trained(fresh(), tmp_path / "alone", every=None)
    assert rows_of_kind(watched, "train") == rows_of_kind(alone, "train")
    assert rows_of_kind(alone, "monitor") == []
    assert_close(adapter_weights(watched), adapter_weights(alone), atol=0, rtol=0)


def test_measuring_leaves_the_model_in_training_mode(fresh):
    loaded = fresh()
    rows = []
    monitor = FirstTokenMonitor(
        PROMPTS,
        chat=loaded.chat,
        reference_model=loaded.model,
        pad_id=loaded.pad_id,
        every=1,
        emit=rows.append,
    )
    loaded.model.train()
    monitor._measure(loaded.model, step=0)
    assert loaded.model.training
    assert math.isclose(sum(row["value"] for row in rows), 0, abs_tol=1e-9)


@pytest.mark.parametrize(("prompts", "every"), [((), 5), (PROMPTS, 0)])
def test_a_monitor_needs_prompts_and_steps(fresh, prompts, every):
    loaded = fresh()
    with pytest.raises(ValueError, match=f"{len(prompts)} prompts every {every} steps; give at"):
        FirstTokenMonitor(
            prompts,
            chat=loaded.chat,
            reference_model=loaded.model,
            pad_id=loaded.pad_id,
            every=every,
            emit=print,
        )
