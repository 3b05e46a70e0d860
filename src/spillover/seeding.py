"""Independent random streams from one study seed, so that no step's draws depend on another's."""

import hashlib

import numpy as np


def derive_seed(seed: int, *names: str) -> int:
    """Return a 31-bit seed for the stream called `names` under `seed`.

    Example:
        >>> derive_seed(0, "unlearn", "safety") == derive_seed(0, "unlearn", "safety")
        True
        >>> derive_seed(0, "unlearn") == derive_seed(0, "contain")
        False
    """
    text = "/".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def numpy_generator(seed: int, *names: str) -> np.random.Generator:
    """Return a NumPy generator for the stream called `names` under `seed`."""
    return np.random.default_rng(derive_seed(seed, *names))
