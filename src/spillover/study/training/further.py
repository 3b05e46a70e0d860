"""Benign training after an intervention: what it learns from, and the training itself."""

from pathlib import Path

from spillover.data.concepts import BENIGN
from spillover.data.prompt_sets import load_examples
from spillover.records import Example
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.artifacts import load_example_file, save_records
from spillover.study.config.stress import FURTHER, FurtherSection
from spillover.study.config.stressed_models import StressedModel
from spillover.study.evaluation.stages import as_example, generate, judged, training_prompts
from spillover.study.stages.context import Context
from spillover.study.training.train import TrainingJob, train_stage


def write_benign_examples(context: Context, section: FurtherSection) -> None:
    """Write what is learnt: the user's conversations, or the study's own model's benign answers.

    That model has had no safety training where the study gives some, so its words are new to all.
    """
    given = section.data
    found = _answers(context, section) if given is None else load_examples(Path(given))
    save_records(context.folder.examples(FURTHER), found)


def _answers(context: Context, section: FurtherSection) -> list[Example]:
    prompts = [p for p in training_prompts(context) if p.concept in BENIGN]
    rng = numpy_generator(context.config.seeds[0], FURTHER, "prompts")
    order = rng.permutation(len(prompts))
    needed = section.n_steps(n_examples=len(prompts), per_step=section.examples_per_step)
    answers = generate(
        context,
        context.load(),
        [prompts[place] for place in order[: needed * section.examples_per_step]],
        name="base",
        max_new_tokens=section.max_new_tokens,
        title="further training: the model's own answers to benign prompts",
    )
    return [
        as_example(c) for c, verdict in judged(context, answers) if verdict.label == "compliance"
    ]


def train_further(
    context: Context, section: FurtherSection, *, model: StressedModel, start: Path | None
) -> None:
    """Train one model on benign answers; all models see the same ones of a seed in one order."""
    from spillover.training.batching import forget_retain_schedule

    examples = load_example_file(context.folder.examples(FURTHER))
    per_step, seed = section.examples_per_step, model.run.seed
    steps = section.n_steps(n_examples=len(examples), per_step=per_step)
    units = forget_retain_schedule(
        examples,
        {},
        n_units=steps * per_step,
        retain_per_forget=0,
        group_weights={},
        rng=numpy_generator(seed, FURTHER, "schedule"),
    )
    job = TrainingJob(
        name=model.artifact,
        start=start,
        objective="finetune",
        seed=derive_seed(seed, FURTHER),
        steps=steps,
        units_per_step=per_step,
    )
    train_stage(context, section, units, job)
