"""The part of a training's section that says what is trained."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from spillover.study.config.section import Section

AdapterKind = Literal[
    "lora", "all_adapters", "one_adapter", "one_slow_adapter", "nine_adapters", "steering_vector"
]


class AdapterSection(Section):
    """What is trained beside the model's own weights."""

    later: ClassVar[frozenset[str]] = frozenset({"kind"})

    kind: AdapterKind = "lora"
    """`lora` is described by the keys below. The others, of published organisms, are fitted to the
    model's depth (`training.organisms`) and take no key but `steering_vector` layers and alpha."""
    rank: int = Field(default=16, ge=1)
    alpha: int | None = None
    "Default: the rank."
    target_modules: tuple[str, ...] | None = Field(default=None, min_length=1)
    "Default: all linear modules of a layer."
    layers: tuple[int, ...] | None = Field(default=None, min_length=1)
    "Layer indices from 0; default all."
    first_layer: int = Field(default=0, ge=0)
    "Adapt this layer and those above it; layers below need no backward pass."
    rank_stabilised: bool = False
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _check_layers(self) -> "AdapterSection":
        if self.layers is not None and self.first_layer:
            raise ValueError("give `layers` or `first_layer`, not both")
        return self

    @model_validator(mode="after")
    def _check_kind(self) -> "AdapterSection":
        if self.kind == "lora":
            return self
        free = {"kind", *(("alpha", "layers") if self.kind == "steering_vector" else ())}
        fields = type(self).model_fields
        given = [n for n, f in fields.items() if n not in free and getattr(self, n) != f.default]
        if given:
            raise ValueError(
                f"kind {self.kind} brings its own {', '.join(given)}; leave them out, or describe "
                "the whole adapter with kind lora"
            )
        if self.layers is not None and len(self.layers) != 1:
            raise ValueError(f"a steering vector has one layer, not {len(self.layers)}; give one")
        return self
