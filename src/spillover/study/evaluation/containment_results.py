"""Measured models of a study with several containments to the rows that compare them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spillover.evaluation.recovery_gains import containment_gain
from spillover.files import read_json
from spillover.records import Comparison, Recovery, Verdict
from spillover.seeding import numpy_generator
from spillover.stats import RecoveryGain
from spillover.study.artifacts import RunFolder
from spillover.study.config import StudyConfig
from spillover.study.config.containment import ContainSection
from spillover.study.config.model_runs import (
    ModelRun,
    gated_artifact,
    model_runs,
    unlearned_artifact,
)

if TYPE_CHECKING:  # The report draws; planning a study does not have to wait for matplotlib.
    from spillover.report.containments import ContainmentRow, Cost

_UNKNOWN = RecoveryGain(value=None, ci_low=None, ci_high=None)


def containment_rows(
    config: StudyConfig,
    *,
    refusals: Mapping[str, Sequence[Verdict]],
    comparisons: Sequence[Comparison],
    recoveries: Sequence[Recovery],
) -> "list[ContainmentRow]":
    """Return one row a containment, target and seed.

    Args:
        config: The study.
        refusals: Verdicts on the concepts' prompts, by artifact.
        comparisons: From the aligned model to each contained one, of single seeds.
        recoveries: Of every contained model.
    """
    runs = [run for run in model_runs(config) if run.role == "contained"]
    return [_row(config, run, refusals, comparisons, recoveries) for run in runs]


def _row(
    config: StudyConfig,
    run: ModelRun,
    refusals: Mapping[str, Sequence[Verdict]],
    comparisons: Sequence[Comparison],
    recoveries: Sequence[Recovery],
) -> "ContainmentRow":
    from spillover.report.containments import ContainmentRow

    changes = [
        row
        for row in comparisons
        if (row.before, row.after, row.seed) == ("aligned", run.model, run.seed)
    ]
    found = next(
        (row for row in recoveries if (row.contained, row.seed) == (run.model, run.seed)), None
    )
    gain = _gain(config, run, refusals) if found is not None and run.containment else _UNKNOWN
    section = config.contain_sections[run.containment]
    return ContainmentRow(
        name=run.containment,
        method=section.method,
        target_concept=run.target,
        model=run.model,
        seed=run.seed,
        plain_effect=_plain_effect(comparisons, run),
        **_fall("effect", changes, metric="refusal_rate", concept=run.target),
        recovery=None if found is None else found.value,
        recovery_low=None if found is None else found.ci_low,
        recovery_high=None if found is None else found.ci_high,
        gain=gain.value,
        gain_low=gain.ci_low,
        gain_high=gain.ci_high,
        **_rise("over_refusal", changes, metric="over_refusal", concept="benign"),
        **_fall("capability_loss", changes, metric="capability", concept=None),
        retain_seen=_retain_seen(section),
    )


def _plain_effect(comparisons: Sequence[Comparison], run: ModelRun) -> float | None:
    for row in comparisons:
        place = (row.before, row.after, row.seed, row.metric, row.concept)
        if place == ("aligned", f"unlearned-{run.target}", run.seed, "refusal_rate", run.target):
            return None if row.delta is None else -row.delta
    return None


def _rise(
    name: str, changes: Sequence[Comparison], *, metric: str, concept: str | None
) -> dict[str, float | None]:
    for row in changes:
        if row.metric == metric and concept in (None, row.concept):
            return {name: row.delta, f"{name}_low": row.ci_low, f"{name}_high": row.ci_high}
    return {name: None, f"{name}_low": None, f"{name}_high": None}


def _fall(
    name: str, changes: Sequence[Comparison], *, metric: str, concept: str | None
) -> dict[str, float | None]:
    rise = _rise(name, changes, metric=metric, concept=concept)
    value, low, high = (None if v is None else -v for v in rise.values())
    return {name: value, f"{name}_low": high, f"{name}_high": low}


def _gain(
    config: StudyConfig, run: ModelRun, refusals: Mapping[str, Sequence[Verdict]]
) -> RecoveryGain:
    """Compare with the study's main containment of the same target and seed."""
    main = next(
        other
        for other in model_runs(config)
        if (other.role, other.containment, other.target, other.seed)
        == ("contained", "", run.target, run.seed)
    )
    return containment_gain(
        refusals["aligned"],
        refusals[unlearned_artifact(config, run)],
        refusals[main.artifact],
        refusals[run.artifact],
        target_concept=run.target,
        rng=numpy_generator(run.seed, "gain", run.model),
        deflection_is_refusal=config.evaluate.deflection_is_refusal,
    )


def _retain_seen(section: ContainSection) -> int:
    """Retain examples shown in all steps; 0 where the number of steps is not set but follows."""
    shown = section.rule.retain != "none" or section.keeps_retain_loss
    per_forget = section.retain_per_forget if shown else 0
    if section.method == "realignment":
        per_forget = 1 + section.retain_per_forget
    if section.method == "subtraction":
        per_forget = 1
    steps = section.steps or 0
    steps += section.second_steps(steps)
    return steps * section.forget_per_step * per_forget


def containment_costs(
    config: StudyConfig, manifest: Mapping[str, Any]
) -> "dict[tuple[str, int], Cost]":
    """Return what making each contained model took, from the manifest, by model and seed."""
    from spillover.report.containments import Cost

    seconds = manifest.get("seconds_by_stage", {})
    peaks = manifest.get("peak_bytes_by_stage", {})
    found = {}
    for run in model_runs(config):
        if run.role != "contained":
            continue
        rule = config.contain_sections[run.containment].rule
        stages = [run.artifact]
        if rule.after or rule.looks_at_unlearned:
            stages.append(gated_artifact(config, run))
        known = [peaks[name] for name in stages if peaks.get(name) is not None]
        found[run.model, run.seed] = Cost(
            seconds=sum(seconds[name] for name in stages)
            if seconds.keys() >= set(stages)
            else None,
            peak_bytes=max(known) if len(known) == len(stages) else None,
        )
    return found


def load_containments(folder: RunFolder) -> "list[ContainmentRow]":
    """Read `containments.json`; empty where a study has no several containments."""
    from spillover.report.containments import ContainmentRow

    if not folder.containments.exists():
        return []
    return [ContainmentRow.from_dict(row) for row in read_json(folder.containments)]
