"""A run folder to its report: reads every artifact, calls the report room, writes the page."""

from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spillover import __version__
from spillover.data.concepts import BENIGN
from spillover.errors import ConfigError, DataError
from spillover.files import read_json, write_json, write_text
from spillover.records import Completion, Verdict
from spillover.study.artifacts import (
    RunFolder,
    load_comparisons,
    load_completion_file,
    load_metrics,
    load_recoveries,
    load_scores,
    load_verdict_file,
)
from spillover.study.artifacts.version import found_versions
from spillover.study.config import StudyConfig, load_study
from spillover.study.config.model_runs import ModelRun, explained_runs, model_runs
from spillover.study.evaluation.answers import changed_answers
from spillover.study.evaluation.containment_results import containment_costs, load_containments
from spillover.study.evaluation.stressing import load_stress

SAMPLES_PER_CONCEPT = 4


def write_report(folder: RunFolder) -> Path:
    """Write `figures/` (SVG and CSV), `findings.json` and `report.html` from what the folder holds.

    Raises:
        DataError: If the folder holds no finished run.
    """
    from spillover.report import ReportInputs, all_figures, render_page
    from spillover.report.containments import containment_results
    from spillover.report.downloads import csv_text
    from spillover.report.figure_tables import figure_tables
    from spillover.report.findings import findings
    from spillover.report.stress import stress_results

    if (folder.path / "audit.json").exists():
        raise DataError(
            f"{folder.path}: holds an audit, whose page is audit.html; `spillover audit` with the "
            "same options writes it again, and a second folder compares two audits"
        )
    if not folder.manifest.exists():
        raise DataError(
            f"{folder.path}: holds no finished run (no manifest.json); run the study to its end"
        )
    config = load_run_study(folder)
    runs = model_runs(config)
    inputs = ReportInputs(
        title=config.name.replace("_", " "),
        study=folder.study.read_text(encoding="utf-8"),
        description=config.description,
        target_concepts=config.targets,
        concepts=config.prompts.concepts,
        models=tuple(dict.fromkeys(run.model for run in runs)),
        scores=tuple(load_scores(folder.scores)),
        comparisons=tuple(load_comparisons(folder.comparisons)),
        recoveries=tuple(load_recoveries(folder.recoveries)),
        curves=_curves(folder, runs),
        samples=_samples(config, folder, runs),
        answers=changed_answers(config, folder, runs),
        manifest=read_json(folder.manifest),
        ema_threshold=config.evaluate.ema_threshold,
        explanations=_explanations(folder, config),
        containments=containment_results(
            load_containments(folder), containment_costs(config, read_json(folder.manifest))
        ),
        stress=stress_results(load_stress(folder)),
        contexts={} if config.stress is None else config.stress.contexts,
        notes=_notes(config),
    )
    tables = figure_tables(inputs)
    for name, svg in all_figures(inputs).items():
        write_text(folder.figures / f"{name}.svg", svg)
        if rows := tables.get(name):
            write_text(folder.figures / f"{name}.csv", csv_text(rows))
    write_json(folder.findings, asdict(findings(inputs)))
    write_text(folder.report, render_page(inputs))
    return folder.report


def load_run_study(folder: RunFolder) -> StudyConfig:
    """Read a run's resolved study; where its keys are another version's, say so.

    Raises:
        ConfigError: If a key or value breaks a rule of this version.
    """
    try:
        return load_study(folder.study)
    except ConfigError as error:
        others = [found for found in found_versions(folder) if found != __version__]
        by = f"; Spillover {', '.join(others)} wrote it, this is {__version__}" if others else ""
        raise ConfigError(f"{error}{by}") from error


def _explanations(folder: RunFolder, config: StudyConfig) -> tuple[tuple[str, str], ...]:
    """Return model and page of every explanation, with paths from the report's folder."""
    pages = {r.artifact: folder.explanation(r.artifact) for r in explained_runs(config)}
    return tuple(
        (name, f"{page.relative_to(folder.path).as_posix()}/explain.html")
        for name, page in pages.items()
    )


def _curves(folder: RunFolder, runs: list[ModelRun]) -> dict[str, tuple[dict[str, Any], ...]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        path = folder.model(run.artifact) / "metrics.jsonl"
        if path.exists() and not run.containment:  # Many curves would say little more.
            found[run.model] += [{**row, "seed": run.seed} for row in load_metrics(path)]
    return {model: tuple(rows) for model, rows in found.items()}


def _samples(config: StudyConfig, folder: RunFolder, runs: list[ModelRun]) -> tuple[Any, ...]:
    """Return the first few test prompts of each concept with every model's words, unselected."""
    from spillover.report import SampleRow

    said: dict[str, dict[str, tuple[Completion, Verdict]]] = {}
    for run in runs:
        if run.seed != config.seeds[0] or run.containment:
            continue
        completions = load_completion_file(folder.completions(run.artifact))
        verdicts = load_verdict_file(folder.verdicts(run.artifact, config.evaluate.judge))
        said[run.model] = {c.id: (c, v) for c, v in zip(completions, verdicts, strict=True)}
    by_concept: dict[str, list[Completion]] = defaultdict(list)
    for completion, _ in next(iter(said.values())).values():
        by_concept[completion.concept].append(completion)
    chosen = [
        c
        for name in (*config.prompts.concepts, *BENIGN)
        for c in by_concept[name][:SAMPLES_PER_CONCEPT]
    ]
    return tuple(
        SampleRow(
            prompt_id=c.id,
            concept=c.concept,
            prompt=c.prompt,
            responses={
                m: (rows[c.id][0].response, rows[c.id][1].label) for m, rows in said.items()
            },
        )
        for c in chosen
    )


def _notes(config: StudyConfig) -> tuple[str, ...]:
    notes = []
    if len(config.seeds) == 1:
        notes.append(
            "One seed: the intervals are over prompts. Another seed would train other models; "
            "several seeds are needed to tell how much of a difference that makes."
        )
    elif config.align is not None:
        notes.append(
            "The seeds vary the interventions. All of them start from one aligned model, trained "
            f"with seed {config.seeds[0]}."
        )
    return tuple(notes)
