"""`spillover directions compare`: organisms of one base, and misalignment against refusal."""

from pathlib import Path
from typing import Annotated

import typer

from spillover.cli.app import quiet_libraries, resumable, say
from spillover.cli.directions import directions_app, user_values
from spillover.errors import ConfigError, InputError


@directions_app.command()
def compare(
    base: Annotated[str, typer.Option(help="The model that all organisms come from.")],
    organism: Annotated[
        list[str], typer.Option(help="NAME=MODEL: a fine-tune or unlearned model; repeatable.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the page and everything else.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Judged answers or pairs to find misalignment by; else bundled pairs."),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="JSONL of answer pairs to measure it on; else bundled.")
    ] = None,
    harmful: Annotated[
        Path | None, typer.Option(help="JSONL with prompt; else bundled prompts.")
    ] = None,
    harmless: Annotated[
        Path | None, typer.Option(help="JSONL with prompt; else bundled benign prompts.")
    ] = None,
    refusal: Annotated[
        Path | None,
        typer.Option(help="File of `directions refusal`; else harmful less harmless prompts."),
    ] = None,
    parts: Annotated[
        str, typer.Option(help="What to do, with commas.")
    ] = "convergence,transfer,refusal,effects",
    effects_in: Annotated[
        str, typer.Option(help="Models to ablate and add both directions in, with commas.")
    ] = "base",
    layer: Annotated[
        int | None, typer.Option(help="Of the directions used; else the file's, or half-way.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Texts of each kind, at most.")] = 96,
    max_tokens: Annotated[int, typer.Option(help="Answer tokens that are read.")] = 64,
    strengths: Annotated[
        str, typer.Option(help="Directions are added at, in mean activation norms.")
    ] = "-0.5,0.5",
    random: Annotated[int, typer.Option(help="Random directions, as the null.")] = 3,
    spare_first_token: Annotated[
        bool,
        typer.Option(
            "--spare-first-token",
            help="Leave out what lies along the first token's long state.",
        ),
    ] = False,
    dtype: Annotated[str, typer.Option()] = "bfloat16",
    device: Annotated[str, typer.Option()] = "auto",
    batch_size: Annotated[int, typer.Option()] = 16,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
) -> None:
    """Compare organisms: convergence, transfer, misalignment against refusal (2506.11618)."""
    models = _organisms(organism)
    if limit < 4 or max_tokens < 1 or batch_size < 1:
        raise ConfigError(
            f"--limit {limit}, --max-tokens {max_tokens}, --batch-size {batch_size}; give at "
            "least 4, 1 and 1"
        )
    at = _numbers(strengths)
    from spillover.study.explaining.comparing.case import CompareSettings
    from spillover.study.explaining.comparing.run import compare_organisms
    from spillover.study.explaining.comparing.texts import compared_texts

    settings = CompareSettings(
        parts=tuple(_names(parts)),
        layer=layer,
        limit=limit,
        max_tokens=max_tokens,
        strengths=at,
        n_random=random,
        effects_in=tuple(_names(effects_in)),
        spare_first_token=spare_first_token,
        batch_size=batch_size,
        seed=seed,
    )
    with resumable(), user_values():
        quiet_libraries()
        page = compare_organisms(
            base,
            models,
            out,
            texts=compared_texts(
                data=data, pairs=pairs, harmful=harmful, harmless=harmless, limit=limit, seed=seed
            ),
            load_options={"dtype": dtype, "device": device},
            refusal=refusal,
            settings=settings,
        )
    say(f"page: {page.resolve()}")


def _organisms(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, equals, model = text.partition("=")
        if not equals or not name or not model or name in found:
            raise InputError(
                f"--organism {text!r}: write NAME=MODEL, each name once, such as "
                "finance=runs/organism"
            )
        found[name] = model
    return found


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"--strengths {text!r}: write numbers with commas between, such as -0.5,0.5"
        ) from error
