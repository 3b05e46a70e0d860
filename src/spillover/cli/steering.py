"""`spillover steer`: a model along a direction, at several strengths."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from spillover.cli.app import app, console, quiet_libraries, resumable, say
from spillover.cli.directions import user_values
from spillover.errors import InputError

if TYPE_CHECKING:
    from spillover.analysis.dose_curves import DoseCurve
    from spillover.models.steering import Units


@app.command()
def steer(
    model: Annotated[str, typer.Argument(help="embedded, a hub id, a folder, a GGUF file.")],
    direction: Annotated[Path, typer.Option(help="A file of `spillover directions`.")],
    prompts: Annotated[Path, typer.Option(help="JSONL with prompt, concept and perhaps id.")],
    out: Annotated[Path, typer.Option(help="Folder for curve.json, curve.csv and curve.svg.")],
    strengths: Annotated[str, typer.Option(help="Numbers with commas between.")] = "-2,-1,0,1,2",
    layer: Annotated[
        int | None, typer.Option(help="Which direction, where the file has one a layer.")
    ] = None,
    units: Annotated[
        str, typer.Option(help="Of the strengths: activation_norm, or vector (its own length).")
    ] = "activation_norm",
    judge: Annotated[str, typer.Option(help="Name or specification of the judge.")] = "phrases",
    random: Annotated[
        int, typer.Option(help="Random directions of the same length, as the null.")
    ] = 3,
    questions: Annotated[int, typer.Option(help="Multiple-choice questions; 0 for none.")] = 40,
    adapter: Annotated[Path | None, typer.Option(help="PEFT adapter folder.")] = None,
    dtype: Annotated[str, typer.Option()] = "bfloat16",
    device: Annotated[str, typer.Option()] = "auto",
    max_new_tokens: Annotated[int, typer.Option()] = 32,
    batch_size: Annotated[int, typer.Option()] = 32,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Steer a model along a direction; show refusals, coherence and capability by strength."""
    wanted = _strengths(strengths)
    measured_in = _units(units)
    from spillover.generation import GenerationSettings
    from spillover.study.explaining.steering import steer_model

    settings = GenerationSettings(max_new_tokens=max_new_tokens, batch_size=batch_size, seed=seed)
    with resumable(), user_values():
        quiet_libraries()
        curve = steer_model(
            model,
            direction,
            prompts,
            out,
            load_options={"adapter": adapter, "dtype": dtype, "device": device},
            strengths=wanted,
            layer=layer,
            units=measured_in,
            judge=judge,
            settings=settings,
            n_random=random,
            n_questions=questions,
        )
    _print_curve(curve)
    say(f"table and figure: {out.resolve()}")


def _strengths(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--strengths {text!r}: write numbers with commas between, such as -1,0,1"
        ) from error


def _units(text: str) -> "Units":
    known: tuple[Units, ...] = ("activation_norm", "vector")
    for units in known:
        if text == units:
            return units
    raise InputError(f"--units {text!r} is not known; choose {' or '.join(known)}")


def _print_curve(curve: "DoseCurve") -> None:
    table = Table("measure", "strength", "value", "95% interval", "n", "invalid", "random")
    table.columns[0].overflow = "fold"
    for measure in curve.measures:
        for point in curve.of(measure):
            value, null = point.value, point.random_values
            table.add_row(
                escape(measure),
                f"{point.strength:g}",
                "-" if value is None else f"{value.value:.2f}",
                "-" if value is None else f"{value.ci_low:.2f} to {value.ci_high:.2f}",
                str(point.n),
                str(point.n_without),
                f"{min(null):.2f} to {max(null):.2f}" if null else "-",
            )
    console.print(table)
