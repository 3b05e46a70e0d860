"""Generation: prompts in, completions out.

`hf.py`, the local generator, is imported from its own module, because it needs torch.
"""

from spillover.generation.cache import generate_cached
from spillover.generation.endpoint import EndpointGenerator
from spillover.generation.protocol import GenerationSettings, Generator, OnCompletion
from spillover.generation.scripted import ScriptedGenerator

__all__ = [
    "EndpointGenerator",
    "GenerationSettings",
    "Generator",
    "OnCompletion",
    "ScriptedGenerator",
    "generate_cached",
]
