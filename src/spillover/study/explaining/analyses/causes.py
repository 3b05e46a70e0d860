"""Causal checks with the first token as readout: patching by layer and site, shared components.

The readout is the log-odds that an answer begins as a refusal does; no judge and no generation.
"""

import numpy as np
import torch
from torch import Tensor

from spillover.analysis.activation_patching import (
    PatchedReadouts,
    PatchingCurve,
    as_long_as,
    patched_readouts,
    patching_curve,
)
from spillover.analysis.concept_vectors import concept_directions
from spillover.analysis.last_token_runs import (
    CachedPrompts,
    cache_prompts,
    edited_logprobs,
    last_token_logprobs,
    last_token_states,
)
from spillover.analysis.refusal_readout import refusal_log_odds, refusal_tokens
from spillover.analysis.shared_components import (
    COMPONENTS,
    ComponentEffects,
    EditedReadouts,
    SharedComponent,
    ablating_edits,
    component_effects,
    restoring_edits,
    shared_component,
)
from spillover.data.refusals import BY_CONCEPT, GENERAL
from spillover.models.chat import ChatTokens
from spillover.models.hooks import Site
from spillover.models.loading import LoadedModel
from spillover.report.explanations import Exhibit
from spillover.seeding import derive_seed, numpy_generator
from spillover.study.explaining.analyses.case import Case, Drawn, Findings
from spillover.study.explaining.analyses.component_claims import component_claim
from spillover.study.explaining.analyses.concepts import concept_states, made_and_held_out
from spillover.study.explaining.models import Role
from spillover.study.explaining.reading_store import Taken

SITES: tuple[Site, ...] = ("resid_post", "attn_out", "mlp_out")
_PATCHED_A_CONCEPT = 3
_N_PATCH_CONTROLS = 9
_N_CONTROLS = 19
_DONORS: dict[Role, Role] = {"aligned": "base", "tuned": "aligned"}


def _tokens(case: Case) -> tuple[int, ...]:
    return refusal_tokens(
        case.trio.chat, [*GENERAL, *(text for texts in BY_CONCEPT.values() for text in texts)]
    )


def _held_out(case: Case, concept: str) -> list[ChatTokens]:
    return case.prompts[concept][1::2]


def _patch_prompts(case: Case) -> list[ChatTokens]:
    """A few held-out prompts of every concept."""
    return [
        row
        for concept in case.data.prompts
        for row in _held_out(case, concept)[:_PATCHED_A_CONCEPT]
    ]


def _cached(case: Case, loaded: LoadedModel, rows: list[ChatTokens]) -> CachedPrompts:
    return cache_prompts(
        loaded.model, rows, pad_id=loaded.pad_id, batch_size=2 * case.settings.batch_size
    )


def read_last_tokens(case: Case, loaded: LoadedModel, _role: Role) -> Taken:
    """Last-token activations and readouts, on the prompts of patching and on held-out ones."""
    model, architecture = loaded.model, loaded.architecture
    layers = case.some_layers(architecture.n_layers, n=10)
    tokens = _tokens(case)
    patched = _cached(case, loaded, _patch_prompts(case))
    states = last_token_states(model, architecture, patched, sites=SITES, layers=layers)
    tensors: dict[str, Tensor] = {f"patch.{site}": of for site, of in states.items()}
    readout = refusal_log_odds(last_token_logprobs(model, architecture, patched), tokens)
    tensors["patch.readout"] = torch.from_numpy(readout)
    for concept in case.prompts:
        own = _cached(case, loaded, _held_out(case, concept))
        found = last_token_states(model, architecture, own, sites=["resid_post"], layers=layers)
        tensors[f"{concept}.states"] = found["resid_post"]
        readout = refusal_log_odds(last_token_logprobs(model, architecture, own), tokens)
        tensors[f"{concept}.readout"] = torch.from_numpy(readout)
    return Taken(tensors, {"layers": list(layers), "tokens": list(tokens)})


def read_patched(case: Case, loaded: LoadedModel, role: Role) -> Taken:
    """Readouts with the activations of the model before: base in aligned, aligned in tuned."""
    own, donor = (case.reading("last_tokens", r) for r in (role, _DONORS[role]))
    generator = torch.Generator().manual_seed(derive_seed(case.settings.seed, "patching", role))
    found = patched_readouts(
        loaded.model,
        loaded.architecture,
        _cached(case, loaded, _patch_prompts(case)),
        own={site: own.tensors[f"patch.{site}"] for site in SITES},
        donor={site: donor.tensors[f"patch.{site}"] for site in SITES},
        donor_readout=donor.tensors["patch.readout"].numpy(),
        receiver_readout=own.tensors["patch.readout"].numpy(),
        layers=own.notes["layers"],
        tokens=own.notes["tokens"],
        generator=generator,
        n_controls=_N_PATCH_CONTROLS,
    )
    names = ("donor", "receiver", "patched", "control")
    tensors = {name: torch.from_numpy(getattr(found, name)) for name in names}
    return Taken(tensors, {"layers": list(found.layers), "sites": list(found.sites)})


def conclude_patching(case: Case) -> Findings:
    """Which layer and site carries the difference from base to aligned, and on to tuned?"""
    curves: list[PatchingCurve] = []
    for receiver, donor in _DONORS.items():
        if donor not in case.roles:
            continue
        taken = case.reading("patched", receiver)
        arrays = {name: values.numpy() for name, values in taken.tensors.items()}
        readouts = PatchedReadouts(
            sites=tuple(taken.notes["sites"]), layers=tuple(taken.notes["layers"]), **arrays
        )
        rng = numpy_generator(case.settings.seed, "patching", receiver)
        curves.append(patching_curve(readouts, donor=donor, receiver=receiver, rng=rng))
    return Findings(
        drawn=tuple(Drawn(_patch_exhibit(curve), curve.plot) for curve in curves),
        frames=tuple(curve.to_frame() for curve in curves),
        notes=(_readout_note(case),),
    )


def _patch_exhibit(curve: PatchingCurve) -> Exhibit:
    return Exhibit(
        name=f"patching-{curve.donor}-to-{curve.receiver}",
        title=f"{curve.donor} patched into {curve.receiver}",
        shows=f"how the log-odds of beginning a refusal change when the last prompt token of "
        f"{curve.receiver} gets the activations of {curve.donor} at one layer and site, on "
        f"{curve.n_prompts} prompts; dotted, the whole difference of the two models; grey, "
        f"{curve.n_controls} random vectors of the same length at each place.",
        shows_not="where a behaviour was learnt: only the last token is patched, and a late "
        "residual stream holds whatever earlier layers wrote.",
    )


def _readout_note(case: Case) -> str:
    tokens = case.trio.chat.tokenizer.convert_ids_to_tokens(list(_tokens(case)))
    means = []
    for role in case.roles:
        found = case.reading("last_tokens", role).tensors
        harmful = torch.cat([found[f"{c}.readout"] for c in case.data.prompts]).mean()
        benign = found["benign.readout"].mean()
        means.append(f"{role} {float(harmful):.2f} harmful, {float(benign):.2f} benign")
    return (
        f"Readout: log-odds that the first token is one of {', '.join(map(repr, tokens))}. "
        f"Means in nats: {'; '.join(means)}."
    )


def read_restored(case: Case, loaded: LoadedModel, _role: Role) -> Taken:
    """Readouts of tuned on every other concept, with components given back or taken out."""
    aligned, tuned = (case.reading("last_tokens", role) for role in ("aligned", "tuned"))
    layers, tokens = tuned.notes["layers"], tuned.notes["tokens"]
    generator = torch.Generator().manual_seed(derive_seed(case.settings.seed, "restored"))
    tensors = {}
    for concept in _others(case):
        cached = _cached(case, loaded, _held_out(case, concept))
        for place, layer in enumerate(layers):
            states = tuned.tensors[f"{concept}.states"][place]
            target = aligned.tensors[f"{concept}.states"][place]
            units = _component(case, concept, layer).units
            edits = [restoring_edits(states, target, unit) for unit in units.values()]
            shared = edits[list(units).index("shared")]
            edits += [target - states, ablating_edits(states, units["shared"])]
            drawn = as_long_as(shared, n=_N_CONTROLS, generator=generator)
            logprobs = edited_logprobs(
                loaded.model,
                loaded.architecture,
                cached,
                torch.cat([torch.stack(edits), drawn]),
                site="resid_post",
                layer=layer,
            )
            values = np.stack([refusal_log_odds(row, tokens) for row in logprobs])
            tensors[f"{concept}.{layer}"] = torch.from_numpy(values)
    return Taken(tensors, {"layers": layers})


def read_ablated(case: Case, loaded: LoadedModel, _role: Role) -> Taken:
    """Readouts of aligned on every other concept, with the shared component taken out."""
    own = case.reading("last_tokens", "aligned")
    tensors = {}
    for concept in _others(case):
        cached = _cached(case, loaded, _held_out(case, concept))
        for place, layer in enumerate(own.notes["layers"]):
            states = own.tensors[f"{concept}.states"][place]
            edits = ablating_edits(states, _component(case, concept, layer).units["shared"])
            logprobs = edited_logprobs(
                loaded.model,
                loaded.architecture,
                cached,
                edits[None],
                site="resid_post",
                layer=layer,
            )
            values = refusal_log_odds(logprobs[0], own.notes["tokens"])
            tensors[f"{concept}.{layer}"] = torch.from_numpy(values)
    return Taken(tensors)


def _others(case: Case) -> list[str]:
    return [concept for concept in case.data.prompts if concept != case.settings.target]


def _component(case: Case, concept: str, layer: int) -> SharedComponent:
    """Split the vectors of the target and another concept, made from the other half of prompts."""
    states, neutral, layers = concept_states(case)
    place = layers.index(layer)
    names = (str(case.settings.target), concept)
    made = {name: made_and_held_out(states[name])[0][place : place + 1] for name in names}
    benign = made_and_held_out(neutral)[0][place : place + 1]
    found = concept_directions(made, method="mean_difference", neutral=benign).unit[:, 0]
    return shared_component(found[0], found[1])


def conclude_shared_components(case: Case) -> Findings:
    """Does giving back what two concepts share take erosion away?"""
    readouts = [
        _edited(case, concept, layer)
        for concept in _others(case)
        for layer in case.reading("restored", "tuned").notes["layers"]
    ]
    rng = numpy_generator(case.settings.seed, "components")
    rows = [row for of in readouts for row in component_effects(of, rng=rng)]
    effects = ComponentEffects(level=0.95, rows=tuple(rows))
    target = case.settings.target
    claim = component_claim(readouts, last_layer=_last_layer(case), rng=rng)
    return Findings(
        claims=() if claim is None else (claim,),
        drawn=(
            Drawn(
                Exhibit(
                    name="shared-components",
                    title=f"Erosion given back, component by component; target {target}",
                    shows="how many nats of erosion of the refusal log-odds go away on each "
                    "concept when the tuned model's last prompt token gets back what the aligned "
                    f"model has along a direction: shared with {target}, one concept's alone, or "
                    "all; dotted, the whole erosion; grey, random changes as long as the shared "
                    "one.",
                    shows_not="what tokens before the last carry, nor that training without the "
                    "shared component would erode less.",
                ),
                effects.plot,
            ),
        ),
        frames=(effects.to_frame(),),
        notes=(_readout_note(case),),
    )


def _last_layer(case: Case) -> int:
    return int(concept_states(case)[2][-1])


def _edited(case: Case, concept: str, layer: int) -> EditedReadouts:
    aligned, tuned = (
        case.reading("last_tokens", role).tensors[f"{concept}.readout"].numpy()
        for role in ("aligned", "tuned")
    )
    values = case.reading("restored", "tuned").tensors[f"{concept}.{layer}"].numpy()
    ablated = case.reading("ablated", "aligned").tensors[f"{concept}.{layer}"].numpy()
    left = {name: aligned - values[i] for i, name in enumerate(COMPONENTS)}
    left["ablated"] = ablated - values[COMPONENTS.index("ablated")]
    return EditedReadouts(
        target_concept=str(case.settings.target),
        concept=concept,
        layer=layer,
        cosine=_component(case, concept, layer).cosine,
        aligned=aligned,
        tuned=tuned,
        edited=left,
        control=aligned - values[len(COMPONENTS) :],
    )
