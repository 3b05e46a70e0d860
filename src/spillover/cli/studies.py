"""`spillover run` and `spillover report`."""

from pathlib import Path
from typing import Annotated

import typer

from spillover.cli.app import app, quiet_libraries, resumable, say


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
) -> None:
    """Run a study to its report; a run that was stopped goes on where it was."""
    from spillover.study.config import load_study
    from spillover.study.progress import Reporter
    from spillover.study.runner import run_study, study_state
    from spillover.study.tuning_plan import missing_files

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
    say(f"report: {report.resolve()}")


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
) -> None:
    """Write a run's report again, from what its folder holds."""
    from spillover.study.artifacts import RunFolder
    from spillover.study.pages import write_report

    path = write_report(RunFolder(run_folder))
    say(f"report: {path.resolve()}")
