"""Turns what an audit's models are called into sides that can be loaded or asked on a server.

Both models must read the same words as the same tokens, else their answers differ by the format
and not by the training. What is not the same is refused with a way to go on; nothing is loaded
here but tokenizers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spillover.errors import ConfigError, ModelError
from spillover.files import fingerprint, write_text
from spillover.study.explaining.models import ROLES, Role, model_state

if TYPE_CHECKING:
    from spillover.models.chat import Chat
    from spillover.models.loading import LoadedModel

TemplateChoice = Literal["same", "aligned", "own"]
TEMPLATES: tuple[TemplateChoice, ...] = ("same", "aligned", "own")
_PROBES = ("What is the colour of grass?", "Wie gro\u00df ist die T\u00fcr? 12,345 \u6771\u4eac")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of an audit's models, not loaded."""

    role: Role
    source: str
    "What was asked for."
    identity: str
    "Changes whenever the model or its chat format does."
    load: "Callable[[], LoadedModel] | None" = None
    "None where a server has it."
    endpoint: str = ""
    served_name: str = ""
    "By which the server knows it."

    @property
    def is_local(self) -> bool:
        """Whether it can be loaded here."""
        return self.load is not None


@dataclass(frozen=True, kw_only=True)
class Sides:
    """All of an audit's models."""

    by_role: Mapping[Role, Side]
    share_format: bool
    "Whether all of them read the same prompts as the same tokens."

    @property
    def are_local(self) -> bool:
        """Whether no server has any of them."""
        return all(side.is_local for side in self.by_role.values())

    @property
    def are_same(self) -> bool:
        """Whether the aligned and the tuned model are one and the same."""
        return self.by_role["aligned"].identity == self.by_role["tuned"].identity


def is_endpoint(source: str) -> bool:
    """Whether a model is named by a server's address.

    Example:
        >>> is_endpoint("http://localhost:8000/v1#my-model"), is_endpoint("org/name")
        (True, False)
    """
    return source.startswith(("http://", "https://"))


def parse_template(text: str) -> TemplateChoice:
    """Return the choice that a user wrote.

    Raises:
        ConfigError: If there is no such choice.
    """
    for choice in TEMPLATES:
        if text == choice:
            return choice
    raise ConfigError(f"--template {text!r}: choose one of {', '.join(TEMPLATES)}")


def open_sides(
    *,
    aligned: str,
    tuned: str,
    base: str | None,
    out: Path,
    template: TemplateChoice = "same",
    dtype: str = "bfloat16",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> Sides:
    """Find the models and check that they can be compared.

    Args:
        aligned: The model before tuning: what `load_model` takes, or `http://HOST/v1#MODEL`.
        tuned: The same after it.
        base: Before alignment; None where it is not at hand. It reads the aligned model's format.
        out: Keeps the aligned model's chat template where others read it too.
        template: `same` refuses formats that differ; `aligned` asks both in the aligned model's,
            `own` each in its own.
        dtype: float32, bfloat16 or float16.
        device: auto, cpu, cuda, cuda:N or mps.
        trust_remote_code: Run code from the models' repositories.

    Raises:
        ConfigError: If an address names no model.
        ModelError: If a model is not there, or the two do not share tokens.
        TemplateError: If a chat template gives no clean response span.
    """
    sources = {"base": base, "aligned": aligned, "tuned": tuned}
    given = {role: source for role in ROLES if (source := sources[role]) is not None}
    chats = _chats(given, trust_remote_code=trust_remote_code)
    if template != "own":
        _require_same_tokens(chats, given, template)
    format_a = None
    if "aligned" in chats:
        text = str(chats["aligned"].tokenizer.chat_template)
        format_a = _Template(out / "cache" / "chat_template.jinja", text)
    options = {"dtype": dtype, "device": device, "trust_remote_code": trust_remote_code}
    sides = {}
    for role, source in given.items():
        shared = format_a if role == "base" or template == "aligned" else None
        chat = chats.get("aligned" if shared else role)
        words = None if chat is None else chat.description()
        sides[role] = _side(role, source, options=options, template=shared, words=[dtype, words])
    return Sides(by_role=sides, share_format=template != "own" or _read_alike(chats))


def _chats(given: Mapping[Role, str], *, trust_remote_code: bool) -> "dict[Role, Chat]":
    """Return the chat formats of the aligned and the tuned model, where they are at hand."""
    from spillover.models.loading import load_chat

    pair: tuple[Role, ...] = ("aligned", "tuned")
    local = [role for role in pair if not is_endpoint(given[role])]
    return {role: load_chat(given[role], trust_remote_code=trust_remote_code) for role in local}


@dataclass(frozen=True)
class _Template:
    """A chat template and where it is put for other models to read."""

    file: Path
    text: str


def _side(
    role: Role,
    source: str,
    *,
    options: Mapping[str, Any],
    template: _Template | None,
    words: list[Any],
) -> Side:
    if is_endpoint(source):
        address, _, name = source.partition("#")
        if not name:
            raise ConfigError(
                f"{source}: names no model; write http://HOST/v1#MODEL with the name that the "
                "server knows it by"
            )
        return Side(role=role, source=source, identity=source, endpoint=address, served_name=name)

    def load() -> "LoadedModel":
        from spillover.models.loading import load_model

        if template is None:
            return load_model(source, **options)
        write_text(template.file, template.text)
        return load_model(source, chat_template=template.file, **options)

    return Side(
        role=role, source=source, identity=fingerprint([model_state(source), *words]), load=load
    )


def _read_alike(chats: "Mapping[Role, Chat]") -> bool:
    if len(chats) < 2:
        return False
    first, second = chats["aligned"], chats["tuned"]
    return all(first.prompt_ids(probe) == second.prompt_ids(probe) for probe in _PROBES)


def _require_same_tokens(
    chats: "Mapping[Role, Chat]", given: Mapping[Role, str], template: TemplateChoice
) -> None:
    """Refuse two local models that read the same words as different tokens."""
    if len(chats) < 2:
        return
    first, second = (chats[role].tokenizer for role in ("aligned", "tuned"))
    pair = f"aligned {given['aligned']} and tuned {given['tuned']}"
    plain = [[t.encode(p, add_special_tokens=False) for p in _PROBES] for t in (first, second)]
    if plain[0] != plain[1]:
        raise ModelError(
            f"{pair}: their tokenizers differ; give the model that was tuned and what became of it,"
            " or --template own, which compares behaviour only, each model in its own format"
        )
    if template == "same" and not _read_alike(chats):
        raise ModelError(
            f"{pair}: their chat templates differ; choose --template aligned to ask both in the "
            "aligned model's format, or --template own to ask each in its own"
        )
