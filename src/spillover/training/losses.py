"""Losses as functions of log-probabilities; none of them sees a model.

Each gives one value a response. What is minimised is their mean over responses, so that splitting
a batch, for length or for gradient accumulation, changes nothing.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def npo_loss(
    policy_logprobs: Float[Tensor, " batch"],
    reference_logprobs: Float[Tensor, " batch"],
    *,
    beta: float = 0.1,
) -> Float[Tensor, " batch"]:
    """Negative preference optimisation loss of each unwanted response.

    Lowers each response's likelihood relative to the frozen reference; the gradient fades once it
    is low, which plain gradient ascent lacks (https://arxiv.org/abs/2404.05868, eq. 3;
    https://arxiv.org/abs/2511.14017, eq. 1):

        loss = -(2 / beta) * log sigmoid(-beta * (policy - reference))

    The log-probabilities are summed over tokens, as in the papers' code, so that the effective
    strength grows with the length of the response.

    Args:
        policy_logprobs: Log-probability of each response summed over its tokens, in nats, under
            the model being trained.
        reference_logprobs: The same responses under the frozen reference, in nats; no gradient.
        beta: Inverse temperature, in 1/nats. As beta -> 0 this becomes gradient ascent.

    Returns:
        Loss of each response, in nats.

    Raises:
        ValueError: If `beta` is not positive.

    Example:
        >>> import torch
        >>> unchanged = torch.tensor([-3.0, -5.0])
        >>> npo_loss(unchanged, unchanged, beta=0.1)  # (2 / beta) * log 2, whatever the length
        tensor([13.8629, 13.8629])
    """
    if beta <= 0:
        raise ValueError(f"beta must be positive, got {beta}; 0.1 is the papers' value")
    ratio = policy_logprobs - reference_logprobs.detach()
    return -(2 / beta) * torch.nn.functional.logsigmoid(-beta * ratio)


def gradient_ascent_loss(policy_logprobs: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Log-probability of each unwanted response, to be minimised: gradient ascent on its loss.

    At an untouched policy NPO has this gradient; NPO's then fades, this one's does not.

    Args:
        policy_logprobs: Summed log-probability of each response, in nats.

    Returns:
        The same, in nats.
    """
    return policy_logprobs


def cross_entropy_loss(
    policy_logprobs: Float[Tensor, " batch"], n_tokens: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Cross-entropy of each wanted response, a token.

        loss = -policy / n_tokens

    Departs from a mean over all tokens of the batch, which weights long responses more and
    changes when a batch is split.

    Args:
        policy_logprobs: Summed log-probability of each response, in nats.
        n_tokens: Tokens in each response, at least 1.

    Returns:
        Loss of each response, in nats a token.

    Example:
        >>> import torch
        >>> cross_entropy_loss(torch.tensor([-4.0, -3.0]), torch.tensor([4.0, 1.0]))
        tensor([1., 3.])
    """
    return -policy_logprobs / n_tokens
