"""What is watched while a model trains: the first-token KL of each concept (2511.14017, Fig. 2)."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from spillover.models.chat import Chat
from spillover.models.logprobs import next_token_logprobs
from spillover.models.modes import evaluating
from spillover.records import Prompt
from spillover.stats import mean_interval
from spillover.training.losses import token_kl

MetricsRow = dict[str, Any]


def first_token_kl(
    reference: Float[Tensor, "prompt vocab"], tuned: Float[Tensor, "prompt vocab"]
) -> Float[Tensor, " prompt"]:
    """KL(aligned || tuned) at the first response token, a prompt, in nats.

        KL = sum_v p_aligned(v) * (log p_aligned(v) - log p_tuned(v))

    The paper gives no direction; this one asks how much of what the aligned model would say is
    lost.

    Args:
        reference: Log-distribution under the aligned model.
        tuned: Log-distribution under the model in training.

    Example:
        >>> import torch
        >>> half = torch.tensor([[0.5, 0.5]]).log()
        >>> tuned = torch.tensor([[0.25, 0.75]]).log()
        >>> round(first_token_kl(half, tuned).item(), 4)  # (ln 2 + ln(2/3)) / 2
        0.1438
    """
    return token_kl(reference, tuned).clamp(min=0)  # Never negative but for rounding.


class FirstTokenMonitor(TrainerCallback):
    """Measures the first-token KL of each concept every few steps and hands rows on.

    Args:
        prompts: Prompts of all concepts to watch; none of them should be trained on.
        chat: The model's chat format.
        reference_model: The aligned model; asked once, when the monitor is made.
        pad_id: Written at padding.
        every: Steps between measurements; step 0 and the last step are always measured.
        emit: Takes each row: kind, step, concept, metric, value, ci_low, ci_high, n.

    Raises:
        ValueError: If there are no prompts or `every` is below 1.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        *,
        chat: Chat,
        reference_model: Any,
        pad_id: int,
        every: int,
        emit: Callable[[MetricsRow], None],
    ) -> None:
        if not prompts or every < 1:
            raise ValueError(
                f"monitor: {len(prompts)} prompts every {every} steps; give at least one prompt "
                "and at least one step, or no monitor"
            )
        self._prompts = list(prompts)
        self._ids = [chat.prompt_ids(prompt.prompt) for prompt in prompts]
        self._pad_id = pad_id
        self._every = every
        self._emit = emit
        self._reference = next_token_logprobs(reference_model, self._ids, pad_id=pad_id)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Measure before the first step; a resumed run has that row already."""
        if state.global_step == 0:
            self._measure(kwargs["model"], step=0)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Measure every few steps and after the last."""
        if state.global_step % self._every == 0 or state.global_step == state.max_steps:
            self._measure(kwargs["model"], step=state.global_step)

    def _measure(self, model: Any, *, step: int) -> None:
        with evaluating(model):
            tuned = next_token_logprobs(model, self._ids, pad_id=self._pad_id)
        by_concept: dict[str, list[float]] = defaultdict(list)
        for prompt, value in zip(
            self._prompts, first_token_kl(self._reference, tuned).tolist(), strict=True
        ):
            by_concept[prompt.concept].append(value)
        for concept, values in by_concept.items():
            self._emit(_kl_row(concept, values, step=step))


def _kl_row(concept: str, values: Sequence[float], *, step: int) -> MetricsRow:
    interval = mean_interval(values) if len(values) > 1 else None
    return {
        "kind": "monitor",
        "step": step,
        "concept": concept,
        "metric": "first_token_kl",
        "value": float(torch.tensor(values, dtype=torch.float64).mean()),
        "ci_low": None if interval is None else max(0.0, interval.low),
        "ci_high": None if interval is None else interval.high,
        "n": len(values),
    }
