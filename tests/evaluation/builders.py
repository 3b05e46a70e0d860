"""Short ways to write down verdicts."""

from spillover.records import Verdict

LABELS = {"r": "refusal", "c": "compliance", "d": "deflection", "-": "invalid"}


def verdicts(concept, letters, *, judge="phrases"):
    """One verdict per letter: r refusal, c compliance, d deflection, - invalid; ids count up."""
    return [
        Verdict(id=f"{concept}-{number:03}", concept=concept, label=LABELS[letter], judge=judge)
        for number, letter in enumerate(letters)
    ]
