"""The trainer's invariances, what each objective does to a model, and losses gone wrong."""

import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from transformers import TrainerCallback, TrainingArguments

from spillover.errors import DataError, TrainingError
from spillover.models.adapters import add_lora
from spillover.models.loading import load_model
from spillover.models.logprobs import dataset_logprobs
from spillover.training import (
    LoraSettings,
    Objective,
    SpilloverTrainer,
    TrainingSettings,
    adapter_off_reference,
    make_objective,
    train,
)
from spillover.training.callbacks import WHOLE
from tests.training.examples import FORGET, PEFT_WARNING, RETAIN, adapter_weights, schedule

pytestmark = pytest.mark.filterwarnings(PEFT_WARNING)

SETTINGS = TrainingSettings(steps=3, units_per_step=8, learning_rate=1e-3, checkpoint_every=50)


def lora_trainer(loaded, folder, *, objective="anpo", retain_per_forget=2, **options):
    """Return a trainer whose first batch is 8 units, with the adapter switched off as reference."""
    policy = add_lora(loaded.model, loaded.architecture, rank=4)
    return SpilloverTrainer(
        objective=make_objective(objective),
        reference=adapter_off_reference(policy),
        units=schedule(8, retain_per_forget=retain_per_forget),
        chat=loaded.chat,
        pad_id=loaded.pad_id,
        model=policy,
        args=TrainingArguments(
            output_dir=str(folder),
            use_cpu=True,
            per_device_train_batch_size=8,
            report_to="none",
            dataloader_pin_memory=False,
            remove_unused_columns=False,
        ),
        **options,
    )


def first_batch(trainer):
    return next(iter(trainer.get_train_dataloader()))


def trained(
    loaded,
    folder,
    *,
    objective="npo",
    retain_weight=1.0,
    retain_per_forget=0,
    callbacks=(),
    **changes,
):
    """Train a LoRA and return its folder."""
    settings = replace(SETTINGS, **changes)
    return train(
        loaded,
        schedule(settings.steps * settings.units_per_step, retain_per_forget=retain_per_forget),
        objective=make_objective(objective, retain_weight=retain_weight),
        folder=folder,
        settings=settings,
        lora=LoraSettings(rank=4),
        callbacks=callbacks,
    )


def metrics_rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def mean_logprob(loaded, examples):
    tokens = [loaded.chat.example_ids(example) for example in examples]
    values = dataset_logprobs(loaded.model, tokens, pad_id=loaded.pad_id)
    return sum(values) / len(values)


def test_npo_starts_at_two_log_two_over_beta_on_a_real_model(fresh, tmp_path):
    trainer = lora_trainer(fresh(), tmp_path, objective="npo", retain_per_forget=0)
    loss = trainer.compute_loss(trainer.model, first_batch(trainer))
    assert loss.item() == pytest.approx(13.862944, abs=1e-4)


def test_the_first_logged_loss_is_that_of_the_untouched_policy(fresh, tmp_path):
    rows = metrics_rows(trained(fresh(), tmp_path, objective="anpo", retain_per_forget=2))
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[0]["forget_loss"] == pytest.approx(13.862944, abs=1e-4)
    for row in rows:
        assert row["loss"] == pytest.approx(row["forget_loss"] + row["retain_loss"], abs=1e-4)


def test_the_batch_holds_the_schedule_in_its_order(fresh, tmp_path):
    trainer = lora_trainer(fresh(), tmp_path)
    groups = first_batch(trainer)["groups"]
    units = schedule(8, retain_per_forget=2)
    found = {(i, forget) for g in groups for i, forget in zip(g.ids, g.is_forget, strict=True)}
    expected = {(e.id, True) for u in units for e in u.forget}
    assert found == expected | {(e.id, False) for u in units for e in u.retain}
    assert {(group.n_forget, group.n_retain) for group in groups} == {(8, 16)}


def test_groups_are_within_their_token_limit(fresh, tmp_path):
    trainer = lora_trainer(fresh(), tmp_path, group_tokens=200)
    groups = first_batch(trainer)["groups"]
    assert len(groups) > 1
    for group in groups:
        assert group.batch.input_ids.numel() <= 200 or len(group.ids) == 1


@pytest.mark.parametrize("objective", ["npo", "anpo"])
def test_backward_group_by_group_equals_one_backward_over_all(fresh, tmp_path, objective):
    gradients = []
    retain_per_forget = 2 if objective == "anpo" else 0
    for group_tokens in (1, 300, 10**6):
        trainer = lora_trainer(
            fresh(),
            tmp_path,
            objective=objective,
            retain_per_forget=retain_per_forget,
            group_tokens=group_tokens,
        )
        batch = first_batch(trainer)
        trainer.training_step(trainer.model, batch)
        gradients.append([p.grad for p in trainer.model.parameters() if p.requires_grad])
    assert len(batch["groups"]) == 1
    assert max(g.abs().max() for g in gradients[2]) > 1e-3
    assert_close(gradients[0], gradients[2], atol=1e-5, rtol=0)
    assert_close(gradients[1], gradients[2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("steps", [1, 3])
def test_accumulating_over_any_split_gives_the_same_parameters(fresh, tmp_path, steps):
    found = {}
    for accumulation in (1, 2, 8):
        folder = trained(
            fresh(),
            tmp_path / str(accumulation),
            objective="anpo",
            retain_per_forget=1,
            steps=steps,
            accumulation=accumulation,
        )
        found[accumulation] = adapter_weights(folder), metrics_rows(folder)
    for accumulation in (2, 8):
        assert_close(found[accumulation][0], found[1][0], atol=1e-5, rtol=0)
        for split, whole in zip(found[accumulation][1], found[1][1], strict=True):
            assert split == pytest.approx(whole, abs=1e-4)


def test_training_moves_the_adapter_and_not_the_base(fresh, tmp_path):
    loaded, untouched = fresh(), fresh()
    moved = adapter_weights(trained(loaded, tmp_path))
    assert all(value.abs().max() > 0 for name, value in moved.items() if "lora_B" in name)
    base = {
        name.replace(".base_layer", ""): value
        for name, value in loaded.model.state_dict().items()
        if "lora_" not in name
    }
    assert_close(base, dict(untouched.model.state_dict()), atol=0, rtol=0)


def test_npo_lowers_the_log_probability_of_what_is_to_be_forgotten(fresh, base_folder, tmp_path):
    before = mean_logprob(fresh(), FORGET)
    folder = trained(fresh(), tmp_path, learning_rate=1e-2, steps=6)
    after = mean_logprob(fresh(adapter=folder), FORGET)
    assert after < before - 1


def test_anpo_keeps_the_refusals_of_other_concepts_that_npo_loses(fresh, tmp_path):
    before = mean_logprob(fresh(), RETAIN["bias"])
    after = {}
    for objective, ratio in (("npo", 0), ("anpo", 2)):
        folder = trained(
            fresh(),
            tmp_path / objective,
            objective=objective,
            retain_per_forget=ratio,
            # NPO sums over the tokens of a response, about 20; cross-entropy is a mean over them.
            retain_weight=20.0,
            learning_rate=1e-2,
            steps=6,
        )
        after[objective] = mean_logprob(fresh(adapter=folder), RETAIN["bias"])
    assert after["npo"] < before - 1
    assert after["anpo"] > after["npo"] + 1


def test_sft_raises_the_log_probability_of_its_examples(fresh, tmp_path):
    retained = [example for group in RETAIN.values() for example in group]
    settings = replace(SETTINGS, learning_rate=1e-2)
    units = [replace(unit, forget=()) for unit in schedule(24, retain_per_forget=1)]
    folder = train(
        fresh(),
        units,
        objective=make_objective("sft"),
        folder=tmp_path,
        settings=settings,
        lora=LoraSettings(rank=4),
    )
    assert mean_logprob(fresh(adapter=folder), retained) > mean_logprob(fresh(), retained) + 1


class PoisonBefore(TrainerCallback):
    """Makes one trained weight NaN at the start of a step."""

    def __init__(self, step):
        self._step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step + 1 == self._step:
            weight = next(p for p in kwargs["model"].parameters() if p.requires_grad)
            with torch.no_grad():
                weight.view(-1)[0] = float("nan")


def test_a_loss_that_is_not_a_number_names_the_step_and_keeps_the_checkpoint(fresh, tmp_path):
    with pytest.raises(TrainingError, match=r"loss is nan at step 4; .*Lower learning_rate"):
        trained(fresh(), tmp_path, steps=5, checkpoint_every=2, callbacks=[PoisonBefore(4)])
    assert (tmp_path / "checkpoint-2" / WHOLE).exists()
    with pytest.raises(TrainingError, match=r"last good checkpoint, \S+checkpoint-2, is kept"):
        trained(fresh(), tmp_path, steps=5, checkpoint_every=2, callbacks=[PoisonBefore(4)])
    assert [row["step"] for row in metrics_rows(tmp_path)] == [1, 2, 3]


def test_weights_that_overflow_stop_training_before_they_are_saved(fresh, tmp_path):
    with pytest.raises(TrainingError, match=r"weights are not finite after step 1; .*checkpoint"):
        trained(fresh(), tmp_path, learning_rate=1e38, checkpoint_every=1)
    assert not (tmp_path / "adapter_model.safetensors").exists()
    assert list(tmp_path.glob("checkpoint-*")) == []


def test_full_rank_training_saves_a_model_that_loads(fresh, tmp_path):
    folder = train(
        fresh(),
        schedule(24),
        objective=make_objective("npo"),
        folder=tmp_path,
        settings=replace(SETTINGS, learning_rate=1e-3),
        lora=None,
    )
    tuned = load_model(folder, dtype="float32", device="cpu")
    assert mean_logprob(tuned, FORGET) < mean_logprob(fresh(), FORGET) - 1
    assert tuned.chat.description() == fresh().chat.description()


def test_an_objective_that_needs_a_reference_is_not_trained_without_one(fresh, tmp_path):
    loaded = fresh()
    with pytest.raises(ValueError, match=r"needs a reference; give one of training\.references"):
        SpilloverTrainer(
            objective=make_objective("npo"),
            reference=None,
            units=schedule(8),
            chat=loaded.chat,
            pad_id=loaded.pad_id,
            model=loaded.model,
            args=TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none"),
        )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_computing_activations_again_changes_no_weight(fresh, tmp_path, dtype):
    found = []
    for checkpointed in (False, True):
        folder = trained(
            fresh(dtype=dtype),
            tmp_path / str(checkpointed),
            objective="anpo",
            retain_per_forget=1,
            checkpoint_activations=checkpointed,
        )
        found.append(adapter_weights(folder))
    # In bfloat16 sums are rounded in another order.
    assert_close(found[1], found[0], atol=1e-5 if dtype == "float32" else 2e-3, rtol=0)


def test_an_exploding_loss_stops_the_training_and_keeps_what_was_good(fresh, tmp_path):
    def thousandfold_after_two_steps(responses):
        steps.append(1)
        return responses.policy * (-1.0 if len(steps) <= 2 else -1000.0)

    steps = []
    objective = Objective(forget=thousandfold_after_two_steps, retain=None)
    settings = replace(SETTINGS, steps=8, units_per_step=1, checkpoint_every=2)
    message = r"loss exploded: .* at step 5; .*"
    with pytest.raises(TrainingError, match=message) as e:
        train(
            fresh(),
            schedule(8),
            objective=objective,
            folder=tmp_path,
            settings=settings,
            lora=LoraSettings(rank=4),
        )
    assert "Lower learning_rate" in str(e.value)


def test_too_few_retain_examples_for_their_share_are_refused_with_the_number_that_would_do(
    fresh, tmp_path
):
    message = (
        r"retain set: 'benign' has 3 examples for 24 draws, .* learnt 8 times \(at most 4\); .* 6 "
    )
    with pytest.raises(DataError, match=message):
        trained(fresh(), tmp_path, objective="anpo", retain_per_forget=2, max_uses=4)
    assert list(tmp_path.iterdir()) == []
