"""Turns a model's first-token probabilities into the tokens with which it begins refusals.

What is read from them is in `refusal_readout`; there they can also be taken from refusals that are
given. A token by which both refusals and answers begin is found only if refusals do so more often.
"""

from jaxtyping import Float
from torch import Tensor


def find_refusal_tokens(
    harmful: Float[Tensor, "harmful vocab"],
    harmless: Float[Tensor, "harmless vocab"],
    *,
    min_gap: float = 0.02,
    most: int = 20,
) -> list[int]:
    """Return the first tokens that a model prefers on harmful prompts, likeliest first.

    Those whose mean probability is larger by at least `min_gap` than on harmless prompts.
    2406.11717 picks them by hand for each family by looking at the same probabilities.

    Args:
        harmful: Log-probabilities of the first response token on harmful prompts.
        harmless: The same on harmless prompts.
        min_gap: Smallest difference of mean probabilities.
        most: Tokens returned at most.

    Raises:
        ValueError: If no token is so much likelier: the model does not refuse, or begins refusals
            and answers alike.

    Example:
        >>> import torch
        >>> harmful = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]]).log()
        >>> harmless = torch.tensor([[0.1, 0.3, 0.6]]).log()
        >>> find_refusal_tokens(harmful, harmless, min_gap=0.1)  # gaps 0.5, 0 and -0.5
        [0]
    """
    gap = harmful.double().exp().mean(dim=0) - harmless.double().exp().mean(dim=0)
    order = gap.argsort(descending=True)[:most]
    found = [int(i) for i in order if gap[i] >= min_gap]
    if not found:
        raise ValueError(
            f"no first token is likelier by {min_gap} on harmful prompts than on harmless ones: "
            "the model does not refuse them, or begins both alike; name the tokens yourself"
        )
    return found
