"""The command line: each command builds arguments and calls one function.

Exit codes: 0 done, 1 something failed, 2 the user's input, 130 interrupted.
"""

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from spillover import __version__
from spillover.errors import SpilloverError

if TYPE_CHECKING:
    from spillover.records import Score

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
errors = Console(stderr=True)

_DISK_ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT)


@contextmanager
def _resumable() -> Iterator[None]:
    """Say how to go on if the user interrupts what is done inside."""
    try:
        yield
    except KeyboardInterrupt:
        errors.print("interrupted; the same command goes on where it was", highlight=False)
        raise typer.Exit(130) from None


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Print the version if asked to."""
    if show:
        _say(__version__)
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
    from spillover.study.config import load_study
    from spillover.study.progress import Reporter
    from spillover.study.runner import run_study, study_state

    config = load_study(study, overrides=override or (), seeds=seed)
    folder = out or Path("runs") / config.name
    if dry_run:
        for state in study_state(config, folder):
            _say(f"{'done ' if state.is_done else 'to do'}  {state.name}")
        return
    with _resumable():
        quiet_libraries()
        report = run_study(config, folder, reporter=Reporter())
    _say(f"report: {report.resolve()}")


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

    settings = GenerationSettings(
        max_new_tokens=max_new_tokens, temperature=temperature, batch_size=batch_size, seed=seed
    )
    with _resumable():
        quiet_libraries()
        scores = evaluate_model(
            model,
            prompts,
            out,
            judge=judge,
            settings=settings,
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
    _print_scores(scores)


def _print_scores(scores: "Sequence[Score]") -> None:
    table = Table("metric", "concept", "value", "95% interval", "n", "invalid")
    for score in scores:
        shown = "-" if score.value is None else f"{score.value:.2f}"
        interval = "-" if score.ci_low is None else f"{score.ci_low:.2f} to {score.ci_high:.2f}"
        n_invalid = str(score.n_invalid)
        table.add_row(score.metric, escape(score.concept), shown, interval, str(score.n), n_invalid)
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
    _say(f"{len(verdicts)} rows: {shown}")


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
) -> None:
    """Write a run's report again, from what its folder holds."""
    from spillover.study.artifacts import RunFolder
    from spillover.study.pages import write_report

    path = write_report(RunFolder(run_folder))
    _say(f"report: {path.resolve()}")


@app.command("list")
def list_command() -> None:
    """List the bundled studies, concepts, judges and objectives."""
    from spillover.data.concepts import CONCEPTS
    from spillover.judges import JUDGES
    from spillover.study.config import bundled_studies, load_study
    from spillover.study.sections import ContainSection, UnlearnSection

    for name in bundled_studies():
        first = load_study(name).description.strip().split("\n")[0]
        _say(f"study      {name:20} {first}")
    for concept in CONCEPTS.values():
        _say(f"concept    {concept.name:20} {concept.description}")
    for judge in JUDGES:
        _say(f"judge      {judge}")
    for section in (UnlearnSection, ContainSection):
        for objective in section.objectives:
            where = section.__name__.removesuffix("Section").lower()
            _say(f"objective  {objective:20} for `{where}`")


@app.command()
def doctor() -> None:
    """Show versions, device, memory and which optional parts work."""
    from spillover.study.doctor import diagnose

    for what, value, remedy in diagnose():
        line = f"{what:16} {value}" + (f"  ->  {remedy}" if remedy else "")
        _say(line)


def _say(line: str) -> None:
    """Print a line as it is: whole, and with its brackets."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


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
    errors.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(exit_code)
