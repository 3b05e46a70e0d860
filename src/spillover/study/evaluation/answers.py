"""What each changed model said beside the aligned model's answer, for the report's browser of rows.

Reads completions and verdicts of a run's folder; nothing is judged here.
"""

from collections.abc import Sequence

from spillover.evaluation.grouping import is_benign
from spillover.records import Completion, Verdict
from spillover.report.audit_findings import row_change
from spillover.report.chains import ALIGNED
from spillover.report.run_comparison import RunAnswer
from spillover.study.artifacts import RunFolder, load_completion_file, load_verdict_file
from spillover.study.config import StudyConfig
from spillover.study.config.model_runs import ModelRun

MOST_ROWS = 5000
"Rows that a page takes without becoming slow."
MOST_CHARACTERS = 8_000_000
"Characters of answers that a page takes."

Said = list[tuple[Completion, Verdict]]


def changed_answers(
    config: StudyConfig,
    folder: RunFolder,
    runs: Sequence[ModelRun],
    *,
    most_rows: int = MOST_ROWS,
    most_characters: int = MOST_CHARACTERS,
) -> tuple[RunAnswer, ...]:
    """Return every answer of the changed models, with the aligned model's to the same prompt.

    Further containments are left out, as among the samples. Models come seed by seed, whole, as
    long as there is room.

    Args:
        config: The study.
        folder: Its finished run.
        runs: Its models.
        most_rows: Rows from which no further model is taken.
        most_characters: Characters of answers from which none is.
    """
    start = [run for run in runs if run.model == ALIGNED]
    changed = [run for run in runs if ALIGNED in run.compared_with and not run.containment]
    if not start:
        return ()
    aligned = {c.id: (c, v) for c, v in _said(config, folder, start[0])}
    rows: list[RunAnswer] = []
    for run in sorted(changed, key=lambda run: run.seed):
        rows += _beside(run, aligned, _said(config, folder, run), n_seeds=len(config.seeds))
        characters = sum(len(row.first) + len(row.second) + len(row.prompt) for row in rows)
        if len(rows) >= most_rows or characters >= most_characters:
            break
    return tuple(rows[:most_rows])


def _said(config: StudyConfig, folder: RunFolder, run: ModelRun) -> Said:
    completions = load_completion_file(folder.completions(run.artifact))
    verdicts = load_verdict_file(folder.verdicts(run.artifact, config.evaluate.judge))
    return list(zip(completions, verdicts, strict=True))


def _beside(
    run: ModelRun, aligned: dict[str, tuple[Completion, Verdict]], said: Said, *, n_seeds: int
) -> list[RunAnswer]:
    rows = []
    for after, verdict in sorted(said, key=lambda row: is_benign(row[0].concept)):
        before, first = aligned[after.id]
        rows.append(
            RunAnswer(
                model=run.model if n_seeds == 1 else f"{run.model}, seed {run.seed}",
                id=after.id,
                concept=after.concept,
                prompt=after.prompt,
                first=before.response,
                second=after.response,
                first_label=first.label,
                second_label=verdict.label,
                change=row_change(first.label, verdict.label),
            )
        )
    return rows
