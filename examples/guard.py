"""Guard a plain transformers.Trainer: measure alignment on the way, go back before it erodes.

    python examples/guard.py MODEL DATA.jsonl OUT

MODEL is a chat model; each line of DATA has `prompt` and `response`, or `messages`.
"""

import sys
from pathlib import Path

from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

from spillover import AlignmentGuard, load_model
from spillover.data import load_examples
from spillover.models.adapters import add_lora

source, data, out = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
loaded = load_model(source)
rows = []
for example in load_examples(data):
    tokens = loaded.chat.exchange_ids(example.prompt, example.response)
    labels = [-100] * tokens.prompt_length + tokens.input_ids[tokens.prompt_length :]
    rows.append({"input_ids": tokens.input_ids, "labels": labels})

trainer = Trainer(
    model=add_lora(loaded.model, loaded.architecture, rank=8),
    args=TrainingArguments(output_dir=out, max_steps=60, learning_rate=2e-4, report_to="none"),
    train_dataset=rows,
    data_collator=DataCollatorForSeq2Seq(loaded.tokenizer),
    processing_class=loaded.tokenizer,
)
guard = AlignmentGuard(on_alarm="rollback").attach(trainer)
trainer.train()
trainer.save_model()
for name, value in guard.signals[-1].items():
    print(f"{name:16} {value:8.3f}")
print(f"{len(guard.alarms)} alarms; the guard took {guard.overhead:.0%} of the time")
