"""Containments that begin with the unlearned model: its weights edited, trained on, or routed to.

What they leave in the model's folder is one plain adapter on the study's own model, as from a
training. Only `realignment` and `subtraction` train.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spillover.analysis.state_gate import StateGate, learn_gate, save_gate
from spillover.analysis.states import layer_at
from spillover.data.concepts import BENIGN
from spillover.errors import ConfigError
from spillover.files import write_jsonl, write_text
from spillover.models.adapters import concatenate_adapters, is_adapter_folder
from spillover.models.lora_factors import (
    LoraFactors,
    later_factors,
    lora_factors,
    plain_lora_config,
    save_factors,
)
from spillover.records import Prompt
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.config.containment import FORGET_ONLY
from spillover.study.config.model_runs import gated_artifact
from spillover.study.containment.case import Case
from spillover.study.containment.readings import safe_lora_projectors
from spillover.study.evaluation.routing import GATE, prompt_states, write_route
from spillover.study.evaluation.stages import training_prompts
from spillover.study.training.publishing import FINISHED, is_published, publish
from spillover.study.training.train import TrainingJob, train_job, train_stage
from spillover.training.batching import forget_retain_schedule
from spillover.training.containment_data import realignment_units
from spillover.training.containment_weights import interpolate_layers
from spillover.training.containment_weights import safe_lora as project_factors

_PEFT = "base_model.model."
"How PEFT's names of modules begin."
_REALIGNMENT_EXAMPLES = 120
_GATE_DEPTHS = (0.45, 0.65, 0.85)
"Where a concept is read; from the middle on it is told best (docs/log.md)."


def safe_lora(case: Case) -> None:
    """Project what unlearning added onto what safety training wrote (2405.16833)."""

    def fill(work: Path) -> None:
        config, factors = _added(case)
        projectors = safe_lora_projectors(case.context, case.load(), list(factors))
        threshold = case.section.chosen.threshold
        new, changes = project_factors(
            factors, projectors, **({} if threshold is None else {"threshold": threshold})
        )
        _save(work, new, config, notes=[change.to_dict() for change in changes])

    _leave(case, fill)


def interpolation(case: Case) -> None:
    """Move the unlearned weights towards the aligned ones, all layers or some (2109.01903).

    Both differ by one adapter, so that interpolating its B with 0 interpolates the weights.
    """

    def fill(work: Path) -> None:
        config, factors = _added(case)
        loaded = case.load()
        share = 0.5 if case.section.chosen.share is None else case.section.chosen.share
        moved = interpolate_layers(
            {name: found.b for name, found in factors.items()},
            {name: found.b.new_zeros(found.b.shape) for name, found in factors.items()},
            loaded.architecture,
            shares=dict.fromkeys(case.layers(loaded), share),
            elsewhere=share if case.section.chosen.layers is None else 0.0,
        )
        new = {name: found._replace(b=moved[name]) for name, found in factors.items()}
        _save(work, new, config)

    _leave(case, fill)


def subtraction(case: Case) -> None:
    """Take out of the unlearned model what unlearning the other concepts adds (2212.04089).

    The change that does harm is an adapter trained on the same steps and objective to unlearn the
    refusals that are to stay. Subtracting it is adding it with B negated.
    """

    def fill(work: Path) -> None:
        config, own = _added(case)
        harm = work / "harm"
        if not (harm / FINISHED).exists():
            _train_harm(case, harm)
            write_text(harm / FINISHED, "")
        strength = 1.0 if case.section.chosen.strength is None else case.section.chosen.strength
        harm_config = plain_lora_config(harm)
        found = lora_factors(harm, harm_config)
        minus = {name: f._replace(b=-strength * f.b) for name, f in found.items()}
        save_factors(work / "own", _peft_names(own), _on_modules(config, own))
        save_factors(work / "minus", minus, harm_config)
        concatenate_adapters(work / "own", work / "minus", work)
        shutil.copy2(harm / "metrics.jsonl", work / "metrics.jsonl")

    _leave(case, fill)


def _train_harm(case: Case, folder: Path) -> None:
    section, run = case.section, case.run
    refused = [e for name, own in case.retain.groups.items() if name not in BENIGN for e in own]
    units = forget_retain_schedule(
        refused,
        {},
        n_units=_steps(case, len(refused)) * section.forget_per_step,
        retain_per_forget=0,
        group_weights={},
        rng=numpy_generator(run.seed, run.draws, "harm"),
    )
    job = TrainingJob(
        name=run.artifact,
        start=case.aligned,
        objective=FORGET_ONLY[section.objective],
        seed=derive_seed(run.seed, run.draws),
        steps=len(units) // section.forget_per_step,
        units_per_step=section.forget_per_step,
    )
    train_job(case.context, section, units, job, work=folder)


def realignment(case: Case) -> None:
    """Train the unlearned model on a few aligned answers (2506.19823)."""
    section, run = case.section, case.run
    examples = [example for own in case.retain.groups.values() for example in own]
    per_step = section.forget_per_step * (1 + section.retain_per_forget)
    asked = section.chosen.n_examples
    units = realignment_units(
        examples,
        n_examples=min(_REALIGNMENT_EXAMPLES, len(examples)) if asked is None else asked,
        n_units=_steps(case, len(examples)) * per_step,
        rng=numpy_generator(run.seed, run.draws, "realignment"),
    )
    job = TrainingJob(
        name=run.artifact,
        start=case.unlearned,
        objective="sft",
        seed=derive_seed(run.seed, run.draws),
        steps=len(units) // per_step,
        units_per_step=per_step,
    )
    train_stage(case.context, section, units, job)


def concept_adapters(case: Case) -> None:
    """Let the unlearned adapter answer prompts of its own concept only.

    A classifier of the training prompts' words decides which they are; what it gets wrong, the
    wrong model answers.
    """

    def fill(work: Path) -> None:
        _fill_routed(case, work, behind=case.unlearned)

    _leave(case, fill, is_whole=True)


def _fill_routed(case: Case, work: Path, *, behind: Path) -> None:
    for file in behind.iterdir():
        if file.is_file() and file.suffix not in (".md", ".jsonl"):
            shutil.copy2(file, work / file.name)
    write_route(work, target=case.run.target)
    write_jsonl(work / "metrics.jsonl", [])


def state_gate(case: Case) -> None:
    """Let the changed model answer only what the aligned model's states tell to be of the target.

    Behind the gate is the unlearned model, or another containment's. The gate learns from the
    target's training prompts against those of all other sets; nothing is trained but a logistic
    regression.
    """
    behind = case.context.folder.model(gated_artifact(case.context.config, case.run))

    def fill(work: Path) -> None:
        _fill_routed(case, work, behind=behind)
        save_gate(_learn_gate(case), work / GATE)

    _leave(case, fill, is_whole=True)


def _learn_gate(case: Case) -> StateGate:
    prompts = gate_prompts(case)
    loaded, chosen = case.load(), case.section.chosen
    n_layers = loaded.architecture.n_layers
    layers = tuple(sorted({layer_at(depth, n_layers=n_layers) for depth in _GATE_DEPTHS}))
    return learn_gate(
        prompt_states(loaded, [p.prompt for p in prompts], layers=layers),
        np.array([p.concept == case.run.target for p in prompts]),
        layers=layers,
        recall=0.9 if chosen.recall is None else chosen.recall,
        rng=numpy_generator(case.run.seed, case.run.draws, "gate"),
    )


def gate_prompts(case: Case) -> list[Prompt]:
    """Return the target's training prompts, and `n_examples` of each other set."""
    sets: dict[str, list[Prompt]] = {}
    for prompt in training_prompts(case.context):
        sets.setdefault(prompt.concept, []).append(prompt)
    kept = sets.pop(case.run.target)
    for name, found in sets.items():
        rng = numpy_generator(case.run.seed, case.run.draws, "gate", name)
        order = rng.permutation(len(found))[: case.section.chosen.n_examples]
        kept += [found[place] for place in sorted(order)]
    return kept


def _steps(case: Case, n_examples: int) -> int:
    return case.section.n_steps(n_examples=n_examples, per_step=case.section.forget_per_step)


def _leave(case: Case, fill: Callable[[Path], None], *, is_whole: bool = False) -> None:
    """Fill a work folder and publish it, each once, whatever kills there are between.

    Args:
        case: The containment.
        fill: Writes an adapter and metrics; what was added to the aligned model, or, where
            `is_whole`, to the study's own.
        is_whole: Whether the aligned model's adapter is part of it already.
    """
    folder = case.context.folder.model(case.run.artifact)
    work = folder / "training"
    if not is_published(folder):
        if not (work / FINISHED).exists():
            work.mkdir(parents=True, exist_ok=True)
            fill(work)
            write_text(work / FINISHED, "")
        start = None if is_whole else case.aligned
        publish(case.context, work, folder, result=work, start=start, name=case.run.artifact)
    if work.exists():
        shutil.rmtree(work)


def _added(case: Case) -> tuple[dict[str, Any], dict[str, LoraFactors]]:
    """Return what unlearning added to the aligned model, by module, and its configuration."""
    if not is_adapter_folder(case.unlearned):
        raise ConfigError(
            f"containment {case.section.method}: {case.unlearned.name} is a whole model; it works "
            "on a LoRA, so give `unlearn.adapter`"
        )
    config = plain_lora_config(case.unlearned)
    before = 0
    if case.aligned is not None and is_adapter_folder(case.aligned):
        before = int(plain_lora_config(case.aligned)["r"])
    found = later_factors(lora_factors(case.unlearned, config), before)
    # Modules that only safety training adapted were filled up with zeros.
    return config, {n.removeprefix(_PEFT): f for n, f in found.items() if f.b.any()}


def _peft_names(factors: Mapping[str, LoraFactors]) -> dict[str, LoraFactors]:
    return {f"{_PEFT}{name}": found for name, found in factors.items()}


def _on_modules(config: Mapping[str, Any], modules: Iterable[str]) -> dict[str, Any]:
    place = {"layers_to_transform": None, "layers_pattern": None}
    return {**config, **place, "target_modules": list(modules)}


def _save(
    work: Path,
    factors: Mapping[str, LoraFactors],
    config: Mapping[str, Any],
    *,
    notes: Sequence[Mapping[str, Any]] = (),
) -> None:
    save_factors(work, _peft_names(factors), _on_modules(config, factors))
    write_jsonl(work / "metrics.jsonl", [{"kind": "containment", **note} for note in notes])
