"""`spillover import-inspect`."""

from pathlib import Path
from typing import Annotated

import typer

from spillover.cli.app import app, say
from spillover.cli.evaluations import print_scores


@app.command("import-inspect")
def import_inspect(
    log: Annotated[Path, typer.Argument(help="A log of Inspect's: .eval or .json.")],
    out: Annotated[Path, typer.Option(help="JSONL that `spillover judge` reads.")],
    concept: Annotated[
        str | None, typer.Option(help="Metadata key of a sample's concept [concept].")
    ] = None,
) -> None:
    """Turn an Inspect log into rows to judge; print the rates of verdicts that it has."""
    from spillover.evaluation import over_refusal_scores, refusal_scores
    from spillover.evaluation.grouping import is_benign
    from spillover.integrations.inspect_logs import import_inspect_log, imported_verdicts

    rows = import_inspect_log(log, out, concept=concept)
    verdicts = imported_verdicts(rows)
    model = rows[0]["model"]
    harmful = [verdict for verdict in verdicts if not is_benign(verdict.concept)]
    if verdicts:
        print_scores(
            [
                *refusal_scores(harmful, model=model, seed=0),
                *over_refusal_scores(verdicts, model=model, seed=0),
            ]
        )
    n_errors = sum("error" in row for row in rows)
    say(f"{len(rows)} rows, {len(verdicts)} with a verdict, {n_errors} that ended in an error")
    say(f"rows: {out.resolve()}")
