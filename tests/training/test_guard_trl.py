"""The guard in real TRL trainers, on a tiny model: SFT and DPO, with and without an adapter."""

import json

import pytest
import torch

from spillover.training.guard import AlignmentGuard
from spillover.training.guard_actions import AlignmentAlarm
from tests.training.examples import PEFT_WARNING
from tests.training.guarding import ALWAYS, NEVER, PROBES, TEXTS, trained_weights, trl

pytestmark = [
    pytest.mark.filterwarnings(PEFT_WARNING),
    # TRL's and what it imports; nothing of ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

COMMON = {
    "max_steps": 4,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-2,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "disable_tqdm": True,
    "save_strategy": "no",
    "logging_steps": 1,
    "dataloader_pin_memory": False,
}


def sft_trainer(loaded, folder, **options):
    trl()
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    turns = [
        {
            "messages": [
                {"role": "user", "content": text},
                {"role": "assistant", "content": "An answer."},
            ]
        }
        for text in TEXTS
    ]
    loaded.model.requires_grad_(True)
    return SFTTrainer(
        model=loaded.model,
        args=SFTConfig(output_dir=str(folder), **{**COMMON, "max_length": 128}),
        train_dataset=Dataset.from_list(turns),
        processing_class=loaded.tokenizer,
        **options,
    )


def dpo_trainer(loaded, folder, **options):
    trl()
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    pairs = [{"prompt": text, "chosen": " yes, gladly", "rejected": " no"} for text in TEXTS]
    loaded.model.requires_grad_(True)
    return DPOTrainer(
        model=loaded.model,
        args=DPOConfig(output_dir=str(folder), **COMMON),
        train_dataset=Dataset.from_list(pairs),
        processing_class=loaded.tokenizer,
        **options,
    )


def lora():
    from peft import LoraConfig

    return LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")


MAKERS = {"sft": sft_trainer, "dpo": dpo_trainer}


@pytest.mark.parametrize("kind", MAKERS)
def test_one_line_watches_a_trl_trainer_at_optimizer_steps_and_reaches_its_log(
    kind, fresh, tmp_path
):
    trainer = MAKERS[kind](fresh(), tmp_path)
    guard = AlignmentGuard(probes=PROBES, thresholds=NEVER, every=2).attach(trainer)
    trainer.train()
    # Four optimizer steps of two backward passes each: the start, 2 and 4.
    assert [s["first_token_kl"] > 0 for s in guard.signals] == [False, True, True]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert {json.loads(line)["step"] for line in lines} == {0, 2, 4}
    history = trainer.state.log_history
    assert [row["step"] for row in history if "guard/first_token_kl" in row] == [0, 2, 4]
    # The trainer's own log has every one of its steps still.
    assert [row["step"] for row in history if "loss" in row] == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", MAKERS)
def test_rollback_in_a_trl_trainer_gives_the_first_weights_back(kind, fresh, tmp_path):
    loaded = fresh()
    before = trained_weights(loaded.model)
    guard = AlignmentGuard(probes=PROBES, thresholds=ALWAYS, every=2, on_alarm="rollback")
    trainer = MAKERS[kind](loaded, tmp_path, callbacks=[guard])
    with pytest.warns(AlignmentAlarm, match="rolled back to step 0 and stopped"):
        trainer.train()
    assert trainer.state.global_step == 2
    after = trained_weights(trainer.model)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", MAKERS)
def test_contain_in_a_trl_trainer_with_an_adapter_goes_on_and_the_base_is_untouched(
    kind, fresh, tmp_path
):
    loaded = fresh()
    before = trained_weights(loaded.model)
    guard = AlignmentGuard(
        probes=PROBES, thresholds=ALWAYS, every=3, on_alarm="contain", reference="adapter_off"
    )
    trainer = MAKERS[kind](loaded, tmp_path, peft_config=lora(), callbacks=[guard])
    with pytest.warns(AlignmentAlarm) as caught:
        trainer.train()
    assert [alarm.action for alarm in guard.alarms] == [
        "contained from step 0",
        "rolled back to step 0 and stopped",
    ]
    assert [alarm.step for alarm in guard.alarms] == [3, 4]
    assert len([w for w in caught if w.category is AlignmentAlarm]) == 2
    base = trained_weights(trainer.model.get_base_model())
    for name, weight in before.items():
        place = name if name in base else name.replace(".weight", ".base_layer.weight")
        assert torch.equal(weight, base[place])
