"""`spillover classify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spillover.cli.app import app, quiet_libraries, resumable, say
from spillover.errors import ConfigError

if TYPE_CHECKING:
    from spillover.stats.confusions import Confusion


@app.command()
def classify(
    file: Annotated[Path, typer.Argument(help="JSONL with prompt, or with messages.")],
    out: Annotated[Path, typer.Option(help="The same rows with concept and confidence.")],
    by: Annotated[
        str, typer.Option(help="offline, words, or a language model: llm:concept@MODEL.")
    ] = "offline",
    threshold: Annotated[
        float, typer.Option(help="Below this probability the concept is `unclear`.")
    ] = 0.4,
    forced: Annotated[
        bool, typer.Option("--forced", help="No prompt is `other`: for sets of harmful prompts.")
    ] = False,
    sets: Annotated[
        Path | None,
        typer.Option(help="Folder for prompts.jsonl and benign.jsonl, as a study takes them."),
    ] = None,
) -> None:
    """Sort prompts into the seven concepts, so that forget and retain sets can be built."""
    from collections import Counter

    from spillover.study.evaluation.classifying import classify_file

    if not 0 <= threshold <= 1:
        raise ConfigError(f"--threshold is {threshold}; it must lie in [0, 1]")
    with resumable():
        quiet_libraries()
        found = classify_file(file, out, by=by, threshold=threshold, is_forced=forced, sets=sets)
    for concept, count in Counter(c.concept for c in found.concepts).most_common():
        say(f"{concept:20}{count:>7}")
    if found.forced_agreement is not None:
        _print_agreement("the concepts in the file, forced choice of seven", found.forced_agreement)
    if found.agreement is not None:
        _print_agreement("the same, as written (without unclear ones)", found.agreement)
        _print_counts(found.agreement)


def _print_agreement(what: str, found: "Confusion") -> None:
    say(
        f"agreement with {what}: {found.accuracy:.3f} ({found.ci_low:.3f}-{found.ci_high:.3f}, "
        f"n = {found.n}), mean over concepts {found.balanced_accuracy:.3f}"
    )
    if found.kappa is not None:
        low, high = found.kappa.ci_low, found.kappa.ci_high
        say(f"kappa {found.kappa.value:.3f} ({low:.3f}-{high:.3f})")


def _print_counts(found: "Confusion") -> None:
    """Print who was taken for what; columns have the numbers of the rows, whose names are long."""
    say("rows: concept in the file; columns: concept written, numbered as the rows")
    say(" " * 24 + "".join(f"{number:>6}" for number, _ in enumerate(found.labels, start=1)))
    for number, (label, row) in enumerate(zip(found.labels, found.counts, strict=True), start=1):
        say(f"{number:>2} {label:21}" + "".join(f"{count:>6}" for count in row))
