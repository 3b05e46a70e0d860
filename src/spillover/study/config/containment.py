"""The section of a study file on containment: how to contain, and with what budget.

`METHODS` names what `method` may be and what each takes; what they do is `containment.methods`'.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from spillover.study.config.section import Section
from spillover.study.config.sections import UnlearnSection

FocusPart = Literal["shares", "layers", "examples"]


class ContainmentOptions(Section):
    """What a method takes; null is the method's own default."""

    later: ClassVar[frozenset[str]] = frozenset({"target_at_most", "recall", "of"})

    weight: float | None = Field(default=None, ge=0)
    "Of a penalty or of the safety gradient, against the forget loss."
    with_retain_loss: bool | None = None
    "Also keep the objective's retain loss; default false."
    layer: int | None = None
    "From 0, negative from the end; default: the middle of the adapted layers."
    layers: tuple[int, ...] | None = Field(default=None, min_length=1)
    "From 0; default: the adapted ones, or every fifth for `ldifs`."
    n_layers: int | None = Field(default=None, ge=1)
    "Layers that are frozen; default: a third of the adapted ones."
    rank: int | None = Field(default=None, ge=1)
    "Of each module's subspace; default: all that it has, or 4 for `subspace_lock`."
    subspace: Literal["refusal", "alignment"] | None = None
    """Default `refusal`: mean states of the other concepts' prompts less those of benign ones.
    `alignment`: what safety training wrote."""
    strength: float | None = None
    "In multiples of the steering vector, or of the change that is subtracted; default 1."
    share: float | None = Field(default=None, gt=0, le=1)
    "Of benign examples among the wanted ones, default 0.05; or of the aligned weights, 0.5."
    uniform: float | None = Field(default=None, ge=0, le=1)
    "Part of the retain set that is shared equally; default 0.25."
    threshold: float | None = Field(default=None, ge=-1, le=1)
    "Safe LoRA's tau, default 0.35."
    n_examples: int | None = Field(default=None, ge=1)
    """Different examples: ranked benign ones (default: half of them), for re-alignment (120), of
    the retain set (48), or of each set that a gate learns to keep out (all)."""
    n_steps: int | None = Field(default=None, ge=1)
    "Of the second round; default: a quarter of `steps`."
    target_at_most: float | None = Field(default=None, ge=0, lt=1)
    """Share of the target's training prompts still refused up to which there is no second round;
    default 0.3, as `select.target_at_most` has it."""
    recall: float | None = Field(default=None, gt=0, lt=1)
    "Share of the target's prompts that a gate is to let through; default 0.9."
    of: str | None = None
    """The containment whose model is behind a gate: `contain`, or one of `containments`; null for
    the model that was unlearned without one."""
    parts: tuple[FocusPart, ...] | None = Field(default=None, min_length=1)
    "Of `focused_retain`, for ablations; default: all three."


When = Literal["training", "after"]


@dataclass(frozen=True)
class MethodRule:
    """What the section of one method may say, and what the study has to have for it."""

    options: tuple[str, ...] = ()
    retain: Literal["loss", "penalty", "none"] = "none"
    """Where retain examples go: into the objective's retain loss, into a penalty of the same batch
    size, or nowhere."""
    after: bool = False
    "Works on the unlearned model, which then is no training of its own or a further one."
    looks_at_unlearned: bool = False
    needs_lora: bool = False
    needs_base: bool = False
    "Looks at the model before safety training."
    learns: bool = False
    "For objectives that learn wanted responses."
    has_second_round: bool = False
    "Trains once more, on from its own first result."
    is_routed: bool = False
    "Two models that answer different prompts: only prompts and questions can be asked of it."


METHODS: dict[str, MethodRule] = {
    # The objective's own: ANPO and its kin, with exact ratios (2511.14017, B.2.1).
    "retain_loss": MethodRule(retain="loss"),
    "shares_by_erosion": MethodRule(("uniform", "layer"), retain="loss"),
    "focused_retain": MethodRule(
        ("uniform", "layer", "n_layers", "n_examples", "parts"), retain="loss", needs_lora=True
    ),
    "second_round": MethodRule(("n_steps", "target_at_most"), retain="loss", has_second_round=True),
    "retain_ce": MethodRule(("weight",), retain="penalty"),
    "retain_kl": MethodRule(("weight",), retain="penalty", needs_lora=True),
    "ldifs": MethodRule(("weight", "layers"), retain="penalty", needs_lora=True),
    "safe_grad": MethodRule(("weight",), retain="penalty", needs_lora=True),
    "asft": MethodRule(("weight", "rank", "with_retain_loss"), needs_lora=True, needs_base=True),
    "preventative_steering": MethodRule(("layer", "strength", "with_retain_loss")),
    "concept_ablation": MethodRule(("layers", "with_retain_loss")),
    "concept_gradient": MethodRule(("layers", "rank", "with_retain_loss")),
    "subspace_lock": MethodRule(("layers", "rank", "subspace", "with_retain_loss")),
    "frozen_layers": MethodRule(("n_layers", "with_retain_loss"), needs_lora=True),
    "interleaved": MethodRule(("share",), learns=True),
    "interleaved_ranked": MethodRule(("share", "n_examples"), looks_at_unlearned=True, learns=True),
    "safe_lora": MethodRule(("threshold",), after=True, needs_lora=True, needs_base=True),
    "interpolation": MethodRule(("share", "layers"), after=True, needs_lora=True),
    "subtraction": MethodRule(("strength",), after=True, needs_lora=True),
    "realignment": MethodRule(("n_examples",), after=True),
    # At use: a classifier hands prompts of the target to the unlearned model, the rest to aligned.
    "concept_adapters": MethodRule(after=True, is_routed=True),
    "state_gate": MethodRule(("n_examples", "recall", "of"), after=True, is_routed=True),
}
"""Name -> rule. In the order of when they act: on data, loss, activations, gradients, weights, and
after training."""

FORGET_ONLY = {
    "anpo": "npo",
    "npo_kl": "npo",
    "grad_diff": "gradient_ascent",
    "gradient_ascent_kl": "gradient_ascent",
    "simnpo_retain": "simnpo",
    "augmented_finetune": "finetune",
    "finetune_kl": "finetune",
    "idk_retain": "idk",
    "dpo_retain": "dpo",
}
"Objective with a retain loss -> the same without, for methods that keep in another way."

_SECOND_SHARE = 4
"The second round has so many times fewer steps than the first one, if nothing else is said."

_ALSO_UNLEARNS = {
    "subtraction": "the other refusals",
    "second_round": "the refusals that the first round leaves",
}
"Method -> what it unlearns besides the collected refusals of the target."

LEARNING = ("augmented_finetune", "finetune_kl", "idk_retain")
"Objectives whose forget examples carry responses to learn."


class ContainSection(UnlearnSection):
    """Unlearning that spares the other concepts, from the aligned model."""

    objectives: ClassVar[tuple[str, ...]] = (
        "anpo",
        "grad_diff",
        "gradient_ascent_kl",
        "npo_kl",
        "simnpo_retain",
        "augmented_finetune",
        "finetune_kl",
        "idk_retain",
        "dpo_retain",
        "rmu",
    )
    "What `objective` may be: those with a forget and a retain set."
    later: ClassVar[frozenset[str]] = UnlearnSection.later | {"method", "options"}

    objective: str = "anpo"
    forget_weight: float = Field(default=1.0, ge=0)
    "w1; w3 where the forget examples carry wanted answers."
    retain_weight: float = Field(default=1.0, ge=0)
    "w2"
    retain_per_forget: int = Field(default=2, ge=1)
    "Retain examples for each forget example, also where a penalty sees them."
    benign_share: float = Field(default=0.25, ge=0, le=1)
    "Share of benign examples in the retain set; the rest is equal over the other concepts."
    lookalike_share: float = Field(default=0.5, ge=0, le=1)
    method: str = "retain_loss"
    """How to contain; a key of `METHODS`. Methods with `after` start from the unlearned model, and
    only `realignment` and `subtraction` take steps of their own, `steps` of them."""
    options: ContainmentOptions | None = None

    @field_validator("method")
    @classmethod
    def _check_method(cls, name: str) -> str:
        if name not in METHODS:
            raise ValueError(f"{name!r} is no containment; choose one of {', '.join(METHODS)}")
        return name

    @model_validator(mode="after")
    def _check_options(self) -> "ContainSection":
        given = {} if self.options is None else self.options.model_dump(exclude_none=True)
        strange = [name for name in given if name not in self.rule.options]
        if strange:
            takes = ", ".join(self.rule.options) or "no options"
            raise ValueError(f"method {self.method} takes {takes}; leave out {', '.join(strange)}")
        return self

    @model_validator(mode="after")
    def _check_fit(self) -> "ContainSection":
        rule = self.rule
        if rule.needs_lora and (self.adapter is None or self.adapter.kind == "steering_vector"):
            raise ValueError(
                f"method {self.method} works on a LoRA, which can be switched off and cut; give "
                "an `adapter`"
            )
        if rule.learns and self.objective not in LEARNING:
            raise ValueError(
                f"method {self.method} puts benign answers among wanted ones, and objective "
                f"{self.objective} would unlearn them; choose {' or '.join(LEARNING)}"
            )
        if rule.retain != "loss" and self.objective not in FORGET_ONLY:
            raise ValueError(
                f"method {self.method} keeps without a retain loss, and objective "
                f"{self.objective} has no form without one; choose {' or '.join(FORGET_ONLY)}"
            )
        if self.method in _ALSO_UNLEARNS and self.objective in (*LEARNING, "dpo_retain"):
            raise ValueError(
                f"method {self.method} unlearns {_ALSO_UNLEARNS[self.method]}, which objective "
                f"{self.objective} would need wanted responses for; choose anpo, or another on "
                "own responses"
            )
        return self

    @property
    def rule(self) -> MethodRule:
        """What the method takes and needs."""
        return METHODS[self.method]

    @property
    def chosen(self) -> ContainmentOptions:
        """The options, all null where none were given."""
        return self.options or ContainmentOptions()

    @property
    def keeps_retain_loss(self) -> bool:
        """Whether retain examples are part of each unit of the schedule."""
        return self.rule.retain == "loss" or bool(self.chosen.with_retain_loss)

    @property
    def trains(self) -> bool:
        """Whether the method takes `steps` steps; the others only work on the unlearned model."""
        return not self.rule.after or self.method in ("realignment", "subtraction")

    def second_steps(self, first: int) -> int:
        """Return the steps of the second round after so many in the first; 0 without one."""
        if not self.rule.has_second_round:
            return 0
        return self.chosen.n_steps or max(1, first // _SECOND_SHARE)

    @property
    def trained_objective(self) -> str:
        """The objective that is minimised: without its retain loss where the method has another."""
        return self.objective if self.keeps_retain_loss else FORGET_ONLY[self.objective]

    def check_study(self, *, has_base: bool, has_lora: bool, asks_more: bool) -> None:
        """Check that a study has what the method needs.

        Args:
            has_base: Whether the model before safety training is there.
            has_lora: Whether the plain unlearning trains an adapter.
            asks_more: Whether models are asked more than prompts and questions.

        Raises:
            ValueError: If something is missing.
        """
        rule = self.rule
        if (rule.needs_base or self.chosen.subspace == "alignment") and not has_base:
            raise ValueError(
                f"method {self.method} looks at the model before safety training, and this study "
                "has no `align`; choose another"
            )
        if rule.after and rule.needs_lora and not has_lora:
            raise ValueError(
                f"method {self.method} edits what unlearning added; give `unlearn.adapter`"
            )
        if rule.is_routed and asks_more:
            raise ValueError(
                f"method {self.method} are two models, which only answer prompts and questions; "
                "leave out evaluate.suites and analyses"
            )
