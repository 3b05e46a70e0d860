"""`spillover explain`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from spillover.cli.app import app, quiet_libraries, resumable, say
from spillover.errors import ConfigError


@app.command()
def explain(
    aligned: Annotated[str, typer.Option(help="The model before tuning: name, folder, adapter.")],
    tuned: Annotated[str, typer.Option(help="The same after a narrow change.")],
    out: Annotated[Path, typer.Option(help="Folder for analyses, tensors, figures and the page.")],
    base: Annotated[
        str | None, typer.Option(help="The model before alignment; some analyses need it.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="JSONL of responses or of prompts with concepts; repeatable."),
    ] = None,
    control: Annotated[
        list[Path] | None, typer.Option(help="JSONL of benign responses; repeatable.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Concept that tuning was about, such as safety.")
    ] = None,
    comparisons: Annotated[
        list[Path] | None,
        typer.Option(help="comparisons.json of a study, for predictions; repeatable."),
    ] = None,
    analyses: Annotated[
        str | None, typer.Option(help="Names with commas; default: all that can be done.")
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers to look into, from 0, such as 5,12,20.")
    ] = None,
    modules: Annotated[
        str | None, typer.Option(help="Linear modules for gradients, paths with commas.")
    ] = None,
    definition: Annotated[
        Literal["tokens", "flattened"], typer.Option(help="Of the alignment direction.")
    ] = "tokens",
    limit: Annotated[int, typer.Option(help="Responses a set, prompts a concept.")] = 16,
    max_tokens: Annotated[int, typer.Option(help="Response tokens that are read.")] = 64,
    batch_size: Annotated[int, typer.Option()] = 8,
    dtype: Annotated[str, typer.Option()] = "bfloat16",
    device: Annotated[str, typer.Option()] = "auto",
    seed: Annotated[int, typer.Option()] = 0,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code")] = False,
) -> None:
    """Explain what tuning did inside a model: each claim with its null, on one page."""
    chosen = None if analyses is None else [name.strip() for name in analyses.split(",")]
    paths = None if modules is None else tuple(path.strip() for path in modules.split(","))
    places = _layers(layers)
    if limit < 4 or max_tokens < 8 or batch_size < 1:
        raise ConfigError(
            f"--limit {limit}, --max-tokens {max_tokens}, --batch-size {batch_size}; give at "
            "least 4, 8 and 1"
        )
    from spillover.study.explaining import (
        ExplainSettings,
        explain_data,
        explain_models,
        measured_in,
        open_models,
    )

    with resumable():
        quiet_libraries()
        page = explain_models(
            open_models(
                base=base,
                aligned=aligned,
                tuned=tuned,
                out=out,
                dtype=dtype,
                device=device,
                trust_remote_code=trust_remote_code,
            ),
            explain_data(data or (), controls=control or (), limit=limit, seed=seed),
            out,
            analyses=chosen,
            settings=ExplainSettings(
                layers=places,
                limit=limit,
                max_tokens=max_tokens,
                batch_size=batch_size,
                target=target,
                modules=paths,
                definition=definition,
                seed=seed,
            ),
            measured=measured_in(comparisons or ()),
        )
    say(f"page: {page.resolve()}")


def _layers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"--layers {text!r}: write numbers from 0 with commas between, such as 5,12,20"
        ) from error
