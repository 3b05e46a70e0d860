"""Containment in two rounds: what the first one leaves of the target is collected and unlearned.

A model whose refusals are unlearned goes on to refuse in the wording that was unlearned least, in
which it had said little before (docs/log.md). So its refusals are drawn anew, in its own words, and
unlearned with the first round's model as the reference; both rounds have the same retain set. This
is ours; 2511.14017 collects refusals once.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spillover.records import Example, Prompt
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.config.model_runs import first_round_artifact
from spillover.study.containment.case import Case
from spillover.study.evaluation.stages import generate, own_words, training_prompts
from spillover.study.training.publishing import is_published
from spillover.study.training.stages import unlearning_job
from spillover.study.training.train import train_stage
from spillover.training.batching import forget_retain_schedule

_TARGET_AT_MOST = 0.3
"The share refused that counts as unlearnt, if nothing else is said."


def second_round(case: Case) -> None:
    """Contain with the retain loss; where much is still refused, collect that and contain again."""
    if is_published(case.context.folder.model(case.run.artifact)):
        return
    first_steps = _first_round(case)
    asked = [p for p in training_prompts(case.context) if p.concept == case.run.target]
    refused = _still_refused(case, asked)
    given = case.section.chosen.target_at_most
    if len(refused) > len(asked) * (_TARGET_AT_MOST if given is None else given):
        _again(case, refused, n_steps=case.section.second_steps(first_steps))
    else:
        _take_over(case)


def _first(case: Case) -> Path:
    return case.context.folder.model(first_round_artifact(case.run))


def _first_round(case: Case) -> int:
    """Train the first round's model, once; return its steps."""
    units = case.units()
    job = unlearning_job(case.section, units, run=case.run, aligned=case.aligned)
    train_stage(case.context, case.section, units, replace(job, name=_first(case).name))
    return job.steps


def _still_refused(case: Case, asked: Sequence[Prompt]) -> list[Example]:
    """Return the first round's model's refusals among these prompts."""
    context, first = case.context, _first(case)
    said = generate(
        context,
        context.load(first),
        asked,
        name=first.name,
        max_new_tokens=context.config.collect.max_new_tokens,
        temperature=context.config.collect.temperature,
        title=f"{case.run.artifact}: collecting what is still refused",
    )
    return own_words(context, said)


def _again(case: Case, refused: Sequence[Example], *, n_steps: int) -> None:
    section, run = case.section, case.run
    units = forget_retain_schedule(
        refused,
        case.retain.groups,
        n_units=n_steps * section.forget_per_step,
        retain_per_forget=section.retain_per_forget,
        group_weights=case.retain.weights,
        rng=numpy_generator(run.seed, run.draws, "second round"),
    )
    job = unlearning_job(section, units, run=run, aligned=_first(case))
    seed = derive_seed(run.seed, run.draws, "second round")
    train_stage(case.context, section, units, replace(job, seed=seed))


def _take_over(case: Case) -> None:
    """Leave the first round's model as the result; its metrics come last, as they mark a whole."""
    folder = case.context.folder.model(case.run.artifact)
    first = _first(case)
    ignored = shutil.ignore_patterns("metrics.jsonl")
    shutil.copytree(first, folder, ignore=ignored, dirs_exist_ok=True)
    shutil.copy2(first / "metrics.jsonl", folder / "metrics.jsonl")
