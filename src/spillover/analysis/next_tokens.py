"""Turns one position into the next-token distributions of several models, side by side.

The position is the end of a list of token ids: a prompt, or a prompt with part of a response
(2507.03662, section 4.1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.divergences import js_divergence, kl_divergence
from spillover.errors import ModelError
from spillover.models.logprobs import next_token_logprobs
from spillover.records import Record

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas


@dataclass(frozen=True, kw_only=True)
class NextTokens(Record):
    """What several models would say next."""

    models: tuple[str, ...]
    tokens: tuple[str, ...]
    "Every token that is among the likeliest of some model, likeliest of all models first."
    token_ids: tuple[int, ...]
    probabilities: tuple[tuple[float, ...], ...]
    "One row a model, one column a token; a row sums to less than 1."
    kl: tuple[tuple[float, ...], ...]
    "KL(row || column) between models over the whole vocabulary, in nats."
    js: tuple[tuple[float, ...], ...]
    "Jensen-Shannon divergence between models over the whole vocabulary, in nats, at most ln 2."

    def to_frame(self) -> "pandas.DataFrame":
        """One row a token, one column a model, filled with probabilities."""
        import pandas

        columns = dict(zip(self.models, self.probabilities, strict=True))
        return pandas.DataFrame({"token": self.tokens, "token_id": self.token_ids, **columns})

    def divergence_frame(self) -> "pandas.DataFrame":
        """One row an ordered pair of models: kl(first || second) and js, in nats."""
        import pandas

        rows = [
            {"first": first, "second": second, "kl": self.kl[i][j], "js": self.js[i][j]}
            for i, first in enumerate(self.models)
            for j, second in enumerate(self.models)
            if i != j
        ]
        return pandas.DataFrame(rows, columns=["first", "second", "kl", "js"])

    def plot(self) -> "matplotlib.figure.Figure":
        """Bars of the tokens' probabilities, one group a token."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(max(5.0, 0.4 * len(self.tokens) + 2), 3.6), layout="constrained")
        axes = figure.add_subplot()
        width = 0.8 / len(self.models)
        for place, (model, row) in enumerate(zip(self.models, self.probabilities, strict=True)):
            left = [i + (place - (len(self.models) - 1) / 2) * width for i in range(len(row))]
            axes.bar(left, row, width=width, label=model)
        names = [repr(token)[1:-1] for token in self.tokens]
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", parse_math=False)
        axes.set_ylabel("probability of the next token")
        axes.legend()
        return figure


def compare_next_tokens(
    models: Mapping[str, Any],
    prefix: Sequence[int],
    *,
    tokenizer: Any,
    pad_id: int,
    top: int = 15,
) -> NextTokens:
    """Compare what several models with one tokenizer would say after `prefix`.

    Args:
        models: Causal language models by name.
        prefix: Token ids up to the position, such as a chat prompt's, or with the first k tokens
            of a response: `example.input_ids[: example.prompt_length + k]`.
        tokenizer: Writes the tokens as text.
        pad_id: Written at padding.
        top: How many of each model's likeliest tokens are shown.

    Raises:
        ModelError: If the models have vocabularies of different sizes.
        ValueError: If there are no models, the prefix is empty or `top` is below 1.
    """
    if not models or not prefix or top < 1:
        raise ValueError(
            f"{len(models)} models, {len(prefix)} tokens before the position and top {top}; give "
            "at least one of each"
        )
    found = {
        name: next_token_logprobs(model, [list(prefix)], pad_id=pad_id)[0].cpu()
        for name, model in models.items()
    }
    return next_tokens(found, tokenizer=tokenizer, top=top)


def next_tokens(
    logprobs: Mapping[str, Float[Tensor, " _"]], *, tokenizer: Any, top: int = 15
) -> NextTokens:
    """Put next-token distributions that are at hand side by side.

    Args:
        logprobs: Log-distribution of each model, by name.
        tokenizer: Writes the tokens as text.
        top: How many of each model's likeliest tokens are shown.

    Raises:
        ModelError: If the models have vocabularies of different sizes.
    """
    require_one_vocabulary({name: len(row) for name, row in logprobs.items()})
    rows = torch.stack(list(logprobs.values()))
    ids = _likeliest(rows, top=min(top, rows.shape[1]))
    return NextTokens(
        models=tuple(logprobs),
        tokens=tuple(tokenizer.decode([i]) for i in ids),
        token_ids=tuple(ids),
        probabilities=_table(rows[:, ids].exp()),
        kl=_table(kl_divergence(*_pairs(rows))),
        js=_table(js_divergence(*_pairs(rows))),
    )


def require_one_vocabulary(sizes: Mapping[str, int]) -> None:
    """Refuse models whose distributions are over vocabularies of different sizes.

    Raises:
        ModelError: If the sizes differ.
    """
    if len(set(sizes.values())) > 1:
        raise ModelError(
            f"the models' vocabularies differ in size: {dict(sizes)}; compare models of one "
            "tokenizer, with embeddings resized alike"
        )


def _likeliest(rows: Float[Tensor, "model vocab"], *, top: int) -> list[int]:
    """Tokens among the `top` of any model, by their mean probability, then by id."""
    ids = sorted(set(rows.topk(top, dim=-1).indices.flatten().tolist()))
    means = rows.exp().mean(dim=0)
    return sorted(ids, key=lambda i: (-means[i].item(), i))


def _pairs(
    rows: Float[Tensor, "model vocab"],
) -> tuple[Float[Tensor, "model model vocab"], Float[Tensor, "model model vocab"]]:
    n = len(rows)
    return rows[:, None].expand(n, n, -1), rows[None, :].expand(n, n, -1)


def _table(values: Float[Tensor, "row column"]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())
