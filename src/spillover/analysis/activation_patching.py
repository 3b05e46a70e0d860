"""Turns two models into how much of their difference in a readout each layer and site carries.

One model's activations at the last prompt token are put into the other, one layer and site at a
time, and the first token is read (2507.03662's open question; its code patches layers with the
loss as readout). What is found is sufficiency of a state for a readout at one token, not where a
behaviour was learnt: attention of later tokens to earlier ones is not patched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from spillover.analysis.estimate_columns import estimate_columns
from spillover.analysis.estimates import Estimate, bootstrap_estimate
from spillover.analysis.last_token_runs import CachedPrompts, edited_logprobs
from spillover.analysis.layer_plots import draw_band, new_panels
from spillover.analysis.nulls import permutation_p
from spillover.analysis.refusal_readout import refusal_log_odds
from spillover.analysis.resamples import example_counts, percentile_band
from spillover.models.architecture import Architecture
from spillover.models.hooks import Site
from spillover.records import Record

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchedReadouts:
    """Readouts of a receiver whose activations were replaced by a donor's, in nats."""

    sites: tuple[Site, ...]
    layers: tuple[int, ...]
    donor: Float[np.ndarray, " prompt"]
    receiver: Float[np.ndarray, " prompt"]
    patched: Float[np.ndarray, "site layer prompt"]
    control: Float[np.ndarray, "site layer draw prompt"]
    "The same with a random vector as long as the patch of each prompt."


@dataclass(frozen=True, kw_only=True)
class PatchEffect(Record):
    """What one layer and site carries."""

    site: Site
    layer: int
    change: Estimate
    "Mean readout patched less unpatched, in nats."
    share: Estimate | None
    "change / (donor - receiver): 1 where the patch makes the receiver read as the donor."
    control_low: float
    "Between control_low and control_high lie the mean changes of all random vectors."
    control_high: float
    p: float
    "Share of the random vectors of this length that move as far; each layer and site by itself."


@dataclass(frozen=True, kw_only=True)
class PatchingCurve(Record):
    """Patching one model's activations into another, layer by layer."""

    donor: str
    receiver: str
    n_prompts: int
    n_controls: int
    level: float
    gap: Estimate
    "Mean readout of the donor less that of the receiver, in nats."
    effects: tuple[PatchEffect, ...]

    def of(self, site: Site) -> list[PatchEffect]:
        """Return the effects of one site, by layer."""
        return [effect for effect in self.effects if effect.site == site]

    def to_frame(self) -> "pd.DataFrame":
        """Return one row for each site and layer."""
        import pandas as pd

        rows = []
        for effect in self.effects:
            head: dict[str, Any] = {"donor": self.donor, "receiver": self.receiver}
            head |= {"site": effect.site, "layer": effect.layer}
            numbers = estimate_columns("change", effect.change)
            numbers |= estimate_columns("share", effect.share)
            tail = {"control_low": effect.control_low, "control_high": effect.control_high}
            rows.append(head | numbers | tail | {"p": effect.p})
        return pd.DataFrame(rows)

    def plot(self) -> "Figure":
        """Draw the mean change by layer, one line a site, over the range of random vectors."""
        figure, (axes,) = new_panels(1, width=6.4, height=3.4)
        for site in dict.fromkeys(effect.site for effect in self.effects):
            rows = self.of(site)
            places = [row.layer for row in rows]
            draw_band(axes, places, [row.change for row in rows], label=site)
        layers = list(dict.fromkeys(effect.layer for effect in self.effects))
        at = [[e for e in self.effects if e.layer == layer] for layer in layers]
        axes.fill_between(
            layers,
            [min(effect.control_low for effect in rows) for rows in at],
            [max(effect.control_high for effect in rows) for rows in at],
            color="#767676",
            alpha=0.15,
            linewidth=0,
            label="random vectors",
        )
        axes.axhline(self.gap.value, color="#767676", linestyle=":", linewidth=1)
        axes.axhline(0, color="#767676", linewidth=0.8)
        axes.set_xlabel(f"layer of {self.receiver} patched with {self.donor}")
        axes.set_ylabel("change of the readout (nats)")
        axes.legend()
        return figure


def patched_readouts(
    model: Any,
    architecture: Architecture,
    prompts: CachedPrompts,
    *,
    own: dict[Site, Float[Tensor, "layer prompt d_model"]],
    donor: dict[Site, Float[Tensor, "layer prompt d_model"]],
    donor_readout: Float[np.ndarray, " prompt"],
    receiver_readout: Float[np.ndarray, " prompt"],
    layers: Sequence[int],
    tokens: Sequence[int],
    generator: torch.Generator,
    n_controls: int = 19,
) -> PatchedReadouts:
    """Patch a donor's last-token activations into a model and read the refusal log-odds.

    Args:
        model: The receiver, with whose weights `prompts` were computed.
        architecture: Its `Architecture`.
        prompts: From `cache_prompts`.
        own: The receiver's activations, from `last_token_states`.
        donor: The donor's, on the same prompts, sites and layers.
        donor_readout: Readout of the donor itself.
        receiver_readout: Readout of the receiver, unpatched.
        layers: The layers of `own` and `donor`.
        tokens: From `refusal_tokens`.
        generator: Draws the controls.
        n_controls: Random vectors a prompt, layer and site, each as long as the patch.
    """
    sites = tuple(own)
    patched = np.zeros((len(sites), len(layers), prompts.n))
    control = np.zeros((len(sites), len(layers), n_controls, prompts.n))
    for i, site in enumerate(sites):
        for j, layer in enumerate(layers):
            patch = donor[site][j] - own[site][j]
            drawn = as_long_as(patch, n=n_controls, generator=generator)
            edits = torch.cat([patch[None], drawn])
            logprobs = edited_logprobs(model, architecture, prompts, edits, site=site, layer=layer)
            values = np.stack([refusal_log_odds(row, tokens) for row in logprobs])
            patched[i, j], control[i, j] = values[0], values[1:]
    return PatchedReadouts(
        sites=sites,
        layers=tuple(layers),
        donor=donor_readout,
        receiver=receiver_readout,
        patched=patched,
        control=control,
    )


def as_long_as(
    vectors: Float[Tensor, "prompt d_model"], *, n: int, generator: torch.Generator
) -> Float[Tensor, "draw prompt d_model"]:
    """Return n random directions, each with the length that the vector of each prompt has.

    One direction serves all prompts of a draw, as one direction of a concept does.
    """
    drawn = torch.randn(n, 1, vectors.shape[1], generator=generator)
    unit = torch.nn.functional.normalize(drawn, dim=-1)
    scaled: Tensor = unit * vectors.norm(dim=-1, keepdim=True)[None]
    return scaled


def patching_curve(
    readouts: PatchedReadouts,
    *,
    donor: str,
    receiver: str,
    rng: np.random.Generator,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> PatchingCurve:
    """How far each patch moves the receiver towards the donor, with intervals over prompts.

    Args:
        readouts: From `patched_readouts`.
        donor: Name of the model that the activations are of.
        receiver: Name of the model that they were put into.
        rng: Source of the resamples of prompts.
        n_resamples: Number of bootstrap resamples.
        level: Confidence level in the open interval (0, 1).

    Raises:
        ValueError: If there are fewer than two prompts.
    """
    n = len(readouts.receiver)
    counts = example_counts(n, n_resamples=n_resamples, rng=rng) / n
    gaps = readouts.donor - readouts.receiver
    gap = bootstrap_estimate(gaps.mean(), counts @ gaps, level=level)
    controls = (readouts.control - readouts.receiver).mean(axis=-1)
    effects = []
    for i, site in enumerate(readouts.sites):
        for j, layer in enumerate(readouts.layers):
            changes = readouts.patched[i, j] - readouts.receiver
            drawn = np.abs(controls[i, j])
            p = permutation_p(abs(changes.mean()), drawn, alternative="greater")
            effects.append(
                PatchEffect(
                    site=site,
                    layer=layer,
                    change=bootstrap_estimate(changes.mean(), counts @ changes, level=level),
                    share=share_of_gap(changes, gaps, counts, level=level),
                    control_low=float(controls[i, j].min()),
                    control_high=float(controls[i, j].max()),
                    p=float(p),
                )
            )
    return PatchingCurve(
        donor=donor,
        receiver=receiver,
        n_prompts=n,
        n_controls=readouts.control.shape[2],
        level=level,
        gap=gap,
        effects=tuple(effects),
    )


def share_of_gap(
    changes: Float[np.ndarray, " prompt"],
    gaps: Float[np.ndarray, " prompt"],
    weights: Float[np.ndarray, "resample prompt"],
    *,
    level: float,
) -> Estimate | None:
    """Return mean change / mean gap with its interval; None where the gap's interval holds 0.

    Args:
        changes: Of each prompt.
        gaps: Of each prompt; what there was to change.
        weights: Of each prompt in each resample, summing to 1.
        level: Confidence level in the open interval (0, 1).
    """
    drawn = weights @ gaps
    low, high = percentile_band(drawn, level=level)
    if low <= 0 <= high:
        return None
    shares: NDArray[np.float64] = np.full(len(drawn), np.nan)
    np.divide(weights @ changes, drawn, out=shares, where=drawn != 0)
    return bootstrap_estimate(changes.mean() / gaps.mean(), shares, level=level)
