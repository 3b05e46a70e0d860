"""Turns a specification into a judge that asks a language model.

    llm:RUBRIC@MODEL                  a model loaded here: `embedded`, a hub id, a folder, a file
    llm:RUBRIC@http://host:8000/v1#MODEL    a model on an OpenAI-compatible server
    {kind: llm, rubric: RUBRIC, model: MODEL, endpoint: URL, ...}    with any of `LLMSettings`

RUBRIC is a name, `by_concept` or a .txt file.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from spillover.errors import ConfigError
from spillover.files import cache_folder
from spillover.judges.askers import Asker, EndpointAsker
from spillover.judges.llm import MAX_CHARS, LLMJudge
from spillover.judges.rubric_files import choose_rubrics
from spillover.judges.specs import JudgeSpec
from spillover.judges.usage import Prices

API_KEY_VARIABLE = "SPILLOVER_JUDGE_API_KEY"
"Environment variable with the key of a judge's server, unless `api_key_env` names another."

_FORM = "give llm:RUBRIC@MODEL or llm:RUBRIC@http://HOST:PORT/v1#MODEL"


@dataclass(frozen=True, kw_only=True)
class LLMSettings:
    """Every setting of a judge that is a language model.

    Raises:
        ConfigError: If a value is out of its range; the message names the key.
    """

    rubric: str
    model: str
    endpoint: str | None = None
    "Address of a server, up to and including the version; none loads the model here."
    api_key_env: str = API_KEY_VARIABLE
    "Name of the environment variable that holds the key."
    cache: str | None = "user"
    "Where verdicts are kept: `user` for the user's cache folder, another folder, or none."
    max_chars: int = MAX_CHARS
    "Characters of a prompt or a response that are shown."
    max_tokens: int | None = None
    "Longest answer; raise it for models that think aloud first."
    price_per_million: dict[str, float] | None = None
    "`{prompt: X, reply: Y}`, of tokens."
    max_concurrency: int = 8
    timeout: float = 60.0
    max_retries: int = 5
    backoff: float = 0.5
    top_logprobs: int = 20
    "Alternatives asked for at each token of a number; 0 where a server has none."
    request: dict[str, Any] = field(default_factory=dict)
    "Keys to add to every request, or to take away with the value null."
    adapter: str | None = None
    dtype: str = "bfloat16"
    device: str = "auto"
    revision: str | None = None
    batch_size: int = 8

    def __post_init__(self) -> None:
        for name in ("max_chars", "max_tokens", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"judge llm: {name} is {value}; it must be at least 1")


def _has_type(value: object, hint: Any) -> bool:
    """Say whether a value read from YAML is of the type that a field is annotated with."""
    hints = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    types = tuple(get_origin(each) or each for each in hints)
    if isinstance(value, bool):
        return bool in types
    return isinstance(value, types) or (float in types and isinstance(value, int))


def read_settings(spec: JudgeSpec) -> LLMSettings:
    """Read the settings from either form of a specification.

    Raises:
        ConfigError: If a part is missing, unknown or of the wrong type.

    Example:
        >>> settings = read_settings(JudgeSpec(kind="llm", subject="harm@http://h:1/v1#org/m"))
        >>> settings.rubric, settings.endpoint, settings.model
        ('harm', 'http://h:1/v1', 'org/m')
    """
    options = dict(spec.options) or _from_line(spec.subject)
    hints = {item.name: item.type for item in fields(LLMSettings)}
    if unknown := sorted(set(options) - set(hints)):
        raise ConfigError(f"judge llm: unknown keys {unknown}; known are {', '.join(hints)}")
    for name, value in options.items():
        if not _has_type(value, hints[name]):
            wanted = getattr(hints[name], "__name__", hints[name])
            raise ConfigError(f"judge llm: {name} is {value!r}; it must be of type {wanted}")
    missing = [name for name in ("rubric", "model") if not options.get(name)]
    if missing:
        raise ConfigError(f"judge llm: has no {' and no '.join(missing)}; {_FORM}")
    return LLMSettings(**options)


def _from_line(subject: str) -> dict[str, Any]:
    rubric, _, where = subject.partition("@")
    if not where.startswith(("http://", "https://")):
        return {"rubric": rubric, "model": where}
    endpoint, _, model = where.partition("#")
    return {"rubric": rubric, "endpoint": endpoint, "model": model}


def llm_judge_from(spec: JudgeSpec) -> LLMJudge:
    """Build the judge; nothing is loaded or sent yet.

    Raises:
        ConfigError: If a setting breaks a rule or the rubric does not exist.
        DataError: If a rubric file of the user's breaks a rule.
    """
    settings = read_settings(spec)
    return LLMJudge(
        make_asker(settings),
        choose_rubrics(settings.rubric),
        model=os.path.basename(os.path.abspath(settings.model)),
        cache_folder=_cache_folder(settings.cache),
        max_chars=settings.max_chars,
        max_tokens=settings.max_tokens,
        prices=_prices(settings.price_per_million),
    )


def make_asker(settings: LLMSettings) -> Asker:
    """Return who answers, as the settings say; nothing is loaded or sent yet."""
    if settings.endpoint is not None:
        return EndpointAsker(
            settings.endpoint,
            settings.model,
            api_key=os.environ.get(settings.api_key_env),
            max_concurrency=settings.max_concurrency,
            timeout=settings.timeout,
            max_retries=settings.max_retries,
            backoff=settings.backoff,
            top_logprobs=settings.top_logprobs,
            request=settings.request,
        )
    from spillover.judges.local_asker import LocalAsker  # torch, which endpoints do not need.

    return LocalAsker(
        settings.model,
        adapter=settings.adapter,
        dtype=settings.dtype,
        device=settings.device,
        revision=settings.revision,
        batch_size=settings.batch_size,
    )


def _cache_folder(cache: str | None) -> Path | None:
    if cache is None:
        return None
    return cache_folder() / "verdicts" if cache == "user" else Path(cache)


def _prices(mapping: Mapping[str, float] | None) -> Prices | None:
    if mapping is None:
        return None
    if set(mapping) != {"prompt", "reply"}:
        raise ConfigError("judge llm: price_per_million needs exactly the keys prompt and reply")
    return Prices(prompt=float(mapping["prompt"]), reply=float(mapping["reply"]))
