"""`spillover forecast`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from spillover.cli.app import app, console, quiet_libraries, resumable, say
from spillover.errors import ConfigError

if TYPE_CHECKING:
    from spillover.study.explaining.forecasts import ErosionForecast, ForecastCalibration


@app.command()
def forecast(
    data: Annotated[Path, typer.Argument(help="JSONL of messages, or prompt and response.")],
    model: Annotated[str, typer.Option(help="The model before training: name, folder, adapter.")],
    measured: Annotated[
        list[Path] | None,
        typer.Option(help="comparisons.json of a study of this model, to calibrate; repeatable."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="JSONL of your own concepts' prompts and benign ones [the bundled]."),
    ] = None,
    layer: Annotated[
        float, typer.Option(help="Depth in [0, 1] at which states are read, such as 0.6.")
    ] = 0.6,
    limit: Annotated[int, typer.Option(help="Training examples read, the first ones.")] = 64,
    out: Annotated[Path | None, typer.Option(help="Also write it as JSON.")] = None,
    dtype: Annotated[str, typer.Option()] = "bfloat16",
    device: Annotated[str, typer.Option()] = "auto",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Forecast what training on some data would erode, before any training."""
    if not 0 <= layer <= 1 or limit < 1:
        raise ConfigError(f"--layer {layer}, --limit {limit}; give a depth in [0, 1], at least 1")
    from spillover.data.prompt_sets import load_examples, load_prompts
    from spillover.files import write_json
    from spillover.models.loading import load_model
    from spillover.seeding import numpy_generator
    from spillover.study.explaining import measured_in
    from spillover.study.explaining.forecasting import forecast_erosion

    examples = load_examples(data)[:limit]
    with resumable():
        quiet_libraries()
        found = forecast_erosion(
            load_model(model, dtype=dtype, device=device),
            examples,
            rng=numpy_generator(seed, "forecast"),
            layer=layer,
            prompts=None if prompts is None else load_prompts(prompts),
            measured=measured_in(measured or ()),
        )
    _print(found)
    if out is not None:
        write_json(out, found.to_dict())


def _print(found: "ErosionForecast") -> None:
    say(
        f"projection difference, layer {found.layer}: {found.projection_difference:+.2f} "
        f"({found.projection_low:+.2f} to {found.projection_high:+.2f}) of the way from refusals "
        f"to answers, {found.n_examples} examples"
    )
    say(f"prompts of the data that the model begins to refuse: {found.refused_prompts:.2f}")
    table = Table("concept", "entanglement", "p", "refusal log-odds now")
    for row in found.concepts:
        table.add_row(
            row.concept,
            _interval(row.entanglement, row.entanglement_low, row.entanglement_high),
            f"{row.p:.2f}",
            _interval(row.refusal_log_odds, row.refusal_low, row.refusal_high),
        )
    console.print(table)
    for line in _calibration_lines(found.calibration):
        say(line)


def _calibration_lines(of: "ForecastCalibration | None") -> list[str]:
    if of is None:
        return [
            "calibration: unknown. No erosion was measured on this model, so nothing here says how "
            "many refusals would be lost; give --measured"
        ]
    rho = _interval(of.spearman, of.spearman_low, of.spearman_high)
    lines = [
        f"calibration of entanglement: rho {rho}, p {of.p:.2f}, over {of.n_pairs} pairs of "
        f"{of.n_interventions} unlearnings of {of.n_targets} targets"
    ]
    if of.error is not None:
        lines.append(
            f"error on unlearnings left out: {of.error:.2f} in refusal rate; from each concept's "
            f"own mean: {of.error_without:.2f}"
        )
    return [*lines, "calibration of the projection difference and of the log-odds: unknown"]


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    return "undefined" if value is None else f"{value:+.2f} ({low:+.2f} to {high:+.2f})"
