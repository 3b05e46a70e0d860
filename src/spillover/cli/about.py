"""`spillover list` and `spillover doctor`."""

from typing import TYPE_CHECKING, Annotated

import typer

from spillover.cli.app import app, quiet_libraries, say

if TYPE_CHECKING:
    from spillover.study.config import StudyConfig


@app.command("list")
def list_command() -> None:
    """List the bundled studies, concepts, judges and objectives."""
    from spillover.data.concepts import CONCEPTS
    from spillover.judges import JUDGES
    from spillover.study.config import bundled_studies, load_study
    from spillover.study.config.containment import METHODS, ContainSection
    from spillover.study.config.sections import UnlearnSection
    from spillover.study.config.tuning import FinetuneSection

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
    for method in METHODS:
        say(f"method     {method:20} for `contain`")


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
    scale: Annotated[
        str | None, typer.Option(help="Another size of the study, such as embedded.")
    ] = None,
) -> None:
    """Show versions, device and optional parts; with a study, estimate its memory and time."""
    from spillover.study.config import load_study
    from spillover.study.scale.doctor import diagnose

    if study is not None:
        config = load_study(study, overrides=override or (), scale=scale)
        _estimate(config, gpus, gpu_memory, gpu=gpu, size=size)
        return
    for what, value, remedy in diagnose():
        line = f"{what:16} {value}" + (f"  ->  {remedy}" if remedy else "")
        say(line)


def _estimate(
    config: "StudyConfig", gpus: int | None, gpu_memory: float | None, *, gpu: str, size: str | None
) -> None:
    from spillover.study.scale.estimates import MEASURED, Placement, estimate_study
    from spillover.study.scale.hardware import found_hardware, told_hardware
    from spillover.study.scale.measuring_estimates import measuring_estimates
    from spillover.study.scale.model_shapes import model_shape, sized_shape
    from spillover.study.scale.plans import training_choices
    from spillover.study.scale.training_works import uncounted

    quiet_libraries()
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
    placement = Placement(dtype=config.model.dtype)
    say("estimates, no measurements, on one device:")
    rows = estimate_study(config, shape, hardware, placement=placement)
    for row in [*rows, *measuring_estimates(config, shape, hardware)]:
        say(f"  {row.name:30} {row.gib:8.1f} GiB {_duration(row.seconds):>10}")
    for what in uncounted(config):
        say(f"  not counted: {what}")
    choices = training_choices(config, shape, hardware)
    say("ways to place the trainings:" if choices else "there is no training to place")
    for choice in choices:
        fits = "" if choice.fits else "  does not fit"
        name = f"{choice.n_devices} x {choice.name}"
        say(f"  {name:45} {choice.gib:8.1f} GiB {_duration(choice.seconds):>10}{fits}")
    say(f"how far to trust these: {MEASURED}")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
