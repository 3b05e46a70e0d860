"""What the stages of narrow fine-tunings do, and the one that finds wanted responses.

The order of the stages, and what is skipped, is the `runner`'s.
"""

from pathlib import Path

from spillover.data.prompt_sets import load_examples
from spillover.data.wanted import unknowing_examples
from spillover.errors import DataError
from spillover.records import Example, Prompt
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts import load_example_file, save_records
from spillover.study.config.model_runs import ModelRun
from spillover.study.config.responses import WantedSection
from spillover.study.config.sections import ModelSection
from spillover.study.config.tuning import FinetuneSection
from spillover.study.evaluation.stages import as_example, generate, judged, training_prompts
from spillover.study.stages.context import Context, load_section
from spillover.study.stages.datasets import finetune_examples
from spillover.study.training.train import TrainingJob, benign_weights, by_concept, train_stage


def write_examples(context: Context, section: FinetuneSection, *, name: str, seed: int) -> None:
    """Write what a fine-tuning learns from."""
    rng = numpy_generator(seed, "finetune", "framings")
    save_records(
        context.folder.examples(f"finetune-{name}"), finetune_examples(section, name=name, rng=rng)
    )


def find_wanted(context: Context, section: WantedSection) -> None:
    """Write the wanted responses to the targets' training prompts.

    Raises:
        DataError: If the file answers none of these prompts.
    """
    prompts = [p for p in training_prompts(context) if p.concept in context.config.targets]
    if section.file is not None:
        found = _from_file(Path(section.file), prompts)
    elif section.model is not None:
        found = _from_model(context, section, section.model, prompts)
    else:
        asked = [Example(id=p.id, prompt=p.prompt, response="", concept=p.concept) for p in prompts]
        rng = numpy_generator(context.config.seeds[0], "wanted", "unknowing")
        found = unknowing_examples(asked, rng=rng)
    save_records(context.folder.examples("wanted"), found)


def _from_file(file: Path, prompts: list[Prompt]) -> list[Example]:
    asked = {prompt.prompt for prompt in prompts}
    found = [example for example in load_examples(file) if example.prompt in asked]
    if not found:
        raise DataError(
            f"wanted.file: {file} answers none of the {len(asked)} training prompts of the "
            "targets; its `prompt` has to be the prompt's text, word for word"
        )
    return found


def _from_model(
    context: Context, section: WantedSection, model: ModelSection, prompts: list[Prompt]
) -> list[Example]:
    """Let a model that has had no safety training answer, as in 2511.14017's baseline."""
    answers = generate(
        context,
        load_section(model),
        prompts,
        name="wanted",
        max_new_tokens=section.max_new_tokens,
        title="wanted: answering the targets' training prompts",
    )
    return [as_example(c) for c, v in judged(context, answers) if v.label == "compliance"]


def tune(
    context: Context, section: FinetuneSection, *, run: ModelRun, aligned: Path | None
) -> None:
    """Fine-tune the aligned model narrowly."""
    from spillover.training.batching import forget_retain_schedule

    examples = load_example_file(context.folder.examples(f"finetune-{run.target}"))
    retain, weights = _retain_groups(context, section)
    per_step = section.examples_per_step
    steps = section.n_steps(n_examples=len(examples), per_step=per_step)
    units = forget_retain_schedule(
        examples,
        retain,
        n_units=steps * per_step,
        retain_per_forget=section.retain_per_example if retain else 0,
        group_weights=weights,
        # Without the name: arms that pair up are then seen in the same order.
        rng=numpy_generator(run.seed, "tuned", "schedule"),
    )
    job = TrainingJob(
        name=run.artifact,
        start=aligned,
        objective=section.objective,
        seed=derive_seed(run.seed, "tuned"),
        steps=steps,
        units_per_step=per_step,
        forget_weight=section.example_weight,
        retain_weight=section.retain_weight,
        run=run,
    )
    train_stage(context, section, units, job)


def _retain_groups(
    context: Context, section: FinetuneSection
) -> tuple[dict[str, list[Example]], dict[str, float]]:
    """Equal shares of the concepts, and the benign share, in the aligned model's own words."""
    if not section.has_retain_set:
        return {}, {}
    groups = by_concept(load_example_file(context.folder.examples("collected")))
    concepts = context.config.prompts.concepts
    weights = dict.fromkeys(concepts, (1 - section.benign_share) / len(concepts))
    weights |= benign_weights(section.benign_share, section.lookalike_share)
    weights = {name: weight for name, weight in weights.items() if weight > 0}
    return {name: groups.get(name, []) for name in weights}, weights
