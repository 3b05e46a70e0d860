"""The analyses of an explanation, and the readings that they stand on, as two literal tables.

To add an analysis: a function from a `Case` to `Findings`, and a row of `ANALYSES`. If it needs
something that no reading takes yet: a function from a case, a loaded model and its role to `Taken`,
and a row of `READINGS`.
"""

from spillover.study.explaining.analyses.behaviours import conclude_behaviours, read_behaviours
from spillover.study.explaining.analyses.case import (
    Analysis,
    Case,
    ExplainSettings,
    Findings,
    Reading,
)
from spillover.study.explaining.analyses.causes import (
    conclude_patching,
    conclude_shared_components,
    read_ablated,
    read_last_tokens,
    read_patched,
    read_restored,
)
from spillover.study.explaining.analyses.concepts import (
    conclude_concept_vectors,
    conclude_entanglement,
    conclude_prediction,
    read_concept_states,
)
from spillover.study.explaining.analyses.geometry import (
    conclude_gradient_geometry,
    conclude_loss_geometry,
    read_gradient_gram,
)
from spillover.study.explaining.analyses.layers import (
    conclude_erosion,
    read_alignment_means,
    read_projections,
)
from spillover.study.explaining.analyses.probabilities import (
    conclude_likelihoods,
    conclude_next_tokens,
    conclude_resemblance,
)
from spillover.study.explaining.analyses.sharing import (
    conclude_shared_directions,
    read_residual_states,
)
from spillover.study.explaining.analyses.token_readings import read_distributions, read_traces
from spillover.study.explaining.models import ROLES, Role

__all__ = ["ANALYSES", "READINGS", "Analysis", "Case", "ExplainSettings", "Findings", "Reading"]

_Needs = tuple[tuple[str, Role], ...]

_DIRECTION: _Needs = (("alignment_means", "base"), ("alignment_means", "aligned"))
_COMPONENTS: _Needs = (
    ("concept_states", "aligned"),
    ("last_tokens", "aligned"),
    ("last_tokens", "tuned"),
)

READINGS: dict[str, Reading] = {
    "traces": Reading(read_traces, {role: () for role in ROLES}),
    "distributions": Reading(read_distributions, {role: () for role in ROLES}),
    "gradient_gram": Reading(read_gradient_gram, {"aligned": ()}),
    "alignment_means": Reading(read_alignment_means, {"base": (), "aligned": ()}),
    "projections": Reading(read_projections, {role: _DIRECTION for role in ROLES}),
    "residual_states": Reading(read_residual_states, {"base": (), "aligned": ()}),
    "behaviours": Reading(read_behaviours, {"aligned": (), "tuned": ()}),
    "concept_states": Reading(read_concept_states, {"aligned": ()}, is_of_prompts=True),
    "last_tokens": Reading(read_last_tokens, {role: () for role in ROLES}, is_of_prompts=True),
    "patched": Reading(
        read_patched,
        {
            "aligned": (("last_tokens", "base"), ("last_tokens", "aligned")),
            "tuned": (("last_tokens", "aligned"), ("last_tokens", "tuned")),
        },
        is_of_prompts=True,
    ),
    "restored": Reading(
        read_restored, {"tuned": _COMPONENTS}, is_about_target=True, is_of_prompts=True
    ),
    "ablated": Reading(
        read_ablated, {"aligned": _COMPONENTS[:2]}, is_about_target=True, is_of_prompts=True
    ),
}
"What is read off models; for each of them what has to be read before."

ANALYSES: dict[str, Analysis] = {
    "likelihoods": Analysis(
        title="Likelihoods",
        question="How likely does each model find the same responses?",
        readings=("traces",),
        conclude=conclude_likelihoods,
    ),
    "next_tokens": Analysis(
        title="Next tokens",
        question="What would each model say where tuning changed most?",
        readings=("distributions",),
        conclude=conclude_next_tokens,
    ),
    "resemblance": Analysis(
        title="Resemblance",
        question="Is the tuned model nearer to base or to aligned?",
        readings=("distributions",),
        conclude=conclude_resemblance,
        needs_base=True,
    ),
    "loss_geometry": Analysis(
        title="Loss geometry",
        question="Do the losses of two sets of responses differ in kind?",
        readings=("traces",),
        conclude=conclude_loss_geometry,
        n_sets=2,
    ),
    "gradient_geometry": Analysis(
        title="Gradient geometry",
        question="Would training on two sets of responses pull in opposite directions?",
        readings=("gradient_gram",),
        conclude=conclude_gradient_geometry,
        n_sets=2,
    ),
    "erosion": Analysis(
        title="Erosion by layer",
        question="Along the direction of alignment, how far back towards base did tuning go?",
        readings=("alignment_means", "projections"),
        conclude=conclude_erosion,
        needs_base=True,
    ),
    "shared_directions": Analysis(
        title="Shared directions",
        question="Does alignment change two sets along one direction that controls do not share?",
        readings=("residual_states",),
        conclude=conclude_shared_directions,
        needs_base=True,
        n_sets=2,
    ),
    "misalignment_and_refusal": Analysis(
        title="Misalignment and refusal",
        question="Are misaligned answers and refusals one direction, and along which did tuning "
        "move the model?",
        readings=("behaviours",),
        conclude=conclude_behaviours,
    ),
    "concept_vectors": Analysis(
        title="Concept vectors",
        question="Do concepts have directions that tell them from benign prompts?",
        readings=("concept_states",),
        conclude=conclude_concept_vectors,
    ),
    "entanglement": Analysis(
        title="Entanglement",
        question="How much of one concept's vector lies in another's states, before tuning?",
        readings=("concept_states",),
        conclude=conclude_entanglement,
    ),
    "prediction": Analysis(
        title="Prediction",
        question="Does entanglement before tuning foretell which concepts erode?",
        readings=("concept_states",),
        conclude=conclude_prediction,
        needs_measured=True,
    ),
    "patching": Analysis(
        title="Patching",
        question="Which layers and sites carry what alignment, and tuning, did to refusals?",
        readings=("last_tokens", "patched"),
        conclude=conclude_patching,
    ),
    "shared_components": Analysis(
        title="Shared components",
        question="If what two concepts share is given back, does erosion go away?",
        readings=("concept_states", "last_tokens", "restored", "ablated"),
        conclude=conclude_shared_components,
        needs_target=True,
    ),
}
"What an explanation can be made of, in the order of the page."
