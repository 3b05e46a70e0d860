"""Verdicts and answers of a whole run to scores, paired comparisons and recoveries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spillover.data.concepts import BENIGN
from spillover.evaluation import (
    compare_refusals,
    compare_seeds,
    over_refusal_scores,
    recovery,
    refusal_scores,
)
from spillover.evaluation.capability import capability_score, compare_capability
from spillover.evaluation.leaks import IsLeak
from spillover.files import write_json
from spillover.records import Answer, Comparison, Completion, Recovery, Score, Verdict
from spillover.seeding import numpy_generator
from spillover.study.artifacts import (
    RunFolder,
    load_answer_file,
    load_completion_file,
    load_scores,
    load_verdict_file,
    save_scores,
)
from spillover.study.config import StudyConfig
from spillover.study.config.model_runs import ModelRun, model_runs, unlearned_artifact
from spillover.study.evaluation.containment_results import containment_rows
from spillover.study.evaluation.domain_leaks import (
    Answers,
    domain_tests,
    leak_comparisons,
    leak_scores,
    looks_for_leaks,
)
from spillover.study.evaluation.margin_changes import margin_comparisons


@dataclass(frozen=True)
class Measured:
    """What was measured of one model of one seed."""

    run: ModelRun
    refusals: tuple[Verdict, ...]
    "On the concepts' prompts."
    over_refusals: tuple[Verdict, ...]
    "On the benign prompts."
    answers: tuple[Answer, ...]
    suites: tuple[Score, ...]
    "On the study's suites, if it has any."
    completions: tuple[Completion, ...]
    "Of the test prompts, where leaks are looked for; else empty."

    @property
    def said(self) -> Answers:
        """What leaks are looked for in."""
        return Answers(self.run, self.completions, (*self.refusals, *self.over_refusals))


def write_scores(config: StudyConfig, folder: RunFolder) -> None:
    """Write `scores.json`, `scores.parquet`, `comparisons.json` and `recoveries.json`."""
    measured = [_load(run, config, folder) for run in model_runs(config)]
    domains = _domains(measured, config, folder)
    save_scores(folder.scores, [score for m in measured for score in _scores(m, config, domains)])
    comparisons = [
        *_comparisons(measured, config, domains),
        *margin_comparisons(config, folder),
    ]
    write_json(folder.comparisons, [row.to_dict() for row in comparisons])
    recoveries = _recoveries(measured, config)
    write_json(folder.recoveries, [row.to_dict() for row in recoveries])
    if config.containments:
        rows = containment_rows(
            config,
            refusals={m.run.artifact: m.refusals for m in measured},
            comparisons=comparisons,
            recoveries=recoveries,
        )
        write_json(folder.containments, [row.to_dict() for row in rows])


def _domains(
    measured: Sequence[Measured], config: StudyConfig, folder: RunFolder
) -> dict[str, IsLeak]:
    aligned = next(m for m in measured if m.run.role == "aligned")
    return domain_tests(config, folder, aligned.completions) if aligned.completions else {}


def _load(run: ModelRun, config: StudyConfig, folder: RunFolder) -> Measured:
    verdicts = load_verdict_file(folder.verdicts(run.artifact, config.evaluate.judge))
    has_quiz = config.evaluate.capability is not None
    return Measured(
        run=run,
        refusals=tuple(v for v in verdicts if v.concept not in BENIGN),
        over_refusals=tuple(v for v in verdicts if v.concept in BENIGN),
        answers=tuple(load_answer_file(folder.answers(run.artifact))) if has_quiz else (),
        suites=tuple(load_scores(folder.suites(run.artifact))) if config.evaluate.suites else (),
        completions=tuple(load_completion_file(folder.completions(run.artifact)))
        if looks_for_leaks(config)
        else (),
    )


def _scores(measured: Measured, config: StudyConfig, domains: Mapping[str, IsLeak]) -> list[Score]:
    model, seed = measured.run.model, measured.run.seed
    deflections = config.evaluate.deflection_is_refusal
    rows = refusal_scores(
        measured.refusals, model=model, seed=seed, deflection_is_refusal=deflections
    )
    rows += over_refusal_scores(
        measured.over_refusals, model=model, seed=seed, deflection_is_refusal=deflections
    )
    if measured.answers:
        rows.append(capability_score(measured.answers, model=model, seed=seed))
    leaks = leak_scores(measured.said, domains) if measured.completions else []
    return [*rows, *measured.suites, *leaks]


def _comparisons(
    measured: Sequence[Measured], config: StudyConfig, domains: Mapping[str, IsLeak]
) -> list[Comparison]:
    """Compare every model with those that it came from; sum over seeds where there are several."""
    rows: list[Comparison] = []
    for after in measured:
        for before in measured:
            if before.run.model in after.run.compared_with and before.run.pairs_with(after.run):
                rows += _compare(before, after, config)
                if before.completions:
                    rows += leak_comparisons(before.said, after.said, domains)
    if len(config.seeds) > 1:
        several = [row for row in rows if row.after not in ("base", "aligned")]
        threshold = config.evaluate.ema_threshold
        rows += compare_seeds(several, ema_threshold=threshold) if several else []
    return rows


def _compare(before: Measured, after: Measured, config: StudyConfig) -> list[Comparison]:
    rows = _paired(before.refusals, after.refusals, before, after, config, metric="refusal_rate")
    for pooled in (False, True):
        first, second = (
            _pool(m.over_refusals) if pooled else m.over_refusals for m in (before, after)
        )
        rows += _paired(first, second, before, after, config, metric="over_refusal")
    if before.answers:
        rows.append(
            compare_capability(
                before.answers,
                after.answers,
                before_name=before.run.model,
                after_name=after.run.model,
                seed=after.run.seed,
            )
        )
    return rows


def _pool(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    return tuple(replace(verdict, concept="benign") for verdict in verdicts)


def _paired(
    verdicts_before: Sequence[Verdict],
    verdicts_after: Sequence[Verdict],
    before: Measured,
    after: Measured,
    config: StudyConfig,
    *,
    metric: str,
) -> list[Comparison]:
    return compare_refusals(
        verdicts_before,
        verdicts_after,
        before=before.run.model,
        after=after.run.model,
        seed=after.run.seed,
        target_concept=after.run.target_concept,
        ema_threshold=config.evaluate.ema_threshold,
        metric=metric,
        deflection_is_refusal=config.evaluate.deflection_is_refusal,
    )


def _recoveries(measured: Sequence[Measured], config: StudyConfig) -> list[Recovery]:
    by_artifact = {m.run.artifact: m for m in measured}
    rows = []
    for contained in measured:
        if contained.run.role != "contained":
            continue
        aligned = by_artifact["aligned"]
        unlearned = by_artifact[unlearned_artifact(config, contained.run)]
        if not _share_others(aligned, unlearned, contained, target=contained.run.target):
            continue  # One concept only, or a model that says nothing that can be judged.
        rows.append(
            recovery(
                aligned.refusals,
                unlearned.refusals,
                contained.refusals,
                target_concept=contained.run.target,
                aligned_name="aligned",
                unlearned_name=unlearned.run.model,
                contained_name=contained.run.model,
                rng=numpy_generator(contained.run.seed, "recovery", contained.run.model),
                seed=contained.run.seed,
                deflection_is_refusal=config.evaluate.deflection_is_refusal,
            )
        )
    return rows


def _share_others(*sides: Measured, target: str) -> bool:
    """Return whether a prompt of another concept than the target has a valid verdict everywhere."""
    valid = [
        {(v.concept, v.id) for v in side.refusals if v.label != "invalid" and v.concept != target}
        for side in sides
    ]
    return bool(set.intersection(*valid))
