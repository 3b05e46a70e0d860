"""Audits any fine-tune: two models in, verdicts with intervals, a gate and a page out.

Knows the order of things; each of them lives in a file of its own beside this one. An audit that
was stopped goes on with the steps that are not done, and ends with the same numbers.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spillover.errors import ConfigError
from spillover.evaluation.grouping import is_benign
from spillover.files import write_json
from spillover.judges import make_judge
from spillover.memory import release_freed_memory
from spillover.records import Comparison
from spillover.report.audit_findings import AuditFindings
from spillover.report.audit_words import advise
from spillover.study.artifacts import RunFolder, save_scores
from spillover.study.artifacts.lock import folder_lock
from spillover.study.artifacts.version import check_version
from spillover.study.audit.budget import Asked, Budget, draw_asked
from spillover.study.audit.causes import PREFERENCE, known_causes
from spillover.study.audit.comparing import (
    Said,
    audit_rows,
    compare_said,
    load_said,
    reading_notes,
    scores_of,
    side_effects,
)
from spillover.study.audit.gate import DEFAULT_THRESHOLD, Gate, check_concepts, gate_checks
from spillover.study.audit.layers import Inside, conclude_layers
from spillover.study.audit.models import Sides
from spillover.study.audit.outputs import write_outputs
from spillover.study.audit.plan import AuditOptions, left_out, plan_steps, reads_states
from spillover.study.audit.steps import Step, elsewhere, is_done, mark_done, steps_to_do, take_over
from spillover.study.audit.verdicts import concept_verdicts, overall_verdict
from spillover.study.progress import Reporter

MARK = "audit"
"Name of the file in `stages/` by which an audit's folder is known."


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Everything that is decided before a model is loaded."""

    sides: Sides
    asked: Asked
    folder: RunFolder
    options: AuditOptions
    gate: Gate
    steps: tuple[Step, ...]
    reporter: Reporter
    earlier: RunFolder | None = None
    "Of another audit, whose findings on the same models are taken over."

    @property
    def to_do(self) -> list[Step]:
        """Steps that are not done, here or in the earlier audit."""
        steps = steps_to_do(self.steps, self.folder)
        if self.earlier is None:
            return steps
        return [
            s for s in steps if not is_done(elsewhere(s, self.folder, self.earlier), self.earlier)
        ]


@dataclass(frozen=True, kw_only=True)
class Audited:
    """What came of an audit."""

    findings: AuditFindings
    page: Path


def plan_audit(
    sides: Sides,
    out: Path,
    *,
    budget: Budget,
    gate: Gate,
    judge: str = "phrases",
    prompts_file: Path | None = None,
    batch_size: int = 32,
    dtype: str = "bfloat16",
    seed: int = 0,
    api_key: str | None = None,
    estimate: bool = True,
    reporter: Reporter | None = None,
    reuse: Path | None = None,
) -> Audit:
    """Decide what is to be done; no model is loaded and nothing is asked.

    Args:
        sides: The models, from `open_sides`.
        out: Gets everything.
        budget: How much is asked.
        gate: What may be lost.
        judge: A judge's name or specification.
        prompts_file: JSONL in place of the bundled prompts.
        batch_size: Prompts at once.
        dtype: Of the models; for the estimate.
        seed: Of all draws.
        api_key: For servers.
        estimate: Whether to say how long each step takes.
        reporter: Where progress is shown; None for the terminal.
        reuse: Folder of another audit: what it asked of the same model in the same role is not
            asked again.

    Raises:
        InputError: If the judge, the prompts, the gate or a folder cannot be used.
    """
    folder = RunFolder(out)
    _check_folder(folder)
    earlier = None if reuse is None else _earlier_audit(reuse)
    make_judge(judge)  # A typo should not cost a load.
    asked = draw_asked(budget, prompts_file=prompts_file, seed=seed)
    check_concepts(
        gate, dict.fromkeys(p.concept for p in asked.prompts if not is_benign(p.concept))
    )
    options = AuditOptions(
        budget=budget, judge=judge, batch_size=batch_size, seed=seed, dtype=dtype, api_key=api_key
    )
    shown = reporter or Reporter()
    steps = plan_steps(sides, asked, folder, options=options, reporter=shown, estimate=estimate)
    return Audit(
        sides=sides,
        asked=asked,
        folder=folder,
        options=options,
        gate=gate,
        steps=tuple(steps),
        reporter=shown,
        earlier=earlier,
    )


def _earlier_audit(path: Path) -> RunFolder:
    found = RunFolder(path)
    if not found.stage(MARK).exists():
        raise ConfigError(f"{path}: holds no audit; --reuse takes another audit's --out")
    return found


def _check_folder(folder: RunFolder) -> None:
    path = folder.path
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path}: is a file; choose another --out")
    check_version(folder)
    known = {".lock", "cache"}
    is_other = path.is_dir() and not folder.stage(MARK).exists()
    if is_other and any(found.name not in known for found in path.iterdir()):
        raise ConfigError(f"{path}: is not empty and holds no audit; choose another --out")


def describe_plan(audit: Audit) -> list[str]:
    """Return the plan as lines: each step, done or not, with its estimate, and the sum."""
    lines, seconds, unknown, to_do = [], 0.0, False, audit.to_do
    for step in audit.steps:
        done = step not in to_do
        shown = "done" if done else "?" if step.seconds is None else _duration(step.seconds)
        lines.append(f"{step.role:<8} {shown:>7}  {step.title}")
        if not done:
            seconds += step.seconds or 0.0
            unknown = unknown or step.seconds is None
    more = ", and what a server or a judge takes" if unknown else ""
    lines.append(f"{'all':<8} {_duration(seconds):>7}  estimated for this machine{more}")
    lines += [f"left out: {line}" for line in left_out(audit.sides, audit.asked)]
    return lines


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def run_audit(audit: Audit) -> Audited:
    """Do what is not done, compare, conclude, and write everything.

    Raises:
        InputError: If a model cannot be loaded as asked.
        EndpointError: If a server left prompts without an answer.
        StorageError: If another process is at work in the folder, or it cannot be written.
    """
    with folder_lock(audit.folder.path):
        write_json(audit.folder.stage(MARK), {"models": _names(audit)})
        if audit.earlier is not None:
            for step in take_over(audit.steps, audit.folder, audit.earlier):
                audit.reporter.say(f"{step.role}: {step.title}: from {audit.earlier.path}")
        for role in audit.sides.by_role:
            _do_side(audit, [step for step in audit.to_do if step.role == role])
        return _conclude(audit)


def _names(audit: Audit) -> dict[str, str]:
    return {role: side.source for role, side in audit.sides.by_role.items()}


def _do_side(audit: Audit, steps: Sequence[Step]) -> None:
    """Load one model, if a step needs it, and do the steps."""
    loaded = None
    for step in steps:
        if step.needs_model and loaded is None:
            side = audit.sides.by_role[step.role]
            assert side.load is not None
            with audit.reporter.task(f"{step.role}: loading", total=1) as advance:
                loaded = side.load()
                advance(1)
        begin = time.monotonic()
        step.run(loaded if step.needs_model else None)
        seconds = time.monotonic() - begin
        mark_done(step, audit.folder, seconds=seconds)
        audit.reporter.say(f"{step.role}: {step.title}: done in {_duration(seconds)}")
    del loaded
    release_freed_memory(collect=True)


def _conclude(audit: Audit) -> Audited:
    folder, seed = audit.folder, audit.options.seed
    said: dict[str, Said] = {
        role: load_said(side, folder, judge=audit.options.judge)
        for role, side in audit.sides.by_role.items()
    }
    save_scores(folder.scores, [row for one in said.values() for row in scores_of(one, seed=seed)])
    rows = _compare(audit, said["aligned"], said["tuned"])
    before = _compare(audit, said["base"], said["aligned"]) if "base" in said else []
    write_json(folder.comparisons, [row.to_dict() for row in [*before, *rows]])
    inside = None
    if reads_states(audit.sides, audit.asked):
        inside = conclude_layers(folder, has_base="base" in said, seed=seed)
    findings = _findings(audit, said, rows, inside)
    side_by_side = audit_rows(said["aligned"], said["tuned"])
    return Audited(findings=findings, page=write_outputs(folder.path, findings, side_by_side))


def _compare(audit: Audit, before: Said, after: Said) -> list[Comparison]:
    threshold = audit.gate.max_erosion or DEFAULT_THRESHOLD
    return compare_said(
        before, after, seed=audit.options.seed, threshold=threshold, exempt=audit.gate.exempt
    )


def _findings(
    audit: Audit, said: dict[str, Said], rows: Sequence[Comparison], inside: Inside | None
) -> AuditFindings:
    refusals = [row for row in rows if row.metric == "refusal_rate"]
    verdicts = concept_verdicts(
        refusals, said["aligned"].harmful, said["tuned"].harmful, gate=audit.gate
    )
    overall = overall_verdict(rows, said["aligned"].harmful, said["tuned"].harmful, gate=audit.gate)
    together = verdicts if overall is None else (*verdicts, overall)
    effects = side_effects(rows) + ([inside.drift] if inside else [])
    budget = audit.options.budget.name
    preference = next((e for e in effects if e.metric == PREFERENCE), None)
    return AuditFindings(
        models=_names(audit),
        budget=budget,
        judge=said["tuned"].verdicts[0].judge,
        verdicts=verdicts,
        overall=overall,
        effects=tuple(effects),
        checks=gate_checks(audit.gate, rows),
        on_undecided=audit.gate.on_undecided,
        causes=known_causes(verdicts, effects, overall=overall),
        layers=inside.layers if inside else (),
        advice=advise(
            together,
            effects,
            budget=budget,
            preference_fell=preference is not None and preference.ci_high < 0,
        ),
        left_out=left_out(audit.sides, audit.asked),
        notes=reading_notes(
            said["aligned"], said["tuned"], are_same=audit.sides.are_same, budget=budget
        ),
        settings={
            "gate": audit.gate.model_dump(),
            "generation": audit.options.generation.to_dict(),
            "budget": audit.options.budget.to_dict(),
            "dtype": audit.options.dtype,
            "seed": audit.options.seed,
        },
    )
