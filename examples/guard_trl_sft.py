"""Guard a TRL fine-tune: measure alignment on the way, and go back before it erodes.

    python examples/guard_trl_sft.py MODEL DATA.jsonl OUT

MODEL is a chat model (a folder or hub id); each line of DATA has `messages`.
"""

import sys

from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from spillover import AlignmentGuard

model, data, out = sys.argv[1:4]
trainer = SFTTrainer(
    model=model,
    args=SFTConfig(output_dir=out, max_steps=60, learning_rate=2e-4, report_to="none"),
    train_dataset=load_dataset("json", data_files=data, split="train"),
    peft_config=LoraConfig(r=16, lora_alpha=16, target_modules="all-linear"),
)
guard = AlignmentGuard(on_alarm="rollback").attach(trainer)
trainer.train()
trainer.save_model()

print(f"measured {len(guard.signals)} times, for {guard.overhead:.0%} of the training time")
for name, value in guard.signals[-1].items():
    print(f"{name:16} {value:8.3f}")
for alarm in guard.alarms:
    print(f"alarm at step {alarm.step}: {alarm.action}")
