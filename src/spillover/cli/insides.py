"""`spillover directions inside`: what each adapter of a rank-1 organism computes and does."""

from pathlib import Path
from typing import Annotated

import typer

from spillover.cli.app import quiet_libraries, resumable, say
from spillover.cli.directions import directions_app, user_values
from spillover.errors import InputError


@directions_app.command()
def inside(
    adapter: Annotated[Path, typer.Argument(help="Folder of a rank-1 LoRA.")],
    out: Annotated[Path, typer.Option(help="Folder for the page and everything else.")],
    base: Annotated[
        str | None, typer.Option(help="The model below; else what the adapter names.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Judged answers or pairs; else bundled pairs.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="JSONL of answer pairs to measure on; else bundled.")
    ] = None,
    narrow: Annotated[
        Path | None, typer.Option(help="JSONL of prompt and response, as it was trained on.")
    ] = None,
    factors: Annotated[str, typer.Option(help="Adapters are multiplied by; 0 cuts out.")] = "0,5",
    limit: Annotated[int, typer.Option(help="Answers of each kind, at most.")] = 96,
    max_tokens: Annotated[int, typer.Option(help="Answer tokens that are read.")] = 48,
    permutations: Annotated[int, typer.Option(help="Of labels, for the probes' p.")] = 99,
    c: Annotated[
        float, typer.Option(help="Inverse strength of the probes' penalty; more for few answers.")
    ] = 0.1,
    answers: Annotated[int, typer.Option(help="Whose tokens are shown, of each kind.")] = 4,
    dtype: Annotated[str, typer.Option()] = "bfloat16",
    device: Annotated[str, typer.Option()] = "auto",
    batch_size: Annotated[int, typer.Option()] = 8,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
) -> None:
    """Look inside of a rank-1 organism: probes, scaling, holding, tokens (arXiv 2506.11618)."""
    try:
        wanted = tuple(float(part) for part in factors.split(","))
    except ValueError as error:
        raise InputError(
            f"--factors {factors!r}: write numbers with commas between, such as 0,5"
        ) from error
    if limit < 4 or c <= 0 or min(max_tokens, batch_size, permutations, answers) < 1:
        raise InputError(
            f"--limit {limit}, --max-tokens {max_tokens}, --batch-size {batch_size}, "
            f"--permutations {permutations}, --answers {answers}, --c {c:g}; give at least 4, 1 "
            "of the others, and a positive --c"
        )
    from spillover.study.explaining.comparing.texts import compared_texts
    from spillover.study.explaining.inside import InsideSettings, look_inside

    with resumable(), user_values():
        quiet_libraries()
        page = look_inside(
            adapter,
            out,
            texts=compared_texts(data=data, pairs=pairs, limit=limit, seed=seed),
            load_options={"dtype": dtype, "device": device},
            base=base,
            narrow=narrow,
            settings=InsideSettings(
                factors=wanted,
                max_tokens=max_tokens,
                n_permutations=permutations,
                c=c,
                n_answers=answers,
                batch_size=batch_size,
                seed=seed,
            ),
        )
    say(f"page: {page.resolve()}")
