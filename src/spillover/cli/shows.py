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
    from spillover.study.finished.findings import read_findings

    found = read_findings(folder)
    if as_json:
        echo_findings(found)
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


def echo_findings(found: "Shown") -> None:
    """Print findings as JSON."""
    import json

    typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))


def print_summary(found: "Shown") -> None:
    """Print a study's answer and one row a changed model, within 80 columns."""
    from spillover.report.text import words

    for paragraph in found.findings.get("headline", ()):
        console.print(paragraph, markup=False, highlight=False)
    table = Table("against aligned", box=None, pad_edge=False)
    for name in ("target [95%]", "others eroded", "capability [95%]"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [row for row in found.comparisons if row.before == "aligned"]
    for model in dict.fromkeys(row.after for row in rows):
        of_model = [row for row in rows if row.after == model]
        others = [r for r in of_model if r.metric == "refusal_rate" and not r.is_target]
        target = [row for row in of_model if row.is_target]
        capability = [row for row in of_model if row.metric == "capability"]
        table.add_row(
            escape(words(model)),
            _change_of(target[:1]),
            f"{sum(row.flagged for row in others)} of {len(others)}",
            _change_of(capability[:1]),
        )
    if rows:
        console.print(table)


def _change_of(rows: "list[Comparison]") -> str:
    """Return the change of one row as text; nothing where there is no row."""
    from spillover.report.text import change_with_interval

    return "".join(escape(change_with_interval(r.delta, r.ci_low, r.ci_high)) for r in rows)


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
    for paragraph in found.findings.get("headline", ()):
        console.print(paragraph, markup=False, highlight=False)
    pairs = dict.fromkeys((row.before, row.after) for row in found.comparisons)
    for before, after in pairs:
        rows = [row for row in found.comparisons if (row.before, row.after) == (before, after)]
        console.print()
        console.print(f"{before} -> {after}", markup=False, highlight=False)
        console.print(_changes(rows))
    for name, title in (("certainty", "How sure it is"), ("next_steps", "What to do next")):
        lines = found.findings.get(name, ())
        if lines:
            console.print(f"\n{title}", highlight=False)
        for line in lines:
            console.print(f"- {line}", markup=False, highlight=False)


def _changes(rows: "list[Comparison]") -> Table:
    from spillover.report.text import change_with_interval, metric_name, words

    table = Table("measure", "concept", box=None, pad_edge=False)
    table.add_column("change [95% interval]", justify="right", no_wrap=True)
    # Over seeds the seed is the unit.
    table.add_column("seeds" if rows[0].seed is None else "n", justify="right")
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
