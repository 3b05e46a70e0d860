"""Estimates of `spillover doctor` beside a measured training and measured answers.

    python benchmarks/estimates.py [--model embedded] [--steps 12]

Trains a LoRA with ANPO and asks for short answers, once, with the memory of the process above what
it held after loading, and prints estimate, measurement and their ratio.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from spillover.data import bundled_prompts
from spillover.generation.hf import HFGenerator
from spillover.generation.protocol import GenerationSettings
from spillover.models.loading import load_model
from spillover.records import Example
from spillover.seeding import numpy_generator
from spillover.study.scale import estimates
from spillover.study.scale.estimates import Placement, generation_estimate
from spillover.study.scale.hardware import GIB, found_hardware
from spillover.study.scale.model_shapes import model_shape
from spillover.study.scale.training_works import TrainingWork
from spillover.training import LoraSettings, TrainingSettings, make_objective, train
from spillover.training.batching import forget_retain_schedule

REFUSAL = "I'm sorry, but I can't help with that request, as it could cause harm to others."


def resident() -> float:
    """Return the highest memory of the process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def show(what: str, estimate: float, measured: float) -> None:
    """Print one comparison."""
    print(
        f"{what:28} estimate {estimate:9.2f}  measured {measured:9.2f}  {estimate / measured:.2f}"
    )


def main() -> None:
    """Measure and compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--steps", type=int, default=12)
    chosen = parser.parse_args()
    shape, hardware = model_shape(chosen.model), found_hardware()
    print(f"{hardware.flops / 1e9:.0f} GFLOP/s, {hardware.bandwidth / 1e9:.1f} GB/s")
    loaded = load_model(chosen.model)
    prompts = bundled_prompts("safety", split="train")
    tokens = [loaded.chat.exchange_ids(p.prompt, REFUSAL) for p in prompts]
    length = sum(len(t.input_ids) for t in tokens) / len(tokens)
    response = length - sum(t.prompt_length for t in tokens) / len(tokens)

    begin = time.perf_counter()
    settings = GenerationSettings(max_new_tokens=20, batch_size=32)
    answers = HFGenerator(loaded, "m").generate(prompts[:32], settings=settings)
    seconds = time.perf_counter() - begin
    guess = generation_estimate(
        "answers",
        shape,
        hardware,
        n_prompts=32,
        prompt_tokens=length - response,
        new_tokens=max(answer.n_tokens for answer in answers),
        batch_size=32,
        dtype="bfloat16",
    )
    show("answers, s", guess.seconds, seconds)

    examples = [
        Example(id=p.id, prompt=p.prompt, response=REFUSAL, concept=p.concept) for p in prompts
    ]
    units = forget_retain_schedule(
        examples[:48],
        {"others": examples[48:]},
        n_units=chosen.steps * 4,
        retain_per_forget=2,
        group_weights={"others": 1.0},
        rng=numpy_generator(0, "benchmark"),
    )
    before, begin = resident(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train(
            loaded,
            units,
            objective=make_objective("anpo"),
            folder=Path(folder),
            settings=TrainingSettings(
                steps=chosen.steps, units_per_step=4, learning_rate=1e-4, checkpoint_every=1000
            ),
            lora=LoraSettings(rank=16),
        )
    seconds, grown = time.perf_counter() - begin, resident() - before
    work = TrainingWork(
        n_steps=chosen.steps,
        units=4,
        examples=12,
        reference_examples=48,
        tokens=length,
        response_tokens=response,
        rank=16,
        trained_layers=shape.n_layers,
    )
    place = Placement(group_tokens=640)
    show("training, s", estimates.training_seconds(shape, work, place, hardware), seconds)
    weights = shape.n_parameters * 2
    show(
        "training above weights, GiB",
        (estimates.training_bytes(shape, work, place) - weights) / GIB,
        grown / GIB,
    )


if __name__ == "__main__":
    main()
