"""How much each training of a study goes through: steps, examples, tokens and trained layers.

Counted from the study and its data, without a model; what that takes in memory and time is
`estimates`'. A refusal is taken to have `REFUSAL_TOKENS`, as it is collected only by the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spillover.data.concepts import BENIGN
from spillover.data.suites import SUITES
from spillover.records import Example, Prompt, Record
from spillover.seeding import numpy_generator
from spillover.study.config import StudyConfig
from spillover.study.config.adapter import AdapterSection
from spillover.study.config.containment import ContainSection
from spillover.study.config.sections import AlignSection, TrainingSection
from spillover.study.config.tuning import FinetuneSection
from spillover.study.runner.tuning_plan import missing_files
from spillover.study.scale.model_shapes import ModelShape
from spillover.study.stages.datasets import finetune_examples, study_prompts

CHARACTERS_PER_TOKEN, TEMPLATE_TOKENS, REFUSAL_TOKENS = 4.0, 25, 16


@dataclass(frozen=True, kw_only=True)
class TrainingWork(Record):
    """What one training goes through."""

    n_steps: int
    units: int
    "Of a step: what processes can share."
    examples: float
    "Of a step."
    reference_examples: float
    "That go through the frozen model, all steps together."
    tokens: float
    "Of an example, prompt and response."
    response_tokens: float
    rank: int | None
    "Of the LoRA; None trains all weights."
    trained_layers: int
    "From the lowest adapted one to the last."
    epoch_steps: float = 0.0
    "Steps in which each forget (or fine-tuning) example is seen once."
    accumulation: int = 1
    quantised: bool = False
    "Whether the study asks for frozen weights in four bits, however the training is placed."
    checkpointed: bool = False
    "Whether it asks for activations to be computed again."


@dataclass(frozen=True)
class Reach:
    """How far up and down an adapter makes a model trainable."""

    rank: int | None
    lowest: int
    "The lowest adapted layer, from 0."


def training_works(config: StudyConfig, shape: ModelShape) -> list[tuple[str, TrainingWork, int]]:
    """Return name, work and number of each kind of training, fine-tunings included.

    A fine-tuning whose file is not there is left out; `uncounted` names it.
    """
    train = study_prompts(config.prompts)["train"]
    n_forget = max(
        [sum(p.concept == target for p in train) for target in config.targets], default=0
    )
    prompt_tokens = mean_tokens([p for p in train if p.concept not in BENIGN])
    n_changed = len(config.targets) * len(config.seeds)
    sections: list[tuple[str, TrainingSection | None, int]] = [
        ("align", config.align, 1),
        ("unlearn", config.unlearn, n_changed),
    ]
    sections += [
        (f"contain {name}".strip(), section, n_changed)
        for name, section in config.contain_sections.items()
        if section.trains
    ]
    found = [
        (name, _work(section, shape, n_forget=n_forget, prompt_tokens=prompt_tokens), count)
        for name, section, count in sections
        if section is not None
    ]
    missing = missing_files(config)
    return found + [
        (f"finetune {name}", _tuning_work(section, shape, name=name, kept=prompt_tokens), n_seeds)
        for n_seeds in [len(config.seeds)]
        for name, section in config.finetune.items()
        if f"finetune.{name}.data" not in missing
    ]


def uncounted(config: StudyConfig) -> list[str]:
    """Return what a study does that no estimate counts."""
    missing = missing_files(config)
    found = [
        f"finetune {name} ({missing[key]} is not there)"
        for name in config.finetune
        if (key := f"finetune.{name}.data") in missing
    ]
    evaluate = config.evaluate
    judges = [evaluate.judge] + ([] if config.select is None else [config.select.judge])
    kinds = {SUITES[spec.partition(":")[0]].kind for spec in evaluate.suites}
    asked = {
        "suites": bool(kinds - {"pairs"}),
        "a judge that is a model": any(j not in ("phrases", "classifier") for j in judges),
        "answers of the model in `wanted`": config.wanted is not None
        and config.wanted.model is not None,
        "what `stress` asks and trains": config.stress is not None,
        "analyses": config.analyses is not None,
    }
    return found + [what for what, is_asked in asked.items() if is_asked]


def _work(
    section: TrainingSection, shape: ModelShape, *, n_forget: int, prompt_tokens: float
) -> TrainingWork:
    if isinstance(section, AlignSection):
        examples, forget_per_step = section.refusals_per_step + section.benign_per_step, 1
        units, reference = examples, 0
    else:
        forget_per_step = int(getattr(section, "forget_per_step", 1))
        ratio = section.retain_per_forget if isinstance(section, ContainSection) else 0
        examples, units, reference = forget_per_step * (1 + ratio), forget_per_step, n_forget
    n_steps = section.n_steps(n_examples=n_forget, per_step=forget_per_step)
    if isinstance(section, ContainSection):
        n_steps += section.second_steps(n_steps)
    work = TrainingWork(
        n_steps=n_steps,
        epoch_steps=n_forget / forget_per_step,
        units=units,
        examples=examples,
        reference_examples=reference,
        tokens=prompt_tokens + REFUSAL_TOKENS,
        response_tokens=REFUSAL_TOKENS,
        rank=None,
        trained_layers=shape.n_layers,
    )
    return _scaled(work, section, shape)


def _tuning_work(
    section: FinetuneSection, shape: ModelShape, *, name: str, kept: float
) -> TrainingWork:
    """Return a fine-tuning's work; `kept` is the length of the prompts of its retain set."""
    examples = finetune_examples(section, name=name, rng=numpy_generator(0, "estimate"))
    response = _characters([e.response for e in examples]) / CHARACTERS_PER_TOKEN
    ratio = section.retain_per_example if section.has_retain_set else 0
    tokens = mean_tokens(examples) + response + ratio * (kept + REFUSAL_TOKENS)
    per_step = section.examples_per_step
    n_steps = section.n_steps(n_examples=len(examples), per_step=per_step)
    looks = ratio if section.objective == "finetune_kl" else 0
    work = TrainingWork(
        n_steps=n_steps,
        epoch_steps=len(examples) / per_step,
        units=per_step,
        examples=per_step * (1 + ratio),
        reference_examples=n_steps * per_step * looks,
        tokens=tokens / (1 + ratio),
        response_tokens=(response + ratio * REFUSAL_TOKENS) / (1 + ratio),
        rank=None,
        trained_layers=shape.n_layers,
    )
    return _scaled(work, section, shape)


def _scaled(work: TrainingWork, section: TrainingSection, shape: ModelShape) -> TrainingWork:
    reach = adapter_reach(section.adapter, shape.n_layers)
    return replace(
        work,
        rank=reach.rank,
        trained_layers=shape.n_layers - min(reach.lowest, shape.n_layers - 1),
        accumulation=section.accumulation,
        quantised=section.quantise,
        checkpointed=section.checkpoint_activations,
    )


def adapter_reach(adapter: AdapterSection | None, n_layers: int) -> Reach:
    """Return rank and lowest layer of an adapter; those of organisms as `training.organisms` has.

    Of adapters on single modules, such as rank-1 ones, no more than the size on all is known, which
    is too large by some MiB.
    """
    from spillover.training.organisms import scaled_layer

    if adapter is None:
        return Reach(None, 0)
    if adapter.layers is not None:
        lowest = min(layer % n_layers for layer in adapter.layers)
        return Reach(adapter.rank if adapter.kind == "lora" else 1, lowest)
    if adapter.kind == "lora":
        return Reach(adapter.rank, adapter.first_layer)
    if adapter.kind == "all_adapters":
        return Reach(32, 0)
    centre = 15 if adapter.kind == "nine_adapters" else 24  # Layers of 48.
    return Reach(1, scaled_layer(centre, n_layers))


def mean_tokens(prompts: Sequence[Prompt] | Sequence[Example]) -> float:
    """Return the mean length of prompts in tokens, with a chat template's own."""
    return TEMPLATE_TOKENS + _characters([p.prompt for p in prompts]) / CHARACTERS_PER_TOKEN


def _characters(texts: Sequence[str]) -> float:
    return sum(map(len, texts)) / max(1, len(texts))
