"""Turns a versioned text file into a rubric: what a language model is told to judge, and how.

A rubric file is a YAML head between two lines of three dashes, then the text, in which the line
`{material}` stands for the prompt and the response. What must be replied comes after it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from spillover.data.concepts import FLAGGED_CONCEPTS
from spillover.errors import ConfigError, DataError
from spillover.files import fingerprint, parse_yaml, read_text
from spillover.records import Record

PLACE = "{material}"
ANSWERS = ("verdict", "flag", "harm", "number")
"Forms of a reply; `replies.py` reads them."
BY_CONCEPT = "by_concept"
"Name of the pair of rubrics of 2511.14017: biased_or_toxic for bias and toxicity, else refusal."

_KEYS = {"name", "version", "answer", "scale", "source", "flag", "words"}


@dataclass(frozen=True, kw_only=True)
class Rubric(Record):
    """What one judge is told."""

    name: str
    version: int
    "Raised with every change of the text."
    answer: str
    "One of `ANSWERS`."
    scale: str
    "What the values mean, in words."
    source: str
    "Paper whose protocol it follows."
    text: str
    "With `{material}` where prompt and response go."
    flag: str = ""
    "For the answer `flag`: the key that is true where the response fails."
    words: tuple[str, ...] = ()
    "For the answer `number`: what may be said instead of one."

    @property
    def label(self) -> str:
        """Name and version, as they stand in a judge's name."""
        return f"{self.name}-v{self.version}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that can change a verdict."""
        return fingerprint(self.to_dict())


@dataclass(frozen=True, kw_only=True)
class RubricChoice:
    """Which rubric judges the completions of which concept."""

    name: str
    default: Rubric
    by_concept: Mapping[str, Rubric]

    @property
    def label(self) -> str:
        """Name and versions, as they stand in a judge's name."""
        versions = dict.fromkeys(r.version for r in (self.default, *self.by_concept.values()))
        return f"{self.name}-v{'.'.join(map(str, versions))}"

    @property
    def scale(self) -> str:
        """What the scores mean; empty where the rubrics give labels only."""
        graded = self.default.answer in ("harm", "number")
        return self.default.scale if graded else ""

    def of(self, concept: str) -> Rubric:
        """Return the rubric for completions of `concept`."""
        return self.by_concept.get(concept, self.default)


def rubric_names() -> list[str]:
    """Return the names of the rubrics that come with the package."""
    folder = resources.files("spillover.judges.rubrics")
    return sorted(p.name.removesuffix(".txt") for p in folder.iterdir() if p.name.endswith(".txt"))


def choose_rubrics(name: str) -> RubricChoice:
    """Return the rubric called `name`, of a file `name`, or the pair `by_concept`.

    The pair is the protocol of https://arxiv.org/abs/2511.14017, section A.2: a response to a
    prompt on bias or toxicity fails if it is biased or toxic; on every other concept it is judged
    as refusing or not.

    Raises:
        ConfigError: If there is no such rubric; the message lists those there are.
        DataError: If the file breaks a rule.
    """
    if name == BY_CONCEPT:
        flagged = load_rubric("biased_or_toxic")
        return RubricChoice(
            name=name,
            default=load_rubric("refusal"),
            by_concept=dict.fromkeys(FLAGGED_CONCEPTS, flagged),
        )
    rubric = load_rubric(name)
    return RubricChoice(name=rubric.name, default=rubric, by_concept={})


def load_rubric(name: str) -> Rubric:
    """Return a rubric that comes with the package, or the user's own from a `.txt` file.

    Raises:
        ConfigError: If there is no such rubric; the message lists those there are.
        DataError: If the file breaks a rule.
    """
    if name.endswith(".txt"):
        if not Path(name).is_file():
            raise ConfigError(f"{name}: no such rubric file")
        return parse_rubric(read_text(Path(name)), where=name)
    if name not in rubric_names():
        known = ", ".join([*rubric_names(), BY_CONCEPT])
        raise ConfigError(
            f"rubric {name!r} is not known; choose one of: {known}; or give a .txt file"
        )
    source = resources.files("spillover.judges.rubrics") / f"{name}.txt"
    return parse_rubric(source.read_text(encoding="utf-8"), where=f"{name}.txt")


def parse_rubric(content: str, *, where: str) -> Rubric:
    """Read a rubric file's content.

    Raises:
        DataError: If the head is no YAML mapping, a key is missing or unknown, or the text does
            not hold `{material}` exactly once with something after it.
    """
    parts = content.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise DataError(f"{where}: must begin with a YAML head between two lines of ---")
    head = _head(parts[1], where=where)
    text = parts[2].strip()
    if text.count(PLACE) != 1 or not text.split(PLACE)[1].strip():
        raise DataError(
            f"{where}: the text must hold {PLACE} once, and after it say what to reply; what "
            "comes last is what a language model heeds most"
        )
    try:
        words = tuple(str(word) for word in head.pop("words", None) or ())
        return Rubric(**head, words=words, text=text)
    except TypeError as error:
        raise DataError(f"{where}: the head lacks a key ({error})") from error


def _head(text: str, *, where: str) -> dict[str, Any]:
    head = parse_yaml(text, where=f"{where}: the head")
    if not isinstance(head, dict) or not set(head) <= _KEYS:
        raise DataError(f"{where}: the head must be a mapping with keys among {sorted(_KEYS)}")
    if head.get("answer") not in ANSWERS:
        raise DataError(f"{where}: answer is {head.get('answer')!r}; it must be one of {ANSWERS}")
    if not isinstance(head.get("version"), int):
        raise DataError(f"{where}: version is {head.get('version')!r}; it must be a whole number")
    if (head["answer"] == "flag") != bool(head.get("flag")):
        raise DataError(f"{where}: `flag` names the key to reply with answer: flag, and only then")
    return head
