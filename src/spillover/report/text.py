"""Numbers and strangers' text as words that are safe and plain to read.

Knows nothing of HTML: escaping of markup is the template's.
"""

import re
from collections.abc import Sequence

from spillover.data.concepts import FLAGGED_CONCEPTS

MISSING = "n/a"
POOLED_BENIGN = "benign"
"Concept under which all benign prompts together are scored; the sets are called benign_<name>."

# Format characters can hide or reorder text. Zero-width (non-)joiners U+200C and U+200D stay, as
# Persian, Indic scripts and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    r"""Show control, bidirectional and invisible characters and lone surrogates as escapes.

    Tabs and line feeds stay; CRLF becomes a line feed.

    Example:
        >>> visible("safe\u202eknab\x1b[2J")
        'safe\\u202eknab\\u001b[2J'
    """
    return _UNSAFE.sub(_escape, text.replace("\r\n", "\n"))


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def number(value: float | None) -> str:
    """Return a rate with two decimals and a real minus sign, or `n/a`.

    Example:
        >>> number(0.125), number(-0.001), number(None)
        ('0.12', '0.00', 'n/a')
    """
    if value is None:
        return MISSING
    text = f"{value:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "\u2212")


def limit(value: float) -> str:
    """Return a threshold as its owner wrote it, with all its decimals and no more.

    Example:
        >>> limit(0.15), limit(0.2), limit(0.125)
        ('0.15', '0.2', '0.125')
    """
    return f"{value:g}"


def signed(value: float | None) -> str:
    """Return a change with its sign.

    Example:
        >>> signed(0.125), signed(0.0)
        ('+0.12', '0.00')
    """
    text = number(value)
    return f"+{text}" if value is not None and value > 0 and text != "0.00" else text


def interval(low: float | None, high: float | None) -> str:
    """Return `[low, high]`, or nothing where there is no interval.

    Example:
        >>> interval(0.1, 0.25)
        '[0.10, 0.25]'
    """
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Return `0.82 [0.74, 0.90]`."""
    return f"{number(value)} {interval(low, high)}".rstrip()


def change_with_interval(value: float | None, low: float | None, high: float | None) -> str:
    """Return `+0.12 [0.02, 0.20]`: as `with_interval`, the change itself with its sign."""
    return f"{signed(value)} {interval(low, high)}".rstrip()


def p_value(value: float | None) -> str:
    """Return a p-value with three decimals, or `< 0.001`."""
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def words(name: str) -> str:
    """Return a name such as `benign_plain` as words on one line, control characters shown."""
    return visible(" ".join(name.replace("_", " ").split()))


_METRICS = {
    "over_refusal": "over-refusal",
    "code_leak": "code where none was asked for",
    "first_token_kl": "first-token KL",
    "aligned_margin_pivotal": "alignment margin",
    "aligned_preference_pivotal": "preference for aligned endings",
}


def metric_name(metric: str) -> str:
    """Return a metric as words, those with a name in prose by that.

    Example:
        >>> metric_name("over_refusal"), metric_name("refusal_rate")
        ('over-refusal', 'refusal rate')
    """
    return _METRICS.get(metric) or words(metric)


def is_judged_by_harm(judge: str, concept: str) -> bool:
    """Whether a judge asks on a concept if a response does harm, rather than if it refuses.

    Example:
        >>> judge = "llm:by_concept-v1@m"
        >>> is_judged_by_harm(judge, "bias"), is_judged_by_harm(judge, "privacy")
        (True, False)
    """
    rubric = judge.removeprefix("llm:").partition("-v")[0]
    by_concept = rubric == "by_concept" and concept in FLAGGED_CONCEPTS
    return by_concept or rubric == "biased_or_toxic"


def rate_name(judge: str, concept: str) -> str:
    """Return what the share of `refusal` verdicts on a concept is, under a judge."""
    return "harm-free rate" if is_judged_by_harm(judge, concept) else "refusal rate"


def unbroken(prose: str) -> str:
    """Keep intervals such as `[0.10, 0.25]`, and `n 40`, on one line, by a no-break space."""
    kept = re.sub(r"\[(\S+), (\S+)\]", "[\\1,\u00a0\\2]", prose)
    return re.sub(r"\bn (\d)", "n\u00a0\\1", kept)


def concept_title(concept: str) -> str:
    """Return a concept as a heading: `benign_plain` is `plain`, `benign` itself `all benign`.

    Example:
        >>> concept_title("benign_plain"), concept_title("benign"), concept_title("self_harm")
        ('plain', 'all benign', 'self harm')
    """
    if concept in ("", POOLED_BENIGN):
        return "all benign" if concept else "all"
    return words(concept.removeprefix(f"{POOLED_BENIGN}_"))


def listing(items: Sequence[str]) -> str:
    """Join as in a sentence.

    Example:
        >>> listing(["bias", "medical", "legal"])
        'bias, medical and legal'
    """
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def ranges(numbers: Sequence[int]) -> str:
    """Return rising whole numbers with their runs drawn together.

    Example:
        >>> ranges([3]), ranges([1, 2, 5, 6, 7, 9])
        ('3', '1, 2, 5 to 7 and 9')
    """
    runs: list[list[int]] = []
    for value in numbers:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts = []
    for run in runs:
        parts += [f"{run[0]} to {run[-1]}"] if len(run) > 2 else [str(value) for value in run]
    return listing(parts)


def count(n: int, noun: str) -> str:
    """Return `1 prompt`, `3 prompts`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
