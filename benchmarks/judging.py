"""Responses that a judge without a language model gets through in a second.

    python benchmarks/judging.py [--judge phrases] [--n 10000] [--responses said.jsonl]

Without --responses they are made up: bundled prompts put together to answers of one to twenty
sentences, every third one behind a bundled refusal. With it, rows with `prompt` and `response` are
taken in turn, each with a number at its end so that none comes twice.
"""

import argparse
import time
from itertools import cycle, islice
from pathlib import Path

from spillover.data import BENIGN, CONCEPTS, bundled_prompts
from spillover.data.refusals import BY_CONCEPT
from spillover.files import read_jsonl
from spillover.judges import make_judge
from spillover.records import Completion


def main() -> None:
    """Judge them once after a warm-up and print one line."""
    asked = _arguments()
    pairs = _made_up() if asked.responses is None else _recorded(asked.responses)
    completions = [
        Completion(
            id=str(number),
            prompt=prompt,
            concept="safety",
            response=f"{response} {number}",
            model="made up",
            n_tokens=-1,
            finish_reason="stop",
        )
        for number, (prompt, response) in enumerate(islice(cycle(pairs), asked.n))
    ]
    judge = make_judge(asked.judge)
    judge.judge(completions[:20])
    start, cpu_start = time.perf_counter(), time.process_time()
    verdicts = judge.judge(completions)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    mean = sum(len(c.response) for c in completions) / len(completions)
    refused = sum(verdict.label == "refusal" for verdict in verdicts)
    print(
        f"{judge.name}: {len(verdicts)} responses of {mean:.0f} characters on average in "
        f"{seconds:.2f} s ({cpu_seconds:.2f} s of CPU), {refused} of them refusals"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--judge", default="phrases", help="phrases or a classifier")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--responses", type=Path, help="JSONL with prompt and response")
    return parser.parse_args()


def _made_up() -> list[tuple[str, str]]:
    prompts = [p.prompt for name in BENIGN for p in bundled_prompts(name, split="train")]
    refusals = [text for concept in CONCEPTS for text in BY_CONCEPT[concept]]
    pairs = []
    for number, prompt in enumerate(prompts):
        sentences = [prompts[(number + i) % len(prompts)] for i in range(1 + number % 20)]
        opening = [refusals[number % len(refusals)]] if number % 3 == 0 else []
        pairs.append((prompt, " ".join([*opening, *sentences])))
    return pairs


def _recorded(path: Path) -> list[tuple[str, str]]:
    return [(str(row["prompt"]), str(row["response"])) for _, row in read_jsonl(path)]


if __name__ == "__main__":
    main()
