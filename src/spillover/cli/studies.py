"""`spillover run` and `spillover report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from spillover.cli.app import app, console, quiet_libraries, resumable, say
from spillover.cli.shows import echo_findings, print_summary
from spillover.errors import ConfigError

if TYPE_CHECKING:
    from spillover.report.run_comparison import RunComparison


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="A study file, or a bundled study: quickstart.")],
    out: Annotated[Path | None, typer.Option(help="Run folder [runs/<study>].")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Replace the seeds; repeatable.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as unlearn.steps=40.")
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="Another size of the study, such as embedded.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, run nothing.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON, no table.")
    ] = False,
) -> None:
    """Run a study to its report; a run that was stopped goes on where it was."""
    from spillover.study.config import load_study
    from spillover.study.finished.findings import read_findings
    from spillover.study.progress import Reporter
    from spillover.study.runner import run_study, study_state
    from spillover.study.runner.tuning_plan import missing_files

    config = load_study(study, overrides=override or (), seeds=seed, scale=scale)
    folder = out or Path("runs") / config.name
    if dry_run:
        for state in study_state(config, folder):
            say(f"{'done ' if state.is_done else 'to do'}  {state.name}")
        for key, file in missing_files(config).items():
            say(f"wanted {key}: {file}, which is not there yet")
        return
    with resumable():
        quiet_libraries()
        report = run_study(config, folder, reporter=Reporter())
    found = read_findings(folder)
    if as_json:
        echo_findings(found)
        return
    print_summary(found)
    say(f"all numbers: spillover show {folder}")
    say(f"report: {report.resolve()}")


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    second: Annotated[
        Path | None,
        typer.Argument(help="Another one, to compare with it; or both folders of audits."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Page of the comparison [in the second folder].")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON, no table.")
    ] = False,
) -> None:
    """Write a run's report again, or compare two runs or audits on one page."""
    from spillover.study.artifacts import RunFolder
    from spillover.study.evaluation.page import write_report

    if second is not None:
        _compare(run_folder, second, out, as_json=as_json)
        return
    if out is not None or as_json:
        raise ConfigError("--out and --json belong to a comparison; give a second folder")
    path = write_report(RunFolder(run_folder))
    say(f"report: {path.resolve()}")


def _compare(first: Path, second: Path, out: Path | None, *, as_json: bool) -> None:
    from spillover.study.finished.comparing import compare_folders, write_comparison

    found, answers = compare_folders(first, second)
    beside = second / f"compared-with-{first.resolve().name}.html"
    page, numbers = write_comparison(found, answers, out or beside)
    if as_json:
        typer.echo(numbers.read_text(encoding="utf-8"), nl=False)
        return
    print_comparison(found)
    say(f"page: {page.resolve()}")


def print_comparison(found: "RunComparison") -> None:
    """Print the differences as one table a model, each within 80 columns, and the answer."""
    from spillover.report.run_comparison import comparison_answer
    from spillover.report.run_comparison_page import row_name
    from spillover.report.text import change_with_interval, number, p_value, words

    for model in found.models:
        table = Table(words(model), box=None, pad_edge=False)
        table.columns[0].overflow = "fold"
        for name in ("first", "second", "second - first [95%]", "n", "p Holm"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in found.of(model):
            change = change_with_interval(row.delta, row.ci_low, row.ci_high)
            table.add_row(
                escape(row_name(row)) + ("" if row.is_paired else " *"),
                number(row.first),
                number(row.second),
                escape(change),
                str(row.n),
                p_value(row.p_holm),
            )
        console.print(table)
        console.print()
    if not all(row.is_paired for row in found.rows):
        console.print("*: too few prompts are the same; compared as separate sets", highlight=False)
    for line in (*comparison_answer(found), *found.notes):
        console.print(line, markup=False, highlight=False)
