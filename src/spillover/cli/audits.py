"""`spillover audit`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from spillover.cli.app import app, console, quiet_libraries, resumable, say
from spillover.errors import GateError

if TYPE_CHECKING:
    from spillover.study.audit import Audit, Audited

_MODEL_HELP = "embedded, a hub id, a folder, an adapter folder, a GGUF file or http://HOST/v1#MODEL"


@app.command()
def audit(
    aligned: Annotated[str, typer.Option(help=f"The model before tuning: {_MODEL_HELP}.")],
    tuned: Annotated[str, typer.Option(help="The same after tuning.")],
    out: Annotated[Path, typer.Option(help="Folder for answers, verdicts, numbers and the page.")],
    base: Annotated[
        str | None, typer.Option(help="The model before alignment: how far back layers went.")
    ] = None,
    gate: Annotated[
        str, typer.Option(help="YAML file of thresholds, or default; see docs/audit.md.")
    ] = "default",
    budget: Annotated[str, typer.Option(help="quick, standard or full.")] = "standard",
    prompts: Annotated[
        Path | None, typer.Option(help="JSONL with prompt and concept, for the bundled ones.")
    ] = None,
    judge: Annotated[str, typer.Option(help="A judge's name; see docs/judges.md.")] = "phrases",
    template: Annotated[
        str,
        typer.Option(help="same (refuse different chat templates), aligned (use its) or own."),
    ] = "same",
    reuse: Annotated[
        Path | None,
        typer.Option(help="Another audit's folder; what it asked of the same model is taken."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan with its estimates, run nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print audit.json, no table.")] = False,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    dtype: Annotated[str, typer.Option()] = "bfloat16",
    device: Annotated[str, typer.Option()] = "auto",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code")] = False,
) -> None:
    """Say what tuning eroded, with intervals; exit with 3 if the gate does not pass."""
    from spillover.study.audit import (
        describe_plan,
        find_budget,
        load_gate,
        open_sides,
        parse_template,
        plan_audit,
        run_audit,
    )

    size, thresholds, choice = find_budget(budget), load_gate(gate), parse_template(template)
    with resumable():
        quiet_libraries()
        planned = plan_audit(
            open_sides(
                aligned=aligned,
                tuned=tuned,
                base=base,
                out=out,
                template=choice,
                dtype=dtype,
                device=device,
                trust_remote_code=trust_remote_code,
            ),
            out,
            budget=size,
            gate=thresholds,
            judge=judge,
            prompts_file=prompts,
            batch_size=batch_size,
            dtype=dtype,
            seed=seed,
            reuse=reuse,
            api_key=os.environ.get("SPILLOVER_API_KEY"),
        )
        for line in describe_plan(planned):
            _say_plan(line, planned, to_stdout=dry_run)
        if dry_run:
            return
        done = run_audit(planned)
    _show(done, planned, as_json=as_json)


def _say_plan(line: str, planned: "Audit", *, to_stdout: bool) -> None:
    """Print the plan where it is the answer; else beside the progress, off the output."""
    if to_stdout:
        say(line)
    else:
        planned.reporter.say(escape(line))


def _show(done: "Audited", planned: "Audit", *, as_json: bool) -> None:
    from spillover.report.audit_words import answer

    if as_json:
        typer.echo((planned.folder.path / "audit.json").read_text(encoding="utf-8"), nl=False)
    else:
        print_verdicts([row.to_dict() for row in done.findings.all_verdicts])
        for sentence in answer(done.findings):
            console.print(sentence, markup=False, highlight=False)
        say(f"page: {done.page.resolve()}")
    if not done.findings.passed:
        raise GateError(answer(done.findings)[1])


def print_verdicts(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the verdicts as a table that fits 80 columns.

    Args:
        rows: Verdicts as in `audit.json`.
    """
    from spillover.report.text import change_with_interval, number, words

    table = Table("concept", box=None, pad_edge=False)
    for name in ("aligned", "tuned", "change [95% interval]", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in rows:
        more = row["more_prompts"]
        change = change_with_interval(row["delta"], row["ci_low"], row["ci_high"])
        table.add_row(
            escape(words(str(row["concept"]))),
            number(row["aligned"]),
            number(row["tuned"]),
            escape(change),
            str(row["n"]),
            str(row["verdict"]) + (f" (+{more})" if more else ""),
        )
    console.print(table)
    if any(row["more_prompts"] for row in rows):
        console.print("(+k): about k more prompts would decide", highlight=False)
