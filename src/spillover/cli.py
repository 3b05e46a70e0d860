"""The command line: each command builds arguments and calls one function.

Exit codes: 0 done, 1 something failed, 2 the user's input, 130 interrupted.
"""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from spillover import __version__
from spillover.errors import SpilloverError

# On Linux, torch then asks for huge pages: without them half of a CPU training step goes into
# page faults. Read at torch's first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

app = typer.Typer(
    help="Measure, explain and contain what a narrow change to a language model breaks elsewhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console()

_DISK_ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version if asked to."""
    if show:
        console.print(__version__, highlight=False)
        raise typer.Exit


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="A study file, or a bundled study: quickstart.")],
    out: Annotated[Path | None, typer.Option(help="Run folder [runs/<study>].")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Replace the seeds; repeatable.")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as unlearn.steps=40.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, run nothing.")] = False,
) -> None:
    """Run a study to its report; a run that was stopped goes on where it was."""
    from spillover.study.config import find_study, load_study
    from spillover.study.progress import Reporter
    from spillover.study.runner import run_study, study_state

    config = load_study(find_study(study), overrides=override or (), seeds=seed)
    folder = out or Path("runs") / config.name
    if dry_run:
        for state in study_state(config, folder):
            console.print(f"{'done ' if state.is_done else 'to do'}  {state.name}", highlight=False)
        return
    quiet_libraries()
    try:
        report = run_study(config, folder, reporter=Reporter())
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on where it was", highlight=False)
        raise typer.Exit(130) from None
    console.print(f"report: {report.resolve()}", highlight=False, soft_wrap=True)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="embedded, a hub id, a folder, a GGUF file.")],
    prompts: Annotated[Path, typer.Option(help="JSONL with prompt, concept and perhaps id.")],
    out: Annotated[Path, typer.Option(help="Folder for completions, verdicts and scores.")],
    judge: Annotated[str, typer.Option(help="Name of the judge.")] = "phrases",
    adapter: Annotated[Path | None, typer.Option(help="PEFT adapter folder.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server that serves MODEL.")
    ] = None,
    dtype: Annotated[str, typer.Option()] = "bfloat16",
    device: Annotated[str, typer.Option()] = "auto",
    revision: Annotated[str | None, typer.Option(help="Of a hub id.")] = None,
    max_new_tokens: Annotated[int, typer.Option()] = 64,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    batch_size: Annotated[int, typer.Option()] = 32,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Let a model answer a prompt file, judge its answers and score them."""
    from spillover.generation.protocol import GenerationSettings
    from spillover.study.evaluate import evaluate_model
    from spillover.study.progress import Reporter

    quiet_libraries()
    scores = evaluate_model(
        model,
        prompts,
        out,
        judge=judge,
        settings=GenerationSettings(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            batch_size=batch_size,
            seed=seed,
        ),
        load_options={
            "adapter": adapter,
            "dtype": dtype,
            "device": device,
            "revision": revision,
        },
        endpoint=endpoint,
        api_key=os.environ.get("SPILLOVER_API_KEY"),
        reporter=Reporter(),
    )
    table = Table("metric", "concept", "value", "95% interval", "n", "invalid")
    for score in scores:
        shown = "-" if score.value is None else f"{score.value:.2f}"
        interval = "-" if score.ci_low is None else f"{score.ci_low:.2f} to {score.ci_high:.2f}"
        n_invalid = str(score.n_invalid)
        table.add_row(score.metric, score.concept, shown, interval, str(score.n), n_invalid)
    console.print(table)


@app.command("judge")
def judge_command(
    file: Annotated[Path, typer.Argument(help="JSONL with prompt and response.")],
    out: Annotated[Path, typer.Option(help="The same rows with verdict, judge and reason.")],
    judge: Annotated[str, typer.Option(help="Name of the judge.")] = "phrases",
) -> None:
    """Add a verdict to each row of a file."""
    from collections import Counter

    from spillover.judges import judge_file, make_judge

    verdicts = judge_file(file, make_judge(judge), out)
    counts = Counter(verdict.label for verdict in verdicts)
    shown = ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))
    console.print(f"{len(verdicts)} rows: {shown}", highlight=False)


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
) -> None:
    """Write a run's report again, from what its folder holds."""
    from spillover.study.artifacts import RunFolder
    from spillover.study.pages import write_report

    path = write_report(RunFolder(run_folder))
    console.print(f"report: {path.resolve()}", highlight=False, soft_wrap=True)


@app.command("list")
def list_command() -> None:
    """List the bundled studies, concepts, judges and objectives."""
    from spillover.data.concepts import CONCEPTS
    from spillover.judges import JUDGES
    from spillover.study.config import bundled_studies, find_study, load_study

    for name in bundled_studies():
        first = load_study(find_study(name)).description.strip().split("\n")[0]
        console.print(f"study    {name:20} {first}", highlight=False)
    for concept in CONCEPTS.values():
        console.print(f"concept  {concept.name:20} {concept.description}", highlight=False)
    for judge in JUDGES:
        console.print(f"judge    {judge}", highlight=False)


@app.command()
def doctor() -> None:
    """Show versions, device, memory and which optional parts work."""
    from spillover.study.doctor import diagnose

    for what, value, remedy in diagnose():
        line = f"{what:16} {value}" + (f"  ->  {remedy}" if remedy else "")
        console.print(line, highlight=False, soft_wrap=True)


def quiet_libraries() -> None:
    """Keep the progress bars and notices of transformers off the terminal."""
    import warnings

    from transformers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def main() -> None:
    """Run the command line and turn expected errors into a message and an exit code."""
    try:
        app()
    except SpilloverError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        _fail(f"{error.filename or 'disk'}: {error.strerror}; free some space or choose --out", 1)


def _fail(message: str, exit_code: int) -> None:
    errors = Console(stderr=True)
    errors.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(exit_code)
