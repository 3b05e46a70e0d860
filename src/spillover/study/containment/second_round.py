"""Containment in two rounds: what the first one leaves of the target is collected and unlearned.

A model whose refusals are unlearned goes on to refuse in the wording that was unlearned least, in
which it had said little before (docs/log.md). So its refusals are drawn anew, in its own words, and
unlearned with the first round's model as the reference; both rounds have the same retain set. This
is ours; 2511.14017 collects refusals once.
"""

import shutil
from dataclasses import replace

from spillover.evaluation.refusal import is_refusal
from spillover.records import Example
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.config.containment import SECOND_SHARE
from spillover.study.config.model_runs import first_round_artifact
from spillover.study.containment.case import Case
from spillover.study.evaluation.stages import as_example, generate, judged, training_prompts
from spillover.study.training.publishing import is_published
from spillover.study.training.stages import unlearning_job
from spillover.study.training.train import train_stage
from spillover.training.batching import forget_retain_schedule


def second_round(case: Case) -> None:
    """Contain with the retain loss, collect what is still refused, and contain once more."""
    context, section, run = case.context, case.section, case.run
    folder = context.folder.model(run.artifact)
    first = context.folder.model(first_round_artifact(run))
    if is_published(folder):
        return
    units = case.units()
    job = unlearning_job(section, units, run=run, aligned=case.aligned)
    train_stage(context, section, units, replace(job, name=first.name))
    refused = _refused(case)
    if not refused:
        _take_over(case)
        return
    n_steps = section.chosen.n_steps or max(1, job.steps // SECOND_SHARE)
    again = forget_retain_schedule(
        refused,
        case.retain.groups,
        n_units=n_steps * section.forget_per_step,
        retain_per_forget=section.retain_per_forget,
        group_weights=case.retain.weights,
        rng=numpy_generator(run.seed, run.draws, "second round"),
    )
    job = unlearning_job(section, again, run=run, aligned=first)
    seed = derive_seed(run.seed, run.draws, "second round")
    train_stage(context, section, again, replace(job, seed=seed))


def _refused(case: Case) -> list[Example]:
    """Return what the first round's model still refuses of the target's training prompts."""
    context, name = case.context, first_round_artifact(case.run)
    collect = context.config.collect
    said = generate(
        context,
        context.load(context.folder.model(name)),
        [p for p in training_prompts(context) if p.concept == case.run.target],
        name=name,
        max_new_tokens=collect.max_new_tokens,
        temperature=collect.temperature,
        title=f"{case.run.artifact}: collecting what is still refused",
    )
    deflects = context.config.evaluate.deflection_is_refusal
    return [
        as_example(completion)
        for completion, verdict in judged(context, said)
        if is_refusal(verdict, deflection_is_refusal=deflects) and completion.response
    ]


def _take_over(case: Case) -> None:
    """Leave the first round's model as the result; its metrics come last, as they mark a whole."""
    folder = case.context.folder.model(case.run.artifact)
    first = case.context.folder.model(first_round_artifact(case.run))
    ignored = shutil.ignore_patterns("metrics.jsonl")
    shutil.copytree(first, folder, ignore=ignored, dirs_exist_ok=True)
    shutil.copy2(first / "metrics.jsonl", folder / "metrics.jsonl")
