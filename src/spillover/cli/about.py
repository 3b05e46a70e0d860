"""`spillover list` and `spillover doctor`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from spillover.cli.app import app, quiet_libraries, say


@app.command("list")
def list_command() -> None:
    """List the bundled studies, concepts, judges and objectives."""
    from spillover.data.concepts import CONCEPTS
    from spillover.judges import JUDGES
    from spillover.study.config import bundled_studies, load_study
    from spillover.study.sections import ContainSection, UnlearnSection
    from spillover.study.tuning_sections import FinetuneSection

    for name in bundled_studies():
        first = load_study(name).description.strip().split("\n")[0]
        say(f"study      {name:32} {first}")
    for concept in CONCEPTS.values():
        say(f"concept    {concept.name:20} {concept.description}")
    for judge in JUDGES:
        say(f"judge      {judge}")
    for section in (UnlearnSection, ContainSection, FinetuneSection):
        for objective in section.objectives:
            where = section.__name__.removesuffix("Section").lower()
            say(f"objective  {objective:20} for `{where}`")


@app.command()
def doctor(
    study: Annotated[
        str | None, typer.Argument(help="A study whose memory and time to estimate.")
    ] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs to plan for [what is here].")] = None,
    gpu_memory: Annotated[float | None, typer.Option(help="GiB of each [the GPU's].")] = None,
    gpu: Annotated[str, typer.Option(help="Whose rates to plan with: H100, A100, ...")] = "H100",
    size: Annotated[
        str | None, typer.Option(help="7B, 32B or 70B in place of the study's model.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, such as unlearn.steps=40.")
    ] = None,
) -> None:
    """Show versions, device and optional parts; with a study, estimate its memory and time."""
    from spillover.study.doctor import diagnose

    if study is not None:
        _estimate(study, gpus, gpu_memory, gpu=gpu, size=size, overrides=override or ())
        return
    for what, value, remedy in diagnose():
        line = f"{what:16} {value}" + (f"  ->  {remedy}" if remedy else "")
        say(line)


def _estimate(
    study: str,
    gpus: int | None,
    gpu_memory: float | None,
    *,
    gpu: str,
    size: str | None,
    overrides: Sequence[str],
) -> None:
    from spillover.study.config import load_study
    from spillover.study.estimates import Placement, estimate_study
    from spillover.study.hardware import found_hardware, told_hardware
    from spillover.study.model_shapes import model_shape, sized_shape
    from spillover.study.scale_plans import training_choices

    quiet_libraries()
    config = load_study(study, overrides=overrides)
    shape = (
        model_shape(config.model.source, revision=config.model.revision)
        if size is None
        else sized_shape(size)
    )
    is_told = gpus is not None or gpu_memory is not None
    hardware = (
        told_hardware(n_gpus=gpus or 1, memory_gib=gpu_memory, gpu=gpu)
        if is_told
        else found_hardware()
    )
    say(
        f"{config.name}: {shape.n_parameters / 1e9:.3g} billion parameters on "
        f"{hardware.n_devices} x {hardware.name}, {hardware.memory_gib:.0f} GiB each"
    )
    say("estimates, to about a factor of two; on one device:")
    for row in estimate_study(config, shape, hardware, placement=Placement()):
        say(f"  {row.name:30} {row.gib:8.1f} GiB {_duration(row.seconds):>10}")
    say("ways to place the trainings:")
    for choice in training_choices(config, shape, hardware):
        fits = "" if choice.fits else "  does not fit"
        name = f"{choice.n_devices} x {choice.name}"
        say(f"  {name:45} {choice.gib:8.1f} GiB {_duration(choice.seconds):>10}{fits}")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
