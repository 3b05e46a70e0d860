"""Generation: prompts in, completions out."""

from spillover.generation.endpoint import EndpointGenerator
from spillover.generation.protocol import GenerationSettings, Generator, OnCompletion
from spillover.generation.scripted import ScriptedGenerator

__all__ = [
    "EndpointGenerator",
    "GenerationSettings",
    "Generator",
    "OnCompletion",
    "ScriptedGenerator",
]
