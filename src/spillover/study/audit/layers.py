"""What an audit reads inside its models, and what it concludes of it: where states moved.

States are taken at the last token of a prompt, where the answer starts; the benign prompts' first
token distributions too, for how far the model drifted where nothing was meant to change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spillover.errors import ModelError
from spillover.files import write_bytes
from spillover.records import Prompt
from spillover.report.audit_findings import LayerReading, SideEffect
from spillover.seeding import numpy_generator
from spillover.stats import mean_interval
from spillover.study.artifacts import RunFolder
from spillover.study.audit.models import Side
from spillover.study.progress import Reporter

if TYPE_CHECKING:
    from spillover.analysis.erosion import ErosionCurve
    from spillover.models.loading import LoadedModel


def states_file(folder: RunFolder, role: str) -> Path:
    """Where a side's states lie."""
    return folder.path / "tensors" / f"{role}.safetensors"


def read_states(
    side: Side,
    loaded: "LoadedModel",
    folder: RunFolder,
    *,
    harmful: Sequence[Prompt],
    benign: Sequence[Prompt],
    batch_size: int,
    reporter: Reporter,
) -> None:
    """Read states on both kinds of prompts and first-token distributions on the benign ones."""
    from safetensors.torch import save

    from spillover.analysis.states import collect_states, prompt_tokens
    from spillover.models.logprobs import next_token_logprobs

    tensors = {}
    with reporter.task(f"{side.role}: states", total=len(harmful) + len(benign)) as advance:
        for name, prompts in (("harmful", harmful), ("benign", benign)):
            tokens = prompt_tokens(loaded.chat, [prompt.prompt for prompt in prompts])
            tensors[name] = collect_states(
                loaded.model,
                loaded.architecture,
                tokens,
                pad_id=loaded.pad_id,
                batch_size=batch_size,
            )
            advance(len(prompts))
        ids = [loaded.chat.prompt_ids(prompt.prompt) for prompt in benign]
        tensors["first_token"] = next_token_logprobs(
            loaded.model, ids, pad_id=loaded.pad_id, batch_size=batch_size
        ).cpu()
    write_bytes(states_file(folder, side.role), save(tensors))


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What was found inside the models."""

    layers: tuple[LayerReading, ...]
    drift: SideEffect
    "KL(aligned || tuned) at the first token of answers to benign prompts."


def conclude_layers(folder: RunFolder, *, has_base: bool, seed: int) -> Inside:
    """Compare the states of the aligned and the tuned model, and of the base where it is there.

    Raises:
        ModelError: If the models differ in layers, width or vocabulary.
    """
    from safetensors.torch import load_file

    from spillover.analysis.state_changes import state_changes

    roles = ("base", "aligned", "tuned") if has_base else ("aligned", "tuned")
    states = {role: load_file(states_file(folder, role)) for role in roles}
    _require_same_shapes(states)
    aligned, tuned = states["aligned"], states["tuned"]
    changes = state_changes(
        aligned["harmful"],
        tuned["harmful"],
        aligned["benign"],
        tuned["benign"],
        rng=numpy_generator(seed, "audit", "states"),
    )
    curve = _erosion(states, seed=seed) if has_base else None
    readings = []
    for place, row in enumerate(changes):
        fraction = None if curve is None else curve.layers[place].fraction
        readings.append(
            LayerReading(
                layer=row.layer,
                harmful=row.change.value,
                harmful_low=row.change.ci_low,
                harmful_high=row.change.ci_high,
                benign=row.control.value,
                benign_low=row.control.ci_low,
                benign_high=row.control.ci_high,
                null=row.null,
                contrast_low=row.contrast.ci_low,
                contrast_high=row.contrast.ci_high,
                erosion=None if fraction is None else fraction.value,
                erosion_low=None if fraction is None else fraction.ci_low,
                erosion_high=None if fraction is None else fraction.ci_high,
            )
        )
    return Inside(layers=tuple(readings), drift=_drift(aligned, tuned))


def _require_same_shapes(states: Mapping[str, Mapping[str, Any]]) -> None:
    shapes = {r: {k: tuple(v.shape) for k, v in own.items()} for r, own in states.items()}
    if len({str(shape) for shape in shapes.values()}) > 1:
        raise ModelError(
            f"the models differ in layers, width or vocabulary ({shapes}); give the model that was "
            "tuned and what became of it"
        )


def _erosion(states: Mapping[str, Mapping[str, Any]], *, seed: int) -> "ErosionCurve":
    """Erosion along aligned - base; half of the prompts make the direction, half are measured."""
    from spillover.analysis.erosion import SetProjections, erosion_by_layer
    from spillover.analysis.state_changes import prompt_projections

    harmful = {role: own["harmful"] for role, own in states.items()}
    direction = (harmful["aligned"][:, ::2] - harmful["base"][:, ::2]).mean(dim=1)
    projected = {r: prompt_projections(s[:, 1::2], direction) for r, s in harmful.items()}
    return erosion_by_layer(
        SetProjections(name="harmful prompts", **projected),
        rng=numpy_generator(seed, "audit", "erosion"),
    )


def _drift(aligned: Mapping[str, Any], tuned: Mapping[str, Any]) -> SideEffect:
    from spillover.analysis.divergences import kl_divergence

    found = kl_divergence(aligned["first_token"], tuned["first_token"]).tolist()
    interval = mean_interval(found)
    return SideEffect(
        metric="first_token_kl",
        concept="benign",
        delta=sum(found) / len(found),
        ci_low=max(0.0, interval.low),
        ci_high=interval.high,
        p=None,
        n=len(found),
        unit="nats",
    )
