"""Whether the tokenizer that lies beside an adapter is the one that its base is used with.

Trainers other than Spillover's often save one there. If it differs, the adapter has learnt other
ids than it will be given.
"""

from pathlib import Path
from typing import Any

from spillover.errors import ModelError


def check_adapter_tokenizer(folder: Path, tokenizer: Any) -> None:
    """Refuse an adapter whose own tokenizer gives a token another id; one without any is fine.

    Args:
        folder: The adapter's.
        tokenizer: The base model's.

    Raises:
        ModelError: If the two differ; the message names a token.
    """
    from transformers import AutoTokenizer

    if not (folder / "tokenizer_config.json").exists():
        return
    try:
        own = AutoTokenizer.from_pretrained(folder).get_vocab()
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{folder}: the tokenizer beside the adapter cannot be read ({error}); remove its "
            "files if the adapter was trained with the base model's"
        ) from error
    base = tokenizer.get_vocab()
    differing = sorted(t for t in own.keys() | base.keys() if own.get(t) != base.get(t))
    if differing:
        token = differing[0]
        raise ModelError(
            f"{folder}: the adapter's tokenizer differs from its base model's in {len(differing)} "
            f"tokens: {token!r} is {own.get(token)} there and {base.get(token)} here; load the "
            "adapter on the model and tokenizer that it was trained with"
        )
