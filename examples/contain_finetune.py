"""Fine-tune on your own data with a containment method, and watch what it keeps.

    python examples/contain_finetune.py MODEL DATA.jsonl OUT [METHOD]

Each line of DATA has `messages`. METHOD is retain_ce, retain_kl or safe_grad.
"""

import sys

from datasets import load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

from spillover import AlignmentGuard, GenerationSettings, HFGenerator, bundled_prompts, load_model
from spillover.data import CONCEPTS
from spillover.seeding import numpy_generator
from spillover.training.containment import ContainmentParts, containment_callbacks
from spillover.training.containment_penalties import RetainBatches
from spillover.training.references import adapter_off_model

model, data, out = sys.argv[1:4]
loaded = load_model(model)
prompts = [p for concept in CONCEPTS for p in bundled_prompts(concept, split="train")[:4]]
said = HFGenerator(loaded, "aligned").generate(prompts, settings=GenerationSettings())
tokens = [loaded.chat.exchange_ids(c.prompt, c.response) for c in said if c.response]
retain = RetainBatches(tokens, pad_id=loaded.pad_id, rng=numpy_generator(0, "retain"))
trainer = SFTTrainer(
    model=loaded.model,
    args=SFTConfig(output_dir=out, max_steps=60, learning_rate=2e-4, report_to="none"),
    train_dataset=load_dataset("json", data_files=data, split="train"),
    processing_class=loaded.tokenizer,
    peft_config=LoraConfig(r=16, lora_alpha=16, target_modules="all-linear"),
)
parts = ContainmentParts(retain=retain, frozen=adapter_off_model(trainer.model))
for callback in containment_callbacks(sys.argv[4] if len(sys.argv) > 4 else "safe_grad", parts):
    trainer.add_callback(callback)
guard = AlignmentGuard().attach(trainer)
trainer.train()
trainer.save_model()
print(guard.signals[-1])
