"""Which kernel a model's attention runs on.

Does not know what the model is used for.
"""

from typing import Any


def use_plain_attention(model: Any) -> None:
    """Let attention be plain matrix products where the model is on a CPU; change nothing elsewhere.

    The fused kernel's backward pass is made for long sequences: on those of some 50 tokens it takes
    15% of a training step, several times what the products take.
    """
    if next(model.parameters()).device.type == "cpu":
        model.set_attn_implementation("eager")
