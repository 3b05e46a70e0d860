"""Measuring along a training with a function that is passed in, and keeping what it calls best."""

import pytest
import torch
from safetensors.torch import load_file

from spillover.errors import ConfigError
from spillover.files import read_journal
from spillover.testing import tiny_model
from spillover.training import LoraSettings, TrainingSettings, make_objective, train
from spillover.training.batching import TrainingUnit
from spillover.training.checkpoints import (
    BEST,
    CheckpointMeasurer,
    CheckpointSettings,
    checkpoint_rows,
)
from tests.training.examples import RETAIN

STEPS = 6
LORA = LoraSettings(rank=2)


def measured_run(folder, *, choose, every=2, lora=LORA, measured=None, **changes):
    """Train six steps, noting at each measurement how the model was called."""
    loaded = tiny_model(folder / "model")
    seen = [] if measured is None else measured

    def measure(model):
        seen.append((model.training, torch.is_grad_enabled()))
        return [{"metric": "loss", "concept": "all", "value": float(len(seen))}]

    units = [TrainingUnit((), (RETAIN["bias"][i % 5],)) for i in range(STEPS)]
    settings = CheckpointSettings(measure=measure, choose=choose, every=every)
    work = folder / "work"
    train(
        loaded,
        units,
        objective=make_objective("sft"),
        folder=work,
        settings=TrainingSettings(
            steps=STEPS, units_per_step=1, learning_rate=0.01, checkpoint_every=2
        ),
        lora=lora,
        callbacks=[
            CheckpointMeasurer(settings, folder=work, tokenizer=None if lora else loaded.tokenizer),
            *changes.get("callbacks", ()),
        ],
    )
    return work


def last_step(rows):
    return max(row["step"] for row in rows)


def test_the_start_every_few_steps_and_the_last_are_measured_without_gradients(tmp_path):
    seen = []
    work = measured_run(tmp_path, choose=last_step, every=4, measured=seen)
    assert [row["step"] for row in checkpoint_rows(work / "metrics.jsonl")] == [0, 4, 6]
    assert seen == [(False, False)] * 3
    rows = read_journal(work / "metrics.jsonl")
    assert sum(row["kind"] == "train" for row in rows) == STEPS


def test_measurements_may_be_a_fraction_of_a_step_apart(tmp_path):
    # An epoch of 2.5 steps ends within the third step and with the fifth; the sixth is the last.
    work = measured_run(tmp_path, choose=last_step, every=2.5)
    assert [row["step"] for row in checkpoint_rows(work / "metrics.jsonl")] == [0, 3, 5, 6]


def test_multiples_that_are_met_up_to_rounding_are_met():
    settings = CheckpointSettings(measure=list, choose=len, every=0.1 * 30)  # A bit more than 3.
    assert [step for step in range(1, 10) if settings.is_due(step)] == [3, 6, 9]


def test_measuring_changes_no_weight(tmp_path):
    often = measured_run(tmp_path / "a", choose=last_step, every=1)
    seldom = measured_run(tmp_path / "b", choose=last_step, every=6)
    for name, tensor in weights(often).items():
        assert torch.equal(tensor, weights(seldom)[name])


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")


def test_the_chosen_step_is_kept_beside_the_last(tmp_path):
    work = measured_run(tmp_path, choose=lambda rows: 2)
    best, last = weights(work / BEST), weights(work)
    assert any(not torch.equal(best[name], last[name]) for name in last)
    assert (work / BEST / "adapter_config.json").exists()


def test_where_the_last_is_best_both_are_the_same(tmp_path):
    work = measured_run(tmp_path, choose=last_step)
    best, last = weights(work / BEST), weights(work)
    assert all(torch.equal(best[name], last[name]) for name in last)


def test_where_none_counts_nothing_is_kept(tmp_path):
    assert not (measured_run(tmp_path, choose=lambda rows: None) / BEST).exists()


def test_the_start_is_never_kept(tmp_path):
    assert not (measured_run(tmp_path, choose=lambda rows: 0) / BEST).exists()


def test_a_whole_model_is_kept_with_its_tokenizer(tmp_path):
    work = measured_run(tmp_path, choose=last_step, every=6, lora=None)
    names = {path.name for path in (work / BEST).iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= names


def test_a_resumed_training_knows_what_was_measured_and_ends_the_same(tmp_path):
    from transformers import TrainerCallback

    class StopAtFive(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 5:
                raise KeyboardInterrupt

    def best_of_all(rows):
        counts.append(len(rows))
        return 2  # Measured before the stop.

    counts = []
    whole = measured_run(tmp_path / "whole", choose=best_of_all)
    with pytest.raises(KeyboardInterrupt):
        measured_run(tmp_path / "cut", choose=best_of_all, callbacks=[StopAtFive()])
    counts.clear()
    cut = measured_run(tmp_path / "cut", choose=best_of_all)
    assert counts == [4]  # Steps 0, 2 and 4 were read back; 6 was measured.
    assert [row["step"] for row in checkpoint_rows(cut / "metrics.jsonl")] == [0, 2, 4, 6]
    for part in (BEST, "."):
        for name, tensor in weights(whole / part).items():
            assert torch.equal(tensor, weights(cut / part)[name])


def test_several_processes_are_refused(tmp_path, monkeypatch):
    from transformers import TrainerControl, TrainerState, TrainingArguments

    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    settings = CheckpointSettings(measure=lambda model: [], choose=lambda rows: None)
    measurer = CheckpointMeasurer(settings, folder=tmp_path)
    with pytest.raises(ConfigError, match="2 processes train one model, but checkpoints are"):
        measurer.on_train_begin(arguments, TrainerState(), TrainerControl())


def test_fewer_than_one_step_between_measurements_is_refused(tmp_path):
    settings = CheckpointSettings(measure=lambda m: [], choose=lambda rows: None, every=0)
    with pytest.raises(ValueError, match="every 0 steps; give at least 1"):
        CheckpointMeasurer(settings, folder=tmp_path)
