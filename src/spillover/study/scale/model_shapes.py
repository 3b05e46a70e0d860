"""The few numbers of a model that decide what it costs."""

from dataclasses import dataclass

from spillover.errors import ConfigError, ModelError
from spillover.records import Record


@dataclass(frozen=True, kw_only=True)
class ModelShape(Record):
    """The size of a decoder with gated MLPs."""

    n_parameters: float
    n_layers: int
    d_model: int
    d_mlp: int
    "Width inside the MLP."
    d_kv: int
    "Width of the keys of one layer, and of its values."
    vocab: int

    @property
    def n_matrix(self) -> float:
        """Parameters that every token is multiplied with: all but the embeddings at both ends."""
        return self.n_layers * (
            2 * self.d_model**2 + 2 * self.d_model * self.d_kv + 3 * self.d_model * self.d_mlp
        )

    def n_adapter(self, rank: int, *, n_layers: int | None = None) -> float:
        """Parameters of a LoRA on all linear modules of so many layers; default all."""
        ends = 4 * self.d_model + 2 * (self.d_model + self.d_kv) + 3 * (self.d_model + self.d_mlp)
        return rank * ends * (self.n_layers if n_layers is None else n_layers)


SIZES = {
    # Qwen2.5-7B, which 2511.14017 uses; Qwen2.5-32B; Llama-3.1-70B.
    "7B": ModelShape(
        n_parameters=7.62e9, n_layers=28, d_model=3584, d_mlp=18944, d_kv=512, vocab=152064
    ),
    "32B": ModelShape(
        n_parameters=32.8e9, n_layers=64, d_model=5120, d_mlp=27648, d_kv=1024, vocab=152064
    ),
    "70B": ModelShape(
        n_parameters=70.6e9, n_layers=80, d_model=8192, d_mlp=28672, d_kv=1024, vocab=128256
    ),
}
"Shapes to plan with where the model itself is not at hand."


def sized_shape(size: str) -> ModelShape:
    """Return a shape of `SIZES`.

    Raises:
        ConfigError: If there is none of that name.
    """
    if size not in SIZES:
        raise ConfigError(f"--size {size!r} is not known; choose one of {', '.join(SIZES)}")
    return SIZES[size]


def model_shape(source: str, *, revision: str | None = None) -> ModelShape:
    """Read a model's shape from its configuration; no weight is loaded.

    Raises:
        ModelError: If there is no configuration, or it is not that of a decoder.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from spillover.models.adapters import adapter_base, is_adapter_folder
    from spillover.models.loading import resolve_source

    folder = resolve_source(source)
    while not isinstance(folder, str) and is_adapter_folder(folder):
        folder = resolve_source(adapter_base(folder))
    try:
        config = AutoConfig.from_pretrained(folder, revision=revision)
    except (OSError, ValueError) as error:
        raise ModelError(f"{source}: no configuration to estimate from; give --size") from error
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    text = config.get_text_config()
    heads = text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    return ModelShape(
        n_parameters=float(sum(p.numel() for p in model.parameters())),
        n_layers=text.num_hidden_layers,
        d_model=text.hidden_size,
        d_mlp=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        d_kv=(getattr(text, "num_key_value_heads", None) or heads) * width,
        vocab=text.vocab_size,
    )
