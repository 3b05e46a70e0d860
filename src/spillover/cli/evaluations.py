"""`spillover evaluate` and `spillover judge`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from spillover.cli.app import app, console, quiet_libraries, resumable, say

if TYPE_CHECKING:
    from spillover.records import Score

JUDGE_HELP = (
    "phrases, classifier, classifier:FOLDER, llm:RUBRIC@MODEL, llm:RUBRIC@http://HOST/v1#MODEL, "
    "panel:JUDGE,JUDGE or a YAML file; see docs/judges.md."
)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="embedded, a hub id, a folder, a GGUF file.")],
    out: Annotated[Path, typer.Option(help="Folder for completions, verdicts and scores.")],
    prompts: Annotated[
        Path | None, typer.Option(help="JSONL with prompt, concept and perhaps id.")
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(help="NAME or NAME:FILE, as often as needed; `spillover suites` lists them."),
    ] = None,
    judge: Annotated[str, typer.Option(help=JUDGE_HELP)] = "phrases",
    grader: Annotated[
        str | None,
        typer.Option(help="MODEL or http://HOST/v1#MODEL that grades answers to open questions."),
    ] = None,
    samples: Annotated[int, typer.Option(help="Answers to each open question.")] = 50,
    limit: Annotated[int | None, typer.Option(help="Most items of a suite; drawn.")] = None,
    shots: Annotated[
        Path | None, typer.Option(help="Questions that MMLU shows first: its dev split.")
    ] = None,
    n_shots: Annotated[int, typer.Option(help="How many of them a subject.")] = 5,
    adapter: Annotated[Path | None, typer.Option(help="PEFT adapter folder.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server that serves MODEL.")
    ] = None,
    dtype: Annotated[str, typer.Option()] = "bfloat16",
    device: Annotated[str, typer.Option()] = "auto",
    revision: Annotated[str | None, typer.Option(help="Of a hub id.")] = None,
    max_new_tokens: Annotated[int, typer.Option()] = 64,
    temperature: Annotated[
        float, typer.Option(help="0 is greedy; open questions are sampled at 1 then.")
    ] = 0.0,
    batch_size: Annotated[int, typer.Option()] = 32,
    seed: Annotated[int, typer.Option()] = 0,
    deflection_is_refusal: Annotated[
        bool, typer.Option(help="Whether changing the subject counts as a refusal.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print scores.json, no table.")] = False,
) -> None:
    """Ask a model a prompt file and suites, judge its answers and score them."""
    from spillover.evaluation.grouping import POOLED_BENIGN
    from spillover.generation.protocol import GenerationSettings
    from spillover.study.evaluation.evaluate import evaluate_model
    from spillover.study.evaluation.suites import SuiteOptions
    from spillover.study.progress import Reporter

    settings = GenerationSettings(
        max_new_tokens=max_new_tokens, temperature=temperature, batch_size=batch_size, seed=seed
    )
    with resumable():
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
            suites=suite or (),
            suite_options=SuiteOptions(
                limit=limit, n_samples=samples, shots=shots, n_shots=n_shots, grader=grader
            ),
            deflection_is_refusal=deflection_is_refusal,
        )
    if as_json:
        typer.echo((out / "scores.json").read_text(encoding="utf-8"), nl=False)
    else:
        print_scores(scores)
    # Benign prompts are counted by set and once more together.
    counted = [
        s for s in scores if s.metric in ("refusal_rate", "em_rate") or s.concept == POOLED_BENIGN
    ]
    n_invalid = sum(score.n_invalid for score in counted)
    fail_if_invalid(n_invalid, n_invalid + sum(score.n for score in counted))


def print_scores(scores: "Sequence[Score]") -> None:
    """Print scores as a table; with the worst and the best case where a verdict is invalid."""
    table = Table("metric", "concept")
    for column in table.columns:  # Names are long, and their ends tell them apart.
        column.overflow = "fold"
    for name in ("value", "95% interval", "n", "invalid"):
        table.add_column(name, no_wrap=True)
    if any(score.n_invalid for score in scores):
        table.add_column("worst to best")
    for score in scores:
        cells = [
            score.metric,
            escape(score.concept),
            "-" if score.value is None else f"{score.value:.2f}",
            _range(score.ci_low, score.ci_high),
            str(score.n),
            str(score.n_invalid),
            _range(score.worst, score.best),
        ]
        table.add_row(*cells[: len(table.columns)])
    console.print(table)


def _range(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.2f} to {high:.2f}"


@app.command("judge")
def judge_command(
    file: Annotated[Path, typer.Argument(help="JSONL with prompt and response.")],
    out: Annotated[Path, typer.Option(help="The same rows with verdict, judge and reason.")],
    judge: Annotated[str, typer.Option(help=JUDGE_HELP)] = "phrases",
) -> None:
    """Add a verdict to each row of a file; exit with 1 if more than 5% are invalid."""
    from collections import Counter

    from spillover.judges import judge_file, make_judge
    from spillover.judges.usage import Counted
    from spillover.judges.validity import commonest_fault

    judging = make_judge(judge)
    with resumable():
        if judge != "phrases":  # Which needs none of them, and is done before they are imported.
            quiet_libraries()
        verdicts = judge_file(file, judging, out)
    counts = Counter(verdict.label for verdict in verdicts)
    shown = ", ".join(f"{count} {label}" for label, count in sorted(counts.items()))
    say(f"{len(verdicts)} rows: {shown}")
    if isinstance(judging, Counted):
        say(f"used: {judging.usage.describe()}")
    fail_if_invalid(counts["invalid"], len(verdicts), reason=commonest_fault(verdicts))


def fail_if_invalid(n_invalid: int, n: int, *, reason: str = "") -> None:
    """Stop with exit code 1 if more than 5% of the verdicts are invalid; call it last."""
    from spillover.errors import SpilloverError
    from spillover.judges.validity import validity_fault

    if fault := validity_fault(n_invalid=n_invalid, n=n):
        commonest = f"; the commonest reason: {reason}" if reason else ""
        raise SpilloverError(f"{fault}{commonest}. They are kept, and count in no rate")
