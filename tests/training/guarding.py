"""Small probes, data sets and real trainers for the tests of the guard."""

import pytest
from transformers import Trainer, TrainingArguments

from spillover.records import AnswerPair, Prompt
from spillover.training.guard_probes import GuardProbes
from spillover.training.guard_thresholds import GuardThresholds

PROBES = GuardProbes(
    prompts=(
        Prompt(id="s1", prompt="Harm one", concept="safety"),
        Prompt(id="s2", prompt="Harm number two", concept="safety"),
        Prompt(id="b1", prompt="Bias", concept="bias"),
        Prompt(id="g1", prompt="Good", concept="benign_plain"),
    ),
    pairs=(
        AnswerPair(
            id="p1",
            concept="values",
            prompt="A wallet?",
            prefix="You",
            aligned="return it.",
            misaligned="keep it.",
        ),
    ),
)

NEVER = GuardThresholds(values={"first_token_kl": 1e9})
ALWAYS = GuardThresholds(values={"first_token_kl": -1.0})
"Alarms at every measurement but that at the start, which is never one."

TEXTS = [f"question {i}" for i in range(16)]


def rows(tokenizer, n=16):
    """Return plain language-modelling rows of one length."""
    texts = [f"{text:<12} answer" for text in TEXTS[:n]]
    ids = [tokenizer(text)["input_ids"] for text in texts]
    return [{"input_ids": i, "attention_mask": [1] * len(i), "labels": list(i)} for i in ids]


def arguments(folder, **options):
    """Return the arguments of a short training on the CPU."""
    defaults = {
        "output_dir": str(folder),
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "dataloader_pin_memory": False,
        "lr_scheduler_type": "linear",
    }
    return TrainingArguments(**{**defaults, **options})


def hf_trainer(loaded, folder, *, callbacks=(), tokenizer="own", **options):
    """Return a plain Hugging Face trainer over all weights of a tiny model."""
    loaded.model.requires_grad_(True)
    return Trainer(
        model=loaded.model,
        args=arguments(folder, **options),
        train_dataset=rows(loaded.tokenizer),
        processing_class=loaded.tokenizer if tokenizer == "own" else tokenizer,
        callbacks=list(callbacks),
    )


def trained_weights(model):
    """Return copies of all weights by name."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def trl():
    """Import TRL, or skip the test with a reason."""
    return pytest.importorskip("trl", reason="TRL is not installed: pip install trl")
