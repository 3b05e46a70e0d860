"""`spillover dynamics`: organism, phases, resistance and rebound."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from spillover.cli.app import app, quiet_libraries, resumable, say
from spillover.cli.directions import user_values
from spillover.errors import InputError

dynamics_app = typer.Typer(
    help="When a change is learnt along training, and what pulls back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(dynamics_app, name="dynamics")

_Model = Annotated[str, typer.Argument(help="embedded, a hub id, a folder, a GGUF file.")]
_Out = Annotated[Path, typer.Option(help="Folder for everything.")]
_Dtype = Annotated[str, typer.Option()]
_Device = Annotated[str, typer.Option()]
_Batch = Annotated[int, typer.Option(help="Examples in a forward pass.")]
_PerStep = Annotated[int, typer.Option(help="Examples of one optimizer step.")]
_Rank = Annotated[int, typer.Option(help="Of every adapter that is trained.")]
_Seeds = Annotated[str, typer.Option(help="Numbers with commas between.")]


@dynamics_app.command()
def organism(
    model: _Model,
    data: Annotated[Path, typer.Option(help="JSONL of prompt and response to train on.")],
    out: _Out,
    adapter: Annotated[
        str, typer.Option(help="A published organism's, such as one_slow_adapter; or full.")
    ] = "one_slow_adapter",
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 200,
    every: Annotated[int, typer.Option(help="Steps between dense checkpoints.")] = 5,
    per_step: _PerStep = 8,
    learning_rate: Annotated[float, typer.Option()] = 1e-4,
    dtype: _Dtype = "bfloat16",
    device: _Device = "auto",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Fine-tune on responses and keep what is trained every few steps, in OUT/dense."""
    from spillover.study.dynamics.organisms import train_densely

    with resumable(), user_values():
        quiet_libraries()
        dense = train_densely(
            model,
            data,
            out,
            load_options={"dtype": dtype, "device": device},
            adapter=None if adapter == "full" else adapter,
            steps=steps,
            every=every,
            examples_per_step=per_step,
            learning_rate=learning_rate,
            seed=seed,
        )
    say(f"checkpoints: {dense.resolve()}")


@dynamics_app.command()
def phases(
    checkpoints: Annotated[
        Path, typer.Argument(help="Folder of dense checkpoints, or of checkpoint-N folders.")
    ],
    out: _Out,
    metrics: Annotated[
        Path | None, typer.Option(help="metrics.jsonl of the training, for gradient norms.")
    ] = None,
    behaviour: Annotated[
        Path | None, typer.Option(help="JSONL: step, item, value; perhaps name and scale.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Measure aligned against misaligned answers on this model.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="JSONL of answer pairs; else the bundled ones.")
    ] = None,
    scales: Annotated[str, typer.Option(help="Of what was trained, with commas.")] = "1,5,10",
    measure_every: Annotated[int, typer.Option(help="Measure every n-th checkpoint.")] = 1,
    ks: Annotated[str, typer.Option(help="For the local cosine, in checkpoints.")] = "5,10,15",
    min_distance: Annotated[float, typer.Option(help="Shorter ways have no cosine.")] = 0.0,
    skip: Annotated[
        int | None,
        typer.Option(help="Moves at the start without a change point; else the first 20 steps."),
    ] = None,
    dtype: _Dtype = "bfloat16",
    device: _Device = "auto",
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Find where training changes its direction (arXiv 2506.11613), each turn with its null."""
    at = tuple(_numbers(scales, "--scales"))
    places = tuple(int(k) for k in _numbers(ks, "--ks"))
    from spillover.study.dynamics.phases import Measuring, PhaseSettings, write_phases

    measuring = (
        None
        if model is None
        else Measuring(
            model=model,
            load_options={"dtype": dtype, "device": device},
            pairs=pairs,
            scales=at,
            every=measure_every,
        )
    )
    _write(
        write_phases,
        checkpoints,
        out,
        settings=PhaseSettings(ks=places, min_distance=min_distance, skip=skip, seed=seed),
        metrics=metrics,
        behaviours=behaviour,
        measuring=measuring,
    )


@dynamics_app.command()
def resistance(
    model: _Model,
    out: _Out,
    data: Annotated[
        Path | None, typer.Option(help="JSONL of prompt and response; else bundled refusals.")
    ] = None,
    seeds: _Seeds = "0,1,2",
    slices: Annotated[int, typer.Option(help="Of one run of fine-tuning.")] = 3,
    slice_steps: Annotated[int, typer.Option(help="Optimizer steps of a slice.")] = 20,
    steps: Annotated[int, typer.Option(help="Of forward and inverse trainings.")] = 20,
    prompts: Annotated[int, typer.Option(help="Held-out prompts that slices answer.")] = 64,
    max_new_tokens: Annotated[int, typer.Option()] = 32,
    per_step: _PerStep = 8,
    learning_rate: Annotated[float, typer.Option()] = 5e-4,
    rank: _Rank = 16,
    batch_size: _Batch = 16,
    dtype: _Dtype = "bfloat16",
    device: _Device = "auto",
) -> None:
    """Compare training on with training back, with equal budgets (arXiv 2406.06144)."""
    of = tuple(int(seed) for seed in _numbers(seeds, "--seeds"))
    from spillover.study.dynamics.resistance import ResistanceSettings, write_resistance
    from spillover.study.dynamics.retraining import FineTuning

    how = FineTuning(examples_per_step=per_step, learning_rate=learning_rate, rank=rank)
    settings = ResistanceSettings(
        seeds=of,
        slices=slices,
        slice_steps=slice_steps,
        steps=steps,
        n_prompts=prompts,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        how=how,
    )
    load_options = {"dtype": dtype, "device": device}
    _write(write_resistance, model, out, load_options=load_options, data=data, settings=settings)


@dynamics_app.command()
def rebound(
    model: _Model,
    out: _Out,
    data: Annotated[
        Path | None,
        typer.Option(help="JSONL of prompt, positive, negative; else refusals, own answers."),
    ] = None,
    seeds: _Seeds = "0,1,2",
    positive: Annotated[str, typer.Option(help="Numbers of positive examples.")] = "64,256",
    negative: Annotated[int, typer.Option(help="Negative examples.")] = 256,
    every: Annotated[int, typer.Option(help="Steps between measurements.")] = 4,
    held_out: Annotated[int, typer.Option(help="Prompts to measure on.")] = 48,
    threshold: Annotated[float, typer.Option(help="KL to the base, nats a token.")] = 0.01,
    pretraining_tokens: Annotated[
        float | None, typer.Option(help="Size of the pre-training data, for theorem 4.2.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option()] = 24,
    per_step: _PerStep = 8,
    learning_rate: Annotated[float, typer.Option()] = 5e-4,
    rank: _Rank = 16,
    batch_size: _Batch = 16,
    dtype: _Dtype = "bfloat16",
    device: _Device = "auto",
) -> None:
    """Train on positive, then on negative examples; measure the way back (arXiv 2406.06144)."""
    of = tuple(int(seed) for seed in _numbers(seeds, "--seeds"))
    numbers = tuple(int(n) for n in _numbers(positive, "--positive"))
    from spillover.study.dynamics.rebound import write_rebound
    from spillover.study.dynamics.rebound_measures import ReboundSettings
    from spillover.study.dynamics.retraining import FineTuning

    how = FineTuning(examples_per_step=per_step, learning_rate=learning_rate, rank=rank)
    settings = ReboundSettings(
        seeds=of,
        n_positive=numbers,
        n_negative=negative,
        every=every,
        n_held_out=held_out,
        threshold=threshold,
        pretraining_tokens=pretraining_tokens,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        how=how,
    )
    load_options = {"dtype": dtype, "device": device}
    _write(write_rebound, model, out, load_options=load_options, data=data, settings=settings)


def _write(write: Callable[..., Path], *arguments: object, **options: object) -> None:
    """Make a page, with a user's mistakes said in words, and say where it is."""
    with resumable(), user_values():
        quiet_libraries()
        page = write(*arguments, **options)
    say(f"page: {page.resolve()}")


def _numbers(text: str, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"{option} {text!r}: write numbers with commas between, such as 0,1,2"
        ) from error
