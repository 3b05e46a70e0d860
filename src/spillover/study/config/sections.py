"""The sections of a study file, each with its defaults and the rules that its values must keep."""

from math import ceil
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from spillover.data.concepts import BENIGN, CONCEPTS
from spillover.study.config.adapter import AdapterSection
from spillover.study.config.scale import SCALE_KEYS, Tracker, check_launch, check_quantised
from spillover.study.config.section import Section


class ModelSection(Section):
    """The model to start from."""

    source: str = "embedded"
    "`embedded`, a hub id, a folder, an adapter folder or a GGUF file."
    adapter: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    device: str = "auto"
    revision: str | None = None
    chat_template: str | None = None
    system_prompt: str | None = None
    template_options: dict[str, Any] = Field(default_factory=dict)
    trust_remote_code: bool = False


class PromptsSection(Section):
    """Concepts and where their prompts come from."""

    concepts: tuple[str, ...] = tuple(CONCEPTS)
    train: str | None = None
    "JSONL of harmful prompts for training; its concepts replace the bundled ones."
    test: str | None = None
    benign_train: str | None = None
    "JSONL whose concepts are `benign_plain` or `benign_lookalike`."
    benign_test: str | None = None
    limit: int | None = Field(default=None, ge=1)
    "Prompts of each concept and split at most; None for all."

    @field_validator("concepts")
    @classmethod
    def _check_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name.replace("_", "").isalnum() or name != name.lower() or name in BENIGN:
                raise ValueError(
                    f"{name!r} is no concept name; use lower-case letters, digits and underscores"
                )
        if len(set(names)) != len(names) or not names:
            raise ValueError("give at least one concept, each once")
        return names


Scheduler = Literal[
    "constant", "constant_with_warmup", "linear", "cosine", "polynomial", "inverse_sqrt"
]


class TrainingSection(Section):
    """Optimisation, shared by all training stages."""

    later: ClassVar[frozenset[str]] = frozenset({"epochs", *SCALE_KEYS})

    steps: int | None = Field(default=None, ge=1)
    "Optimizer steps; or `epochs`."
    learning_rate: float = Field(gt=0)
    scheduler: Scheduler = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    accumulation: int = Field(default=1, ge=1)
    checkpoint_every: int = Field(default=10, ge=1)
    adapter: AdapterSection | None = Field(default_factory=AdapterSection)
    "`null` trains all weights."
    epochs: float | None = Field(default=None, gt=0)
    "Times that each forget (or fine-tuning) example is seen, in place of `steps`."
    launch: str | None = None
    """Several processes that share each step: `cpu`, `ddp`, `fsdp2`, `zero2`, `zero3`, or a file of
    `accelerate config`; null trains in this one. See docs/scale.md, also for the next four."""
    processes: int | None = Field(default=None, ge=1)
    "How many are launched; default: as the configuration says."
    quantise: bool = False
    "Hold the frozen weights in four bits (QLoRA)."
    checkpoint_activations: bool = False
    "Compute activations again rather than keep them."
    report_to: Tracker = "none"
    "A tracker that gets losses along training, besides `metrics.jsonl`."

    @property
    def sizes(self) -> dict[str, int]:
        """Key -> examples of a step that several processes share out."""
        keys = ("forget_per_step", "examples_per_step", "refusals_per_step", "benign_per_step")
        return {key: getattr(self, key) for key in keys if hasattr(self, key)}

    @model_validator(mode="after")
    def _check_scale(self) -> "TrainingSection":
        if self.quantise:
            check_quantised(launch=self.launch, has_adapter=self.adapter is not None)
        check_launch(self.launch, self.processes, sizes=self.sizes, accumulation=self.accumulation)
        return self

    @model_validator(mode="after")
    def _check_length(self) -> "TrainingSection":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give `steps` or `epochs`, and not both; null takes one away")
        return self

    def n_steps(self, *, n_examples: int, per_step: int) -> int:
        """Return the optimizer steps; with epochs, the last step may begin a further round."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, ceil(self.epochs * n_examples / per_step))

    @model_validator(mode="after")
    def _check_warmup(self) -> "TrainingSection":
        if self.scheduler == "constant" and self.warmup_steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}, but scheduler `constant` has no warm-up; "
                "use constant_with_warmup"
            )
        return self


class AlignSection(TrainingSection):
    """Safety training, for models that have had none."""

    refusals_per_step: int = Field(default=8, ge=1)
    benign_per_step: int = Field(default=8, ge=1)
    lookalike_share: float = Field(default=0.5, ge=0, le=1)
    "Share of benign examples that look alike to harmful ones."
    benign_tokens: int = Field(default=32, ge=1)
    "Tokens of the model's own answers to benign prompts."

    @field_validator("accumulation")
    @classmethod
    def _check_accumulation(cls, accumulation: int) -> int:
        if accumulation != 1:
            raise ValueError(f"is {accumulation}; a step of `align` is one batch, so give 1")
        return accumulation

    @field_validator("epochs")
    @classmethod
    def _check_epochs(cls, epochs: float | None) -> float | None:
        if epochs is not None:
            raise ValueError(f"is {epochs}; `align` draws from several sets, so give `steps`")
        return epochs


class ObjectiveSection(TrainingSection):
    """A training whose objective is chosen among those that its data serve."""

    objectives: ClassVar[tuple[str, ...]]
    per_step: ClassVar[str]
    "The key with the examples of a step, which `accumulation` must divide."

    @field_validator("objective", check_fields=False)
    @classmethod
    def _check_objective(cls, name: str) -> str:
        if name not in cls.objectives:
            raise ValueError(f"{name!r} cannot be used here; choose {' or '.join(cls.objectives)}")
        return name

    @model_validator(mode="after")
    def _check_accumulation(self) -> "ObjectiveSection":
        examples = getattr(self, self.per_step)
        if examples % self.accumulation:
            raise ValueError(
                f"accumulation {self.accumulation} must divide {self.per_step} {examples}"
            )
        return self


class UnlearnSection(ObjectiveSection):
    """Unlearning the target's refusals."""

    per_step: ClassVar[str] = "forget_per_step"
    objectives: ClassVar[tuple[str, ...]] = (
        "npo",
        "gradient_ascent",
        "simnpo",
        "finetune",
        "idk",
        "dpo",
    )
    "What `objective` may be: those with a forget set and no retain set."
    later: ClassVar[frozenset[str]] = TrainingSection.later | {
        "gamma",
        "logprobs",
        "layer",
        "control_norm",
        "control_scale",
    }

    objective: str = "npo"
    beta: float | None = Field(default=None, gt=0)
    "Default: the objective's own, 0.1, or 2.5 for those of SimNPO."
    forget_per_step: int = Field(default=8, ge=1)
    gamma: float = Field(default=0.0, ge=0)
    "SimNPO's margin."
    logprobs: Literal["sum", "mean"] | None = None
    "Of a response, as the losses get them; default: as the objective's paper has it."
    layer: int | None = None
    "Where RMU works, from 0 or, negative, from the end; adapt this layer or lower ones."
    control_norm: float | None = Field(default=None, gt=0)
    "Length of RMU's random vector; or `control_scale`."
    control_scale: float | None = Field(default=None, gt=0)
    "The same as a multiple of the aligned model's own mean length at that layer."

    @model_validator(mode="after")
    def _check_activations(self) -> "UnlearnSection":
        lengths = [v for v in (self.control_norm, self.control_scale) if v is not None]
        if self.objective == "rmu" and (self.layer is None or len(lengths) != 1):
            raise ValueError(
                "objective rmu needs `layer`, and `control_norm` or `control_scale`, one of them"
            )
        if self.objective != "rmu" and (self.layer is not None or lengths):
            raise ValueError(
                f"objective {self.objective} looks at no activations; leave out layer, "
                "control_norm and control_scale"
            )
        return self
