"""Alarm thresholds of the guard from benign fine-tunes, and eroding ones beside them.

    python benchmarks/guard_calibration.py --data a.jsonl b.jsonl [--model embedded]
        [--adapter FOLDER] [--runs 12] [--steps 16] [--journal runs.jsonl]

Each run is a LoRA fine-tune on random rows of one of the files (JSONL with `messages`, or `prompt`
and `response`), a new seed and the next of the learning rates. Prints each run's signals and the
thresholds with the false-alarm rate that is measured by leaving out one run at a time. Runs are
kept in the journal, and those that are there are not made again. With `--eroding` files it then
trains on those as well and says at which measurement the guard would have alarmed; with `--runs 0`
it only does that, with the default thresholds.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments

from spillover.data import load_examples
from spillover.files import append_jsonl, read_journal
from spillover.models import LoadedModel, load_model
from spillover.models.adapters import add_lora
from spillover.models.chat import ChatTokens
from spillover.records import Example
from spillover.seeding import derive_seed, numpy_generator
from spillover.training.guard import AlignmentGuard
from spillover.training.guard_defaults import DEFAULT_THRESHOLDS
from spillover.training.guard_readings import Signals
from spillover.training.guard_thresholds import GuardThresholds, fit_thresholds

_LONGEST = 96


def main() -> None:
    """Run the benign fine-tunes, set thresholds, and try them."""
    asked = _arguments()
    loaded = load_model(asked.model, adapter=asked.adapter, dtype=asked.dtype, device=asked.device)
    done = read_journal(asked.journal)
    for index in range(len(done), asked.runs):
        file = asked.data[index % len(asked.data)]
        run = _signals(loaded, file, asked, index=index)
        append_jsonl(asked.journal, [{"setting": _setting(asked), "file": file.stem, "run": run}])
        print(f"benign {index:2} {file.stem:20}", _highest(run), flush=True)
    runs = [row["run"] for row in read_journal(asked.journal) if row["setting"] == _setting(asked)]
    thresholds = DEFAULT_THRESHOLDS
    if asked.runs:
        thresholds = fit_thresholds(runs, false_alarm_rate=asked.rate, setting=_setting(asked))
        print(json.dumps(thresholds.to_dict(), indent=2))
    for index, file in enumerate(asked.eroding):
        found = _signals(loaded, file, asked, index=index)
        print(f"eroding   {file.stem:20}", _highest(found), _first_alarm(thresholds, found))


def _signals(
    loaded: LoadedModel, file: Path, asked: argparse.Namespace, *, index: int
) -> list[Signals]:
    rng = numpy_generator(index, "guard", file.stem)
    pool = [e for e in load_examples(file) if _fits(loaded, e)]
    size = asked.steps * asked.batch
    chosen = [pool[i] for i in rng.choice(len(pool), size=size, replace=len(pool) < size)]
    rate = asked.rates[index // max(1, len(asked.data)) % len(asked.rates)]
    policy = add_lora(loaded.model, loaded.architecture, rank=16, seed=derive_seed(index, "guard"))
    guard = AlignmentGuard(
        every=asked.every, thresholds=GuardThresholds(), chat=loaded.chat, table=False
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=policy,
            args=_training(Path(folder), asked, rate=rate, loaded=loaded),
            train_dataset=[loaded.chat.example_ids(e) for e in chosen],
            data_collator=lambda rows: _batch(rows, loaded),
            callbacks=[guard],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    policy.unload()
    return guard.signals


def _fits(loaded: LoadedModel, example: Example) -> bool:
    return len(loaded.chat.example_ids(example).input_ids) <= _LONGEST


def _batch(rows: list[ChatTokens], loaded: LoadedModel) -> dict[str, torch.Tensor]:
    from spillover.models import pad_batch

    batch = pad_batch(rows, pad_id=loaded.pad_id, padding_side="right")
    labels = batch.input_ids.masked_fill(~batch.response_mask, -100)
    return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "labels": labels}


def _training(
    folder: Path, asked: argparse.Namespace, *, rate: float, loaded: LoadedModel
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=asked.steps,
        per_device_train_batch_size=asked.batch,
        learning_rate=rate,
        lr_scheduler_type="constant",
        use_cpu=loaded.device.type == "cpu",
        bf16=asked.dtype == "bfloat16",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )


def _highest(run: list[Signals]) -> dict[str, float]:
    return {name: round(max(signals[name] for signals in run), 3) for name in run[0]}


def _first_alarm(thresholds: GuardThresholds, run: list[Signals]) -> str:
    for place, signals in enumerate(run):
        if found := thresholds.exceeded(signals):
            return f"alarm at measurement {place} of {len(run) - 1}: {sorted(found)}"
    return "no alarm"


def _setting(asked: argparse.Namespace) -> str:
    data = ", ".join(file.stem for file in asked.data)
    return (
        f"{asked.model}{' with safety training' if asked.adapter else ''}, LoRA r 16, "
        f"{asked.steps} steps of {asked.batch}, learning rates {asked.rates}, data: {data}"
    )


def _arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--eroding", type=Path, nargs="*", default=[])
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-4, 5e-4, 1e-3])
    parser.add_argument("--rate", type=float, default=0.1, help="wanted false-alarm rate")
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--journal", type=Path, default=Path("guard_runs.jsonl"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
