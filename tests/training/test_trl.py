"""Our objectives in TRL's own SFTTrainer: the same losses as in ours, and the example of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from spillover.models.adapters import add_lora
from spillover.training import adapter_off_reference, make_objective
from spillover.training.trainer import ObjectiveSteps, SpilloverTrainer
from tests.training.examples import schedule

pytest.importorskip("trl", reason="trl is not installed: pip install 'spillover[trl]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # What TRL and its dependencies warn of.

EXAMPLE = Path(__file__).parents[2] / "examples" / "npo_in_trl.py"


def losses(kind, loaded, arguments, **options):
    """Train three steps and return the loss and its parts at each."""
    policy = add_lora(loaded.model, loaded.architecture, rank=4)
    trainer = kind(
        objective=make_objective("anpo"),
        reference=adapter_off_reference(policy),
        units=schedule(12, retain_per_forget=2),
        chat=loaded.chat,
        pad_id=loaded.pad_id,
        model=policy,
        args=arguments,
        **options,
    )
    trainer.train()
    names = ("loss", "forget_loss", "retain_loss")
    return [[row[n] for n in names] for row in trainer.state.log_history if "forget_loss" in row]


def test_sft_trainer_takes_the_steps_that_our_trainer_takes(fresh, tmp_path):
    from datasets import Dataset
    from transformers import TrainingArguments
    from trl import SFTConfig, SFTTrainer

    class Ours(ObjectiveSteps, SFTTrainer):
        pass

    shared = {
        "output_dir": str(tmp_path),
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "learning_rate": 5e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
    }
    expected = losses(SpilloverTrainer, fresh(), TrainingArguments(**shared))
    loaded = fresh()
    arguments = SFTConfig(
        **shared,
        activation_checkpointing=False,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    found = losses(
        Ours,
        loaded,
        arguments,
        processing_class=loaded.tokenizer,
        train_dataset=Dataset.from_dict({"unit": list(range(12))}),
    )
    assert len(found) == 3
    for ours, theirs in zip(expected, found, strict=True):
        assert theirs == pytest.approx(ours, abs=1e-4)


def test_the_example_runs_and_is_short(base_folder, tmp_path):
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 40
    command = [sys.executable, str(EXAMPLE), str(base_folder), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "train_loss" in done.stdout
