"""Names of a package that are imported when they are first asked for."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package whose imports would be slow.

    Args:
        package: The package's `__name__`.
        modules: Where each name is defined.

    Example:
        >>> get, _ = lazy_names("spillover.lazy", {"sqrt": "math"})
        >>> get("sqrt")(9.0)
        3.0
    """
    own = vars(sys.modules[package])

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        own[name] = getattr(import_module(modules[name]), name)
        value: object = own[name]
        return value

    return get, lambda: sorted([*own, *modules])
