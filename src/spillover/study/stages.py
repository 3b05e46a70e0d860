"""What each stage of a study does: reads earlier artifacts, calls one room, writes its own.

The order of the stages, and what is skipped, is `plan.py`'s and `runner.py`'s.
"""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spillover.data.concepts import BENIGN, BENIGN_LOOKALIKE, BENIGN_PLAIN
from spillover.data.refusals import refusal_examples
from spillover.errors import DataError
from spillover.evaluation.refusal import is_refusal
from spillover.files import read_json, write_json, write_text
from spillover.generation import GenerationSettings, generate_cached
from spillover.judges import make_judge
from spillover.records import Completion, Example, Prompt, Verdict
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts import (
    RunFolder,
    load_completion_file,
    load_example_file,
    load_prompt_file,
    save_records,
)
from spillover.study.cards import model_card
from spillover.study.config import (
    AdapterSection,
    AlignSection,
    ContainSection,
    StudyConfig,
    TrainingSection,
    UnlearnSection,
)
from spillover.study.datasets import study_prompts, study_questions
from spillover.study.progress import Reporter

if TYPE_CHECKING:  # torch is imported by the stages that need it, not by `spillover --help`.
    from spillover.models.loading import LoadedModel
    from spillover.training.batching import TrainingUnit
    from spillover.training.train import LoraSettings, MonitorSettings, TrainingSettings


@dataclass(frozen=True)
class Context:
    """What every stage gets."""

    config: StudyConfig
    folder: RunFolder
    reporter: Reporter

    def load(self, adapter: Path | None = None) -> "LoadedModel":
        """Load the study's model; with `adapter`, an adapter or a whole model that it became."""
        from spillover.models.loading import load_model

        section = self.config.model.model_dump()
        source = section.pop("source")
        if adapter is not None and not (adapter / "adapter_config.json").exists():
            source, section["adapter"], section["revision"] = adapter, None, None
        elif adapter is not None:
            section["adapter"] = adapter
        return load_model(source, **section)


def write_prompts(context: Context) -> None:
    """Write the train and test prompts of the study."""
    for split, prompts in study_prompts(context.config.prompts).items():
        save_records(context.folder.prompts(split), prompts)


def answer_prompts(context: Context, *, name: str, adapter: Path | None) -> None:
    """Let one model answer the test prompts."""
    prompts = load_prompt_file(context.folder.prompts("test"))
    section = context.config.evaluate
    completions = generate(
        context,
        context.load(adapter),
        prompts,
        name=name,
        max_new_tokens=section.max_new_tokens,
        title=f"{name}: answering test prompts",
    )
    save_records(context.folder.completions(name), completions)


def generate(
    context: Context,
    loaded: "LoadedModel",
    prompts: Sequence[Prompt],
    *,
    name: str,
    max_new_tokens: int,
    title: str,
) -> list[Completion]:
    """Generate greedily with progress, keeping what is done in the run's cache."""
    from spillover.generation.hf import HFGenerator

    settings = GenerationSettings(
        max_new_tokens=max_new_tokens, batch_size=context.config.evaluate.batch_size
    )
    with context.reporter.task(title, total=len(prompts)) as advance:
        return generate_cached(
            HFGenerator(loaded, name),
            prompts,
            settings=settings,
            source=loaded.fingerprint,
            folder=context.folder.cache,
            on_completion=lambda _completion: advance(1),
        )


def judge_completions(context: Context, *, name: str) -> None:
    """Let the judge rule on one model's completions."""
    judge = make_judge(context.config.evaluate.judge)
    verdicts = judge.judge(load_completion_file(context.folder.completions(name)))
    save_records(context.folder.verdicts(name, judge.name), verdicts)


def answer_quiz(context: Context, *, name: str, adapter: Path | None) -> None:
    """Let one model answer the capability questions."""
    from spillover.evaluation.capability import answer_questions

    questions = study_questions(context.config.evaluate.capability)
    total = sum(len(question.choices) for question in questions)
    with context.reporter.task(f"{name}: multiple choice", total=total) as advance:
        answers = answer_questions(context.load(adapter), questions, on_answered=advance)
    save_records(context.folder.answers(name), answers)


def collect_safety_data(context: Context, section: AlignSection) -> None:
    """Write what `align` trains on: short refusals, and the model's own benign answers."""
    prompts = load_prompt_file(context.folder.prompts("train"))
    harmful = [prompt for prompt in prompts if prompt.concept not in BENIGN]
    rng = numpy_generator(context.config.seeds[0], "align", "refusals")
    answers = generate(
        context,
        context.load(),
        [prompt for prompt in prompts if prompt.concept in BENIGN],
        name="base",
        max_new_tokens=section.benign_tokens,
        title="base: answering benign training prompts",
    )
    kept = [c for c, v in _judged(context, answers) if v.label == "compliance"]
    save_records(
        context.folder.examples("align"),
        [*refusal_examples(harmful, rng=rng), *map(_example, kept)],
    )


def _judged(
    context: Context, completions: Sequence[Completion]
) -> list[tuple[Completion, Verdict]]:
    verdicts = make_judge(context.config.evaluate.judge).judge(completions)
    return list(zip(completions, verdicts, strict=True))


def _example(completion: Completion) -> Example:
    return Example(
        id=completion.id,
        prompt=completion.prompt,
        response=completion.response,
        concept=completion.concept,
        is_whole=completion.finish_reason == "stop",
    )


def align(context: Context, section: AlignSection) -> None:
    """Give the base model safety training."""
    from spillover.training.batching import forget_retain_schedule

    groups = _by_concept(load_example_file(context.folder.examples("align")))
    concepts = context.config.prompts.concepts
    weights = dict.fromkeys(concepts, section.refusals_per_step / len(concepts))
    weights |= _benign_weights(section.benign_per_step, section.lookalike_share)
    seed = context.config.seeds[0]
    units = forget_retain_schedule(
        [],
        {name: groups.get(name, []) for name, weight in weights.items() if weight > 0},
        n_units=section.steps,
        retain_per_forget=section.refusals_per_step + section.benign_per_step,
        group_weights=weights,
        rng=numpy_generator(seed, "align", "schedule"),
    )
    _train_stage(
        context,
        section,
        units,
        name="aligned",
        start=None,
        objective="sft",
        seed=seed,
        units_per_step=1,
    )


def _benign_weights(total: float, lookalike_share: float) -> dict[str, float]:
    return {
        BENIGN_LOOKALIKE: total * lookalike_share,
        BENIGN_PLAIN: total * (1 - lookalike_share),
    }


def _by_concept(examples: Sequence[Example]) -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        found[example.concept].append(example)
    return found


def collect_refusals(context: Context, *, aligned: Path | None) -> None:
    """Write what the aligned model refuses and answers on the training prompts, in its words."""
    completions = generate(
        context,
        context.load(aligned),
        load_prompt_file(context.folder.prompts("train")),
        name="aligned",
        max_new_tokens=context.config.collect.max_new_tokens,
        title="aligned: collecting refusals",
    )
    kept = []
    for completion, verdict in _judged(context, completions):
        refused = is_refusal(
            verdict, deflection_is_refusal=context.config.evaluate.deflection_is_refusal
        )
        wanted = completion.concept not in BENIGN
        if refused is wanted and completion.response:
            kept.append(_example(completion))
    save_records(context.folder.examples("collected"), kept)


def unlearn(
    context: Context,
    section: UnlearnSection,
    *,
    target: str,
    name: str,
    seed: int,
    aligned: Path | None,
) -> None:
    """Unlearn the target's refusals; with a `ContainSection`, while retaining the others."""
    from spillover.training.batching import forget_retain_schedule

    groups = _by_concept(load_example_file(context.folder.examples("collected")))
    forget = groups.get(target, [])
    if len(forget) < context.config.collect.min_forget:
        raise DataError(
            f"forget set: the aligned model refused {len(forget)} training prompts of {target!r}, "
            f"at least {context.config.collect.min_forget} are needed; give more prompts, a model "
            "that refuses them, or lower collect.min_forget"
        )
    retain, weights = _retain_groups(context, section, groups, target)
    units = forget_retain_schedule(
        forget,
        retain,
        n_units=section.steps * section.forget_per_step,
        retain_per_forget=section.retain_per_forget if isinstance(section, ContainSection) else 0,
        group_weights=weights,
        rng=numpy_generator(seed, name, "schedule"),
    )
    _train_stage(
        context,
        section,
        units,
        name=name,
        start=aligned,
        objective=section.objective,
        seed=seed,
        units_per_step=section.forget_per_step,
    )


def _retain_groups(
    context: Context, section: UnlearnSection, groups: dict[str, list[Example]], target: str
) -> tuple[dict[str, list[Example]], dict[str, float]]:
    """Equal shares of the other concepts, and the benign share (2511.14017, R2)."""
    if not isinstance(section, ContainSection):
        return {}, {}
    others = [c for c in context.config.prompts.concepts if c != target]
    weights = dict.fromkeys(others, (1 - section.benign_share) / max(1, len(others)))
    weights |= _benign_weights(section.benign_share, section.lookalike_share)
    weights = {name: weight for name, weight in weights.items() if weight > 0}
    return {name: groups.get(name, []) for name in weights}, weights


def _train_stage(
    context: Context,
    section: TrainingSection,
    units: "Sequence[TrainingUnit]",
    *,
    name: str,
    start: Path | None,
    objective: str,
    seed: int,
    units_per_step: int,
) -> None:
    """Train from `start` and leave one plain adapter (or model) in the model's folder."""
    from spillover.training.objectives import make_objective
    from spillover.training.train import train

    folder = context.folder.model(name)
    work = folder / "training"
    loaded = context.load(start)
    with context.reporter.task(f"{name}: training", total=section.steps) as advance:
        done = 0

        def report(step: int) -> None:
            nonlocal done
            advance(step - done)
            done = step

        train(
            loaded,
            units,
            objective=make_objective(
                objective,
                beta=getattr(section, "beta", 0.1),
                forget_weight=getattr(section, "forget_weight", 1.0),
                retain_weight=getattr(section, "retain_weight", 1.0),
            ),
            folder=work,
            settings=_settings(
                section, units_per_step=units_per_step, seed=derive_seed(seed, name)
            ),
            lora=_lora(section.adapter, loaded),
            monitor=None if name == "aligned" else _monitor(context),
            report=report,
        )
    _publish(context, work, folder, start=start, name=name)


def _settings(section: TrainingSection, *, units_per_step: int, seed: int) -> "TrainingSettings":
    from spillover.training.train import TrainingSettings

    return TrainingSettings(
        steps=section.steps,
        units_per_step=units_per_step,
        learning_rate=section.learning_rate,
        scheduler=section.scheduler,
        warmup_steps=section.warmup_steps,
        weight_decay=section.weight_decay,
        max_grad_norm=section.max_grad_norm,
        accumulation=section.accumulation,
        checkpoint_every=section.checkpoint_every,
        seed=seed,
    )


def _lora(section: AdapterSection | None, loaded: "LoadedModel") -> "LoraSettings | None":
    from spillover.training.train import LoraSettings

    if section is None:
        return None
    layers = section.layers
    if section.first_layer:
        layers = tuple(range(section.first_layer, loaded.architecture.n_layers))
    return LoraSettings(
        rank=section.rank,
        alpha=section.alpha,
        target_modules=section.target_modules,
        layers=layers,
        rank_stabilised=section.rank_stabilised,
        dropout=section.dropout,
    )


def _monitor(context: Context) -> "MonitorSettings | None":
    from spillover.training.train import MonitorSettings

    section = context.config.monitor
    if section is None:
        return None
    by_concept: dict[str, list[Prompt]] = defaultdict(list)
    for prompt in load_prompt_file(context.folder.prompts("test")):
        by_concept[prompt.concept].append(prompt)
    watched = [p for found in by_concept.values() for p in found[: section.prompts_per_concept]]
    return MonitorSettings(prompts=tuple(watched), every=section.every)


def _publish(context: Context, work: Path, folder: Path, *, start: Path | None, name: str) -> None:
    """Move the result out of the work folder; join it with the adapter it was trained upon."""
    from spillover.models.adapters import concatenate_adapters, is_adapter_folder, write_provenance

    source = context.config.model.source
    if start is not None and is_adapter_folder(start) and is_adapter_folder(work):
        concatenate_adapters(start, work, folder)
    else:
        for file in work.iterdir():
            if file.name != "metrics.jsonl" and file.is_file():
                shutil.copy2(file, folder / file.name)
    if is_adapter_folder(folder):
        config = read_json(folder / "adapter_config.json")
        config["base_model_name_or_path"] = source
        write_json(folder / "adapter_config.json", config)
        write_provenance(folder, base_fingerprint=context.load().weights_fingerprint, model=name)
    write_text(folder / "README.md", model_card(context.config, name))
    shutil.copy2(work / "metrics.jsonl", folder / "metrics.jsonl")
    shutil.rmtree(work)
