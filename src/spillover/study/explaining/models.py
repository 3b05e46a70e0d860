"""From names of models to what is known of them before loading, and a way to load each.

All models read the same tokens: those that the aligned model's tokenizer and chat template write,
as in 2507.03662, where the base model reads the template too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spillover.errors import ModelError
from spillover.files import file_fingerprint, fingerprint, write_text

if TYPE_CHECKING:  # torch is imported by what needs it, not by `spillover --help`.
    from spillover.models.chat import Chat
    from spillover.models.loading import LoadedModel

Role = Literal["base", "aligned", "tuned"]
ROLES: tuple[Role, ...] = ("base", "aligned", "tuned")


@dataclass(frozen=True)
class NamedModel:
    """A model that has not been loaded."""

    name: str
    identity: str
    "Changes whenever the model does."
    load: "Callable[[], LoadedModel]"


@dataclass(frozen=True)
class ModelTrio:
    """Base, where there is one, aligned and tuned, and the chat format that all of them read."""

    models: Mapping[Role, NamedModel]
    chat: "Chat"

    @property
    def identity(self) -> str:
        """Changes whenever one of the models or the chat format does."""
        states = {role: model.identity for role, model in self.models.items()}
        return fingerprint([states, self.chat.description()])


def open_models(
    *,
    base: str | None,
    aligned: str,
    tuned: str,
    out: Path,
    dtype: str = "bfloat16",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> ModelTrio:
    """Find the models and the aligned one's chat format; nothing but a tokenizer is loaded.

    Args:
        base: Before alignment; None where it is not at hand.
        aligned: After it.
        tuned: The aligned model after the change that is to be explained.
        out: Keeps the aligned model's chat template, which the others read too.
        dtype: float32, bfloat16 or float16.
        device: auto, cpu, cuda, cuda:N or mps.
        trust_remote_code: Run code from the models' repositories.

    Raises:
        ModelError: If a model is not there.
        TemplateError: If the aligned model's chat template gives no clean response span.
    """
    from spillover.models.loading import load_chat, load_model

    chat = load_chat(aligned, trust_remote_code=trust_remote_code)
    template = out / "cache" / "chat_template.jinja"
    write_text(template, str(chat.tokenizer.chat_template))
    options: dict[str, Any] = {
        "dtype": dtype,
        "device": device,
        "trust_remote_code": trust_remote_code,
        "chat_template": template,
    }
    sources: dict[Role, str | None] = {"base": base, "aligned": aligned, "tuned": tuned}
    return ModelTrio(
        models={
            role: NamedModel(
                name=source,
                identity=fingerprint([model_state(source), dtype]),
                load=partial(load_model, source, **options),
            )
            for role, source in sources.items()
            if source is not None
        },
        chat=chat,
    )


def model_state(source: str) -> str:
    """Return a hash that changes with the files of a local model and of what it is an adapter of.

    Weights are told apart by size and time, which is cheap; configurations by content.
    """
    from spillover.models.adapters import adapter_base, is_adapter_folder
    from spillover.models.loading import resolve_source

    folder = resolve_source(source)
    if not isinstance(folder, Path):
        return fingerprint(folder)
    found: list[Any] = []
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        if path.suffix == ".json":
            found.append((path.name, file_fingerprint(path)))
        elif path.suffix == ".safetensors":
            found.append((path.name, path.stat().st_size, path.stat().st_mtime_ns))
    below = model_state(adapter_base(folder)) if is_adapter_folder(folder) else None
    return fingerprint([found, below])


def require_same_tokens(loaded: "LoadedModel", chat: "Chat", ids: set[int], *, role: str) -> None:
    """Refuse a model that means other tokens by the ids that are to be read.

    Raises:
        ModelError: If one of the ids is another token to its tokenizer.
    """
    own, shared = loaded.tokenizer, chat.tokenizer
    ordered = sorted(ids)
    pairs = zip(
        own.convert_ids_to_tokens(ordered), shared.convert_ids_to_tokens(ordered), strict=True
    )
    for place, (mine, theirs) in enumerate(pairs):
        if mine != theirs:
            raise ModelError(
                f"{role} model {loaded.source}: token {ordered[place]} is {mine!r}, but "
                f"{theirs!r} to the aligned model; explain models that share one tokenizer"
            )
