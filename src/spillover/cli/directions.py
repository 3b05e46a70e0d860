"""`spillover directions`: refusal, misalignment, persona, alignment and export."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from spillover.cli.app import app, console, quiet_libraries, resumable, say
from spillover.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spillover.models.directions import Direction

directions_app = typer.Typer(
    help="Find directions in a model's activations, and write them for other programs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(directions_app, name="directions")

_Model = Annotated[str, typer.Option(help="embedded, a hub id, a folder, a GGUF file.")]
_Out = Annotated[Path, typer.Option(help="The file of directions (safetensors).")]
_Adapter = Annotated[Path | None, typer.Option(help="PEFT adapter folder.")]
_Dtype = Annotated[str, typer.Option()]
_Device = Annotated[str, typer.Option()]
_Seed = Annotated[int, typer.Option(help="Of all draws.")]
_Batch = Annotated[int, typer.Option()]


@contextmanager
def user_values() -> Iterator[None]:
    """Tell the user of a value that a function refused, without a traceback."""
    try:
        yield
    except ValueError as error:
        raise InputError(str(error)) from error


def _load_options(adapter: Path | None, dtype: str, device: str) -> dict[str, Any]:
    return {"adapter": adapter, "dtype": dtype, "device": device}


@directions_app.command()
def refusal(
    model: _Model,
    out: _Out,
    harmful: Annotated[
        Path | None, typer.Option(help="JSONL with prompt; else bundled training prompts.")
    ] = None,
    harmless: Annotated[
        Path | None, typer.Option(help="JSONL with prompt; else bundled benign prompts.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Most prompts of each kind.")] = 160,
    validation: Annotated[int, typer.Option(help="Of these, for choosing a candidate.")] = 32,
    aim: Annotated[
        str, typer.Option(help="bypass or induce: what the direction is to do best.")
    ] = "bypass",
    max_kl: Annotated[float, typer.Option(help="Largest KL on harmless prompts, nats.")] = 0.1,
    min_induce: Annotated[float, typer.Option(help="Smallest induce score, nats.")] = 0.0,
    induce_strength: Annotated[
        float, typer.Option(help="What the vector is multiplied by when it is added.")
    ] = 1.0,
    spare_first_token: Annotated[
        bool,
        typer.Option(
            "--spare-first-token",
            help="Candidates without their part along the first token's long state.",
        ),
    ] = False,
    layers: Annotated[
        str | None, typer.Option(help="FIRST-LAST, such as 12-23; all below 80% depth if left out.")
    ] = None,
    adapter: _Adapter = None,
    dtype: _Dtype = "bfloat16",
    device: _Device = "auto",
    batch_size: _Batch = 32,
    seed: _Seed = 0,
) -> None:
    """Find the direction by which a model refuses (arXiv 2406.11717)."""
    if aim not in ("bypass", "induce"):
        raise InputError(f"--aim {aim!r} is not known; choose bypass or induce")
    from spillover.study.explaining.directions import write_refusal_direction

    with resumable(), user_values():
        quiet_libraries()
        found = write_refusal_direction(
            model,
            out,
            load_options=_load_options(adapter, dtype, device),
            harmful=harmful,
            harmless=harmless,
            limit=limit,
            seed=seed,
            n_validation=validation,
            aim=aim,
            max_kl=max_kl,
            min_induce=min_induce,
            induce_strength=induce_strength,
            spare_first_token=spare_first_token,
            layers=_layer_range(layers),
            batch_size=batch_size,
        )
    chosen, selection = found.selection.chosen, found.selection
    say(
        f"layer {chosen.layer}, token {chosen.position}: of {len(selection.scores)} candidates the "
        f"best; made from {found.n_harmful} refused and {found.n_harmless} answered prompts"
    )
    say(
        f"refusal log-odds, nats: harmful {selection.harmful_log_odds:.2f}, ablated "
        f"{chosen.bypass or 0:.2f}; harmless {selection.harmless_log_odds:.2f}, added "
        f"{chosen.induce or 0:.2f}; KL {chosen.kl or 0:.3f}"
    )
    say(f"direction: {out.resolve()}")


@directions_app.command()
def misalignment(
    model: _Model,
    out: _Out,
    data: Annotated[
        Path | None,
        typer.Option(
            help="JSONL: prompt, response and aligned (0 to 100); or prompt, aligned and "
            "misaligned texts. Else the bundled pairs, few and mild."
        ),
    ] = None,
    misaligned_below: Annotated[float, typer.Option(help="Of judged answers.")] = 30.0,
    aligned_above: Annotated[float, typer.Option(help="Of judged answers.")] = 70.0,
    adapter: _Adapter = None,
    dtype: _Dtype = "bfloat16",
    device: _Device = "auto",
    batch_size: _Batch = 16,
) -> None:
    """Find a misalignment direction at every layer (arXiv 2506.11618)."""
    from spillover.study.explaining.directions import write_misalignment_directions

    with resumable(), user_values():
        quiet_libraries()
        found = write_misalignment_directions(
            model,
            out,
            load_options=_load_options(adapter, dtype, device),
            data=data,
            misaligned_below=misaligned_below,
            aligned_above=aligned_above,
            batch_size=batch_size,
        )
    _print_directions(found, out)


@directions_app.command()
def persona(
    model: _Model,
    out: _Out,
    positive: Annotated[str, typer.Option(help="System prompt that asks for the trait.")],
    negative: Annotated[str, typer.Option(help="System prompt that asks for its opposite.")],
    name: Annotated[str, typer.Option(help="The trait.")] = "persona",
    prompts: Annotated[
        Path | None, typer.Option(help="JSONL with prompt; else bundled benign prompts.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Most prompts.")] = 64,
    max_new_tokens: Annotated[int, typer.Option()] = 48,
    adapter: _Adapter = None,
    dtype: _Dtype = "bfloat16",
    device: _Device = "auto",
    batch_size: _Batch = 16,
    seed: _Seed = 0,
) -> None:
    """Find a persona's direction at every layer from two system prompts (arXiv 2507.21509)."""
    from spillover.study.explaining.directions import write_persona_directions

    with resumable(), user_values():
        quiet_libraries()
        found = write_persona_directions(
            model,
            out,
            load_options=_load_options(adapter, dtype, device),
            positive_system=positive,
            negative_system=negative,
            prompts=prompts,
            name=name,
            limit=limit,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            seed=seed,
        )
    _print_directions(found, out)


@directions_app.command()
def alignment(
    base: Annotated[str, typer.Option(help="The model before alignment.")],
    model: Annotated[str, typer.Option(help="The model after it.")],
    out: _Out,
    prompts: Annotated[Path | None, typer.Option(help="JSONL with prompt; else bundled.")] = None,
    limit: Annotated[int, typer.Option(help="Most prompts.")] = 64,
    max_new_tokens: Annotated[int, typer.Option()] = 48,
    dtype: _Dtype = "bfloat16",
    device: _Device = "auto",
    batch_size: _Batch = 16,
    seed: _Seed = 0,
) -> None:
    """Find what alignment added at every layer (arXiv 2507.03662)."""
    from spillover.study.explaining.directions import write_alignment_directions

    with resumable(), user_values():
        quiet_libraries()
        found = write_alignment_directions(
            base,
            model,
            out,
            load_options={"dtype": dtype, "device": device},
            prompts=prompts,
            limit=limit,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            seed=seed,
        )
    _print_directions(found, out)


@directions_app.command()
def export(
    file: Annotated[Path, typer.Argument(help="A file of directions.")],
    gguf: Annotated[Path, typer.Option(help="The control vector for llama.cpp.")],
    model_hint: Annotated[str, typer.Option(help="The model's family, such as llama.")] = "llama",
    scale: Annotated[float, typer.Option(help="What the vectors are multiplied by.")] = 1.0,
) -> None:
    """Write directions as a control vector for llama.cpp; those after layer 0 have no place."""
    from spillover.models.control_vectors import export_control_vector
    from spillover.models.direction_files import load_directions

    found = load_directions(file)
    kept = [d for d in found if d.layer > (0 if d.site == "resid_post" else 1)]
    with user_values():
        export_control_vector(gguf, kept, model_hint=model_hint, scale=scale)
    say(f"control vector of {len(kept)} layers: {gguf.resolve()}")


def _print_directions(found: "Sequence[Direction]", out: Path) -> None:
    table = Table("layer", "site", "length", "in activation norms")
    for direction in found:
        relative = direction.relative_norm
        shown = "-" if relative is None else f"{relative:.3f}"
        table.add_row(str(direction.layer), direction.site, f"{direction.norm:.3g}", shown)
    console.print(table)
    say(f"directions: {out.resolve()}")


def _layer_range(text: str | None) -> range | None:
    if text is None:
        return None
    first, dash, last = text.partition("-")
    if not dash or not first.isdecimal() or not last.isdecimal():
        raise InputError(f"--layers {text!r}: write FIRST-LAST, counted from 0, such as 12-23")
    return range(int(first), int(last) + 1)
