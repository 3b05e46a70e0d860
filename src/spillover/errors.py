"""Everything Spillover raises on purpose, as one small tree.

    SpilloverError            catch this to catch them all
    ├── InputError            the user can mend it; the command line exits with 2
    │   ├── DataError         a prompt, completion or question file
    │   ├── ConfigError       a study file or an override
    │   ├── ModelError        a model, adapter or tokenizer that cannot be used as asked
    │   └── TemplateError     a chat template that does not give a clean response span
    ├── EndpointError         a server that is down, slow or talks nonsense
    ├── TrainingError         a loss that is no longer a number
    ├── GateError             an audit's gate did not pass; the command line exits with 3
    └── StorageError          a disk that is full or a folder that cannot be written

A message names the file, line, key or model, the rule that was broken, and the remedy.
"""


class SpilloverError(Exception):
    """Base of every error that Spillover raises on purpose."""

    exit_code = 1


class InputError(SpilloverError):
    """Something the user gave is wrong, and the message says how to mend it."""

    exit_code = 2


class DataError(InputError):
    """A data file breaks a rule; the message names file and line."""


class ConfigError(InputError):
    """A study file or an override breaks a rule; the message names the key."""


class ModelError(InputError):
    """A model, adapter or tokenizer cannot be loaded or used as asked."""


class TemplateError(InputError):
    """A chat template gives no clean split between prompt and response."""


class EndpointError(SpilloverError):
    """An endpoint could not be reached or gave no usable answer."""


class TrainingError(SpilloverError):
    """Training cannot go on, for example because the loss is no longer finite."""


class GateError(SpilloverError):
    """The gate of an audit did not pass; everything is written by then."""

    exit_code = 3


class StorageError(SpilloverError):
    """A file could not be written: the disk is full or the folder is read-only."""
