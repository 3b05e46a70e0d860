"""Measure, explain and contain what a narrow change to a language model breaks elsewhere."""

__version__ = "0.1.0"
