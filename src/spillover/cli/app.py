"""The command-line application that commands register with, and what they share.

Knows no command: each is a function in a module beside this one.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Annotated

import typer
from rich.console import Console

from spillover import __version__

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


@contextmanager
def resumable() -> Iterator[None]:
    """Say how to go on if the user interrupts what is done inside."""
    try:
        yield
    except KeyboardInterrupt:
        errors.print("interrupted; the same command goes on where it was", highlight=False)
        raise typer.Exit(130) from None


is_verbose: ContextVar[bool] = ContextVar("is_verbose", default=False)
"Whether libraries' notices and the traceback of an expected error are shown."
running: ContextVar[ExitStack] = ContextVar("running")
"What ends with the command; `main` sets it."


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress: results and errors only.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Libraries' notices, and where an error came from."),
    ] = False,
) -> None:
    """Print the version if asked to, and note how much is to be said."""
    if show:
        say(__version__)
        raise typer.Exit
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose exclude each other; give one")
    is_verbose.set(verbose)
    if quiet:
        from spillover.study.progress import quietly

        running.get().enter_context(quietly())


def say(line: str) -> None:
    """Print a line as it is: whole, and with its brackets."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def quiet_libraries() -> None:
    """Keep the progress bars and notices of transformers off the terminal, unless verbose."""
    if is_verbose.get():
        return
    import warnings

    from transformers.utils import logging

    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
