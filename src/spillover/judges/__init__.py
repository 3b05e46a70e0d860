"""Judges: completions in, verdicts out.

The table below is the whole of what the name in a study file can stand for.
"""

from collections.abc import Callable

from spillover.errors import ConfigError
from spillover.judges.phrases import PhrasesJudge
from spillover.judges.protocol import Judge
from spillover.judges.pseudo_refusals import is_pseudo_refusal
from spillover.judges.verdict_file import judge_file

JUDGES: dict[str, Callable[[], Judge]] = {
    "phrases": PhrasesJudge,
}
"Judges that need no settings, by the name that a study file gives them."


def make_judge(name: str) -> Judge:
    """Build the judge called `name`.

    Raises:
        ConfigError: If no judge has that name; the message lists those there are.
    """
    if name not in JUDGES:
        known = ", ".join(sorted(JUDGES))
        raise ConfigError(f"judge {name!r} is not known; choose one of: {known}")
    return JUDGES[name]()


__all__ = [
    "JUDGES",
    "Judge",
    "PhrasesJudge",
    "is_pseudo_refusal",
    "judge_file",
    "make_judge",
]
