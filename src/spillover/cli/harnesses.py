"""`spillover lm-eval` and `spillover import-lm-eval`."""

from pathlib import Path
from typing import Annotated

import typer

from spillover.cli.app import app, quiet_libraries, resumable, say
from spillover.cli.evaluations import print_scores


@app.command("lm-eval")
def lm_eval(
    model: Annotated[str, typer.Argument(help="embedded, a hub id, a folder, a GGUF file.")],
    out: Annotated[Path, typer.Option(help="Folder for answers, scores and lm-eval's results.")],
    suite: Annotated[
        str | None,
        typer.Option(help="mmlu or mmlu:FILE; left out, the bundled general-knowledge questions."),
    ] = None,
    shots: Annotated[
        Path | None, typer.Option(help="Questions that MMLU shows first: its dev split.")
    ] = None,
    n_shots: Annotated[int, typer.Option(help="How many of them a subject.")] = 5,
    limit: Annotated[int | None, typer.Option(help="Most items of the suite; drawn.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Answer with our own scoring too, and compare.")
    ] = False,
    adapter: Annotated[Path | None, typer.Option(help="PEFT adapter folder.")] = None,
    dtype: Annotated[
        str, typer.Option(help="In bfloat16 near-ties can fall either way.")
    ] = "float32",
    device: Annotated[str, typer.Option()] = "auto",
    revision: Annotated[str | None, typer.Option(help="Of a hub id.")] = None,
    batch_size: Annotated[int, typer.Option()] = 16,
    seed: Annotated[int, typer.Option(help="Of the items drawn by --limit.")] = 0,
) -> None:
    """Score multiple choice through lm-eval, on the items that `evaluate` asks."""
    from spillover.integrations.lm_eval_runs import LM_EVAL, LMEvalOptions, score_in_lm_eval

    with resumable():
        _quiet()
        found = score_in_lm_eval(
            model,
            out,
            options=LMEvalOptions(
                suite=suite,
                shots=shots,
                n_shots=n_shots,
                limit=limit,
                batch_size=batch_size,
                seed=seed,
                compare=compare,
            ),
            load_options={
                "adapter": adapter,
                "dtype": dtype,
                "device": device,
                "revision": revision,
            },
        )
    print_scores([score for score in found.scores if score.judge.startswith(LM_EVAL)])
    if found.differing is not None:
        say(f"the same choice at {found.n - len(found.differing)} of {found.n} questions")
        for question in found.differing:
            say(f"    not at {question}")


@app.command("import-lm-eval")
def import_lm_eval(
    samples: Annotated[
        Path, typer.Argument(help="samples_*.jsonl of lm-eval's --log_samples, or their folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for answers, scores and rows to judge.")],
    model: Annotated[
        str | None, typer.Option(help="The model's name [that of the samples' folder].")
    ] = None,
    concept: Annotated[
        str | None, typer.Option(help="Column of the task's data with a prompt's concept [task].")
    ] = None,
) -> None:
    """Take over what lm-eval logged: choices as scores, generated text as rows to judge."""
    from spillover.integrations.lm_eval_samples import import_samples

    found = import_samples(samples, out, model=model, concept=concept)
    if found.answers:
        print_scores(found.scores)
    say(f"{found.model}: {len(found.answers)} choices, {len(found.rows)} generated answers")
    if found.rows:
        say(f"next: spillover judge {out / 'rows.jsonl'} --out {out / 'judged.jsonl'}")


def _quiet() -> None:
    """Keep lm-eval's notices off the terminal as well."""
    import logging

    quiet_libraries()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
