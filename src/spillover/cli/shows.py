"""`spillover show`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from spillover.cli.app import app, console, say
from spillover.cli.audits import print_verdicts
from spillover.cli.evaluations import print_scores

if TYPE_CHECKING:
    from spillover.records import Comparison
    from spillover.study.finished.findings import Shown


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run, sweep point or audit.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False,
) -> None:
    """Show a finished run's or audit's findings in the terminal."""
    import json

    from spillover.study.finished.findings import read_findings

    found = read_findings(folder)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        return
    console.print(f"{found.kind}: {found.title}", markup=False, highlight=False)
    if found.audit is not None:
        _show_audit(found.audit)
    elif found.comparisons:
        _show_study(found)
    else:
        print_scores(found.scores)
    if found.page:
        say(f"page: {found.page}")


def _show_audit(audit: Mapping[str, Any]) -> None:
    from spillover.report.text import change_with_interval, metric_name, words

    overall = [audit["overall"]] if audit["overall"] else []
    print_verdicts([*audit["verdicts"], *overall])
    table = Table("side effect", "on", box=None, pad_edge=False)
    table.add_column("change [95% interval]", justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    for row in audit["effects"]:
        change = change_with_interval(row["delta"], row["ci_low"], row["ci_high"])
        unit = ", nats" if row["unit"] == "nats" else ""
        name = f"{metric_name(row['metric'])}{unit}"
        table.add_row(escape(name), escape(words(row["concept"])), escape(change), str(row["n"]))
    console.print()
    console.print(table)
    console.print()
    for sentence in audit["answer"]:
        console.print(sentence, markup=False, highlight=False)
    cause = audit["nearest_cause"]
    said = f"looks like {cause}" if cause else "none fits"
    console.print(f"Nearest known cause (a hint): {said}.", markup=False, highlight=False)
    for step in audit["advice"]:
        console.print(f"- {step}", markup=False, highlight=False)


def _show_study(found: "Shown") -> None:
    pairs = dict.fromkeys((row.before, row.after) for row in found.comparisons)
    for before, after in pairs:
        rows = [row for row in found.comparisons if (row.before, row.after) == (before, after)]
        console.print()
        console.print(f"{before} -> {after}", markup=False, highlight=False)
        console.print(_changes(rows))


def _changes(rows: "list[Comparison]") -> Table:
    from spillover.report.text import change_with_interval, metric_name, words

    table = Table("measure", "concept", box=None, pad_edge=False)
    table.add_column("change [95% interval]", justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("")
    for row in rows:
        mark = "target" if row.is_target else "eroded" if row.flagged else ""
        change = change_with_interval(row.delta, row.ci_low, row.ci_high)
        table.add_row(
            escape(metric_name(row.metric)),
            escape(words(row.concept)),
            escape(change),
            str(row.n),
            mark,
        )
    return table
