"""`spillover export` and `spillover tables`."""

from pathlib import Path
from typing import Annotated

import typer

from spillover.cli.app import app, quiet_libraries, resumable, say


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A model's folder in a run, or any model.")],
    out: Annotated[Path, typer.Option(help="New folder.")],
    merged: Annotated[
        bool, typer.Option("--merged", help="Whole weights that need no PEFT.")
    ] = False,
    dtype: Annotated[str, typer.Option(help="Of merged weights.")] = "bfloat16",
) -> None:
    """Write a model for use elsewhere: its adapter as it is, or merged into its base."""
    from spillover.models.serving import vllm_command, vllm_problems
    from spillover.study.finished.model_export import export_model

    with resumable():
        quiet_libraries()
        folder = export_model(model, out, merged=merged, dtype=dtype)
    say(f"model: {folder.resolve()}")
    if merged:
        say(f"serve it: vllm serve {folder.resolve()}")
        return
    problems = vllm_problems(folder)
    say(f"serve it: {vllm_command(folder)}" if not problems else "vLLM needs it --merged:")
    for problem in problems:
        say(f"  {problem}")


@app.command()
def tables(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run, evaluation or audit.")],
    out: Annotated[Path, typer.Option(help="Folder for the tables and figures.")],
    kind: Annotated[str, typer.Option("--format", help="csv or parquet.")] = "csv",
) -> None:
    """Write a folder's numbers, answers and figures as CSV or Parquet for other programs."""
    from spillover.study.finished.tables import export_tables

    for path in export_tables(folder, out, kind=kind):
        say(str(path))
