"""Loss and gradient geometry of two sets under the aligned model (2507.03662, section 4.2)."""

from typing import Any

import numpy as np
import torch

from spillover.analysis.arm_geometry import ArmCosines
from spillover.analysis.gradient_factors import gradient_factors
from spillover.analysis.gradient_geometry import gradient_geometry
from spillover.analysis.gradient_grams import gradient_gram
from spillover.analysis.loss_geometry import TokenLosses, loss_geometry
from spillover.models.architecture import attention_output
from spillover.models.loading import LoadedModel
from spillover.report.explanations import Claim, Exhibit, Outcome, outcome_above
from spillover.seeding import numpy_generator
from spillover.study.explaining.analyses.case import Case, Drawn, Findings
from spillover.study.explaining.analyses.claims import estimated_claim
from spillover.study.explaining.analyses.token_readings import token_values
from spillover.study.explaining.models import Role
from spillover.study.explaining.reading_store import Taken

_SECTION = "2507.03662, 4.2"


def read_gradient_gram(case: Case, loaded: LoadedModel, _role: Role) -> Taken:
    """Inner products of all gradients: the first set's, the second's, the reference's."""
    names = [of.name for of in case.data.questioned[:2]] + [case.reference]
    rows = [row.first(case.settings.max_tokens) for name in names for row in case.tokens[name]]
    paths = case.settings.modules or (attention_output(loaded.model, loaded.architecture),)
    factors = gradient_factors(
        loaded.model,
        loaded.architecture,
        rows,
        pad_id=loaded.pad_id,
        modules=paths,
        batch_size=max(1, case.settings.batch_size // 2),
    )
    gram = np.sum([gradient_gram(found) for found in factors.values()], axis=0)
    return Taken({"gram": torch.from_numpy(gram)}, {"module": " + ".join(paths)})


def _names(case: Case) -> tuple[str, str]:
    first, second = case.data.questioned[:2]
    return first.name, second.name


def conclude_loss_geometry(case: Case) -> Findings:
    """Do the two sets' loss vectors cluster?"""
    length = min(64, case.settings.max_tokens)
    first, second = _names(case)
    parts = []
    for name in (first, second, case.reference):
        values, mask = token_values(case, name, length=length)
        parts.append(TokenLosses(values=values, mask=mask))
    found = loss_geometry(
        parts[0],
        parts[1],
        reference=parts[2],
        rng=numpy_generator(case.settings.seed, "loss_geometry"),
        is_matched=case.data.is_matched,
    )
    overlap = ", ".join(f"{value:.0f}" for value in found.mean_overlap)
    return Findings(
        claims=(_clusters(case, found.raw, "raw"), _clusters(case, found.centred, "centred")),
        drawn=(
            Drawn(
                Exhibit(
                    name="loss-geometry",
                    title=f"Cosines of token losses: {first} and {second}",
                    shows="how alike the losses of two responses are, token by token, under the "
                    f"aligned model; raw, and less the mean losses of {case.reference}. The title "
                    "has the contrast of within and between with its permutation p.",
                    shows_not="what training would do. Sets that differ in length or topic have a "
                    "contrast too; matched sets differ in their framing alone.",
                ),
                lambda: found.plot(names=(first, second)),
            ),
        ),
        frames=(found.to_frame(),),
        notes=(
            f"Tokens that two responses share on average: {overlap} (within {first}, within "
            f"{second}, between). {_matched(case)}",
        ),
    )


def _matched(case: Case) -> str:
    if case.data.is_matched:
        return "The two sets have the same answers, so labels are shuffled within pairs."
    return "The two sets have different answers, so that any difference between them counts."


def _clusters(case: Case, part: ArmCosines, kind: str) -> Claim:
    contrast = part.contrast.contrast
    first, second = _names(case)
    return Claim(
        source=_SECTION,
        claim=f"Loss vectors of {first} and {second} form two clusters ({kind} cosines)",
        measured="mean cosine within sets less between",
        value=contrast.value,
        ci_low=contrast.ci_low,
        ci_high=contrast.ci_high,
        p=part.contrast.p,
        null=f"shuffled labels: 95% within [{part.contrast.null_low:.3f}, "
        f"{part.contrast.null_high:.3f}]",
        outcome=outcome_above(contrast.ci_low, contrast.ci_high, p=part.contrast.p),
    )


def conclude_gradient_geometry(case: Case) -> Findings:
    """Are the two sets' gradients opposed?"""
    first, second = _names(case)
    taken = case.reading("gradient_gram", "aligned")
    found = gradient_geometry(
        taken.tensors["gram"].numpy(),
        n_first=len(case.tokens[first]),
        n_second=len(case.tokens[second]),
        rng=numpy_generator(case.settings.seed, "gradient_geometry"),
        is_matched=case.data.is_matched,
    )
    return Findings(
        claims=(_opposed(case, found.raw, "raw"), _opposed(case, found.centred, "centred")),
        drawn=(
            Drawn(
                Exhibit(
                    name="gradient-geometry",
                    title=f"Cosines of gradients: {first} and {second}",
                    shows=f"how alike two responses' gradients are at {taken.notes['module']} of "
                    f"the aligned model; raw, and less the mean gradient of {case.reference}.",
                    shows_not="gradients at other modules or after a first step. Centring by the "
                    "pooled mean, as published, would make any two sets opposed.",
                ),
                lambda: found.plot(names=(first, second)),
            ),
        ),
        frames=(found.to_frame(),),
        notes=(f"Loss over response tokens only. {_matched(case)}",),
    )


def _opposed(case: Case, part: ArmCosines, kind: str) -> Claim:
    first, second = _names(case)
    assert part.opposition is not None
    cosine = part.opposition.cosine
    outcome: Outcome = "undecided"
    if cosine is not None:
        outcome = outcome_above(-cosine.ci_high, -cosine.ci_low)
    limits: tuple[Any, Any] = (part.opposition.null_low, part.opposition.null_high)
    null = "0"
    if None not in limits:
        null = f"0; with shuffled labels 95% lie within [{limits[0]:.2f}, {limits[1]:.2f}]"
    return estimated_claim(
        cosine,
        source=_SECTION,
        claim=f"Mean gradients of {first} and {second} are opposed ({kind})",
        measured="cosine of the two mean gradients, cleared of sampling noise",
        null=null,
        outcome=outcome,
    )
