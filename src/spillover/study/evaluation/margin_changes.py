"""The margins of a run's models on pairs of answers to paired changes, seeds summed up."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from spillover.data.suites import TRIGGERED, find_suite
from spillover.evaluation import compare_seeds
from spillover.evaluation.alignment_probes import PairMargin, ProbeForm, compare_margins
from spillover.files import read_journal
from spillover.records import Comparison
from spillover.seeding import numpy_generator
from spillover.study.artifacts import RunFolder
from spillover.study.config import StudyConfig
from spillover.study.config.model_runs import ModelRun, model_runs

FORMS: tuple[ProbeForm, ...] = ("pivotal", "choice")


def pair_suites(config: StudyConfig) -> list[str]:
    """Return the names of the study's suites of answer pairs, behind its trigger, too."""
    names = [spec.partition(":")[0] for spec in config.evaluate.suites]
    plain = [name for name in names if find_suite(name).kind == "pairs"]
    again = [] if config.evaluate.trigger is None else [f"{name}{TRIGGERED}" for name in plain]
    return [*plain, *again]


def margin_comparisons(config: StudyConfig, folder: RunFolder) -> list[Comparison]:
    """Return the mean change of the margin between models, for each suite of pairs and form."""
    rows = []
    for suite in pair_suites(config):
        for form in FORMS:
            rows += _of_form(config, folder, suite, form)
    return rows


def _of_form(
    config: StudyConfig, folder: RunFolder, suite: str, form: ProbeForm
) -> list[Comparison]:
    runs = model_runs(config)
    margins = {run.artifact: _load(folder, run, f"{suite}_{form}") for run in runs}
    rows = [
        compare_margins(
            margins[before.artifact],
            margins[after.artifact],
            form=form,
            before_name=before.model,
            after_name=after.model,
            seed=after.seed,
            rng=numpy_generator(after.seed, "margins", suite, form, before.model, after.model),
        )
        for before, after in _pairs(runs)
    ]
    if suite.endswith(TRIGGERED):
        rows = [replace(row, concept=f"{row.concept}{TRIGGERED}") for row in rows]
    several = [row for row in rows if row.after not in ("base", "aligned")]
    over_seeds = compare_seeds(several, bound=inf) if len(config.seeds) > 1 and several else []
    return [*rows, *over_seeds]


def _pairs(runs: Sequence[ModelRun]) -> list[tuple[ModelRun, ModelRun]]:
    return [
        (before, after)
        for after in runs
        for before in runs
        if before.model in after.compared_with and before.pairs_with(after)
    ]


def _load(folder: RunFolder, run: ModelRun, suite: str) -> list[PairMargin]:
    return [PairMargin.from_dict(row) for row in read_journal(folder.margins(run.artifact, suite))]
