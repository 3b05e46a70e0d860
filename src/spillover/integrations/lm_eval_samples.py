"""Turns the samples that lm-eval logged, of any task, into answers, scores and rows to judge.

lm-eval writes `samples_<task>_<time>.jsonl` under `--output_path` with `--log_samples`. Choices are
counted as lm-eval counted them (`acc`); generated text comes as it was, before lm-eval's filters,
for our judges. lm-eval itself is not needed. What other metrics mean is not guessed at.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spillover.errors import DataError
from spillover.evaluation.capability import subject_scores
from spillover.files import read_jsonl, write_jsonl
from spillover.records import Answer, Score
from spillover.study.artifacts import RunFolder, save_records, save_scores

JUDGE = "lm_eval"
_FILE = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT[^_]*\.jsonl")


@dataclass(frozen=True, kw_only=True)
class ImportedSamples:
    """What was found in the samples of one model."""

    model: str
    answers: tuple[Answer, ...]
    "To multiple choice; the subject is the task."
    rows: tuple[dict[str, Any], ...]
    "Generated text with its prompt, as `spillover judge` reads it."

    @property
    def scores(self) -> list[Score]:
        """Accuracy by task and over all, with Wilson's interval."""
        if not self.answers:
            return []
        return subject_scores(self.answers, model=self.model, seed=0, concept="all", judge=JUDGE)


def import_samples(
    source: Path, out: Path, *, model: str | None = None, concept: str | None = None
) -> ImportedSamples:
    """Read samples and write what is in them under `out`.

    Args:
        source: A samples file, or the folder in which they lie.
        out: Gets `answers/<model>.jsonl` and `scores.json`, or `rows.jsonl`, or all three.
        model: The model's name; None for that of the folder, as lm-eval chose it.
        concept: Key of lm-eval's `doc` that holds a prompt's concept; None for the task's name.

    Raises:
        DataError: If there are no samples, or a line is none of lm-eval's; it names the line.
        StorageError: If `out` cannot be written.
    """
    found = read_samples(source, model=model, concept=concept)
    folder = RunFolder(out)
    if folder.study.exists():
        raise DataError(f"{out}: holds the run of a study; choose another --out")
    if found.answers:
        save_records(folder.answers(found.model), found.answers)
        save_scores(folder.scores, found.scores)
    if found.rows:
        write_jsonl(out / "rows.jsonl", found.rows)
    return found


def read_samples(
    source: Path, *, model: str | None = None, concept: str | None = None
) -> ImportedSamples:
    """Read samples; arguments and errors as of `import_samples`."""
    answers: dict[str, Answer] = {}
    rows: dict[str, dict[str, Any]] = {}
    files = sample_files(source)
    name = model or files[0].parent.name or "model"
    for file in files:
        task = _task_of(file)
        for number, sample in read_jsonl(file):
            where = f"{file}:{number}"
            identity = f"{task}/{_required(sample, 'doc_id', where=where)}"
            if _has_choices(sample):
                answers[identity] = _answer(sample, identity, task=task, where=where)
            else:
                # Each filter of a task logs the same text once more.
                rows |= _rows(sample, identity, model=name, task=task, concept=concept, where=where)
    if not answers and not rows:
        raise DataError(f"{source}: has no samples in it; run lm-eval with --log_samples")
    return ImportedSamples(model=name, answers=tuple(answers.values()), rows=tuple(rows.values()))


def sample_files(source: Path) -> list[Path]:
    """Return the samples files at `source`, of each task the newest.

    Raises:
        DataError: If there are none, or they lie in several folders, which are several models'.
    """
    if source.is_file():
        return [source]
    newest = {_task_of(file): file for file in sorted(source.rglob("samples_*.jsonl"))}
    folders = sorted({file.parent for file in newest.values()})
    if not folders:
        raise DataError(
            f"{source}: no samples_*.jsonl there; run lm-eval with --log_samples and --output_path"
        )
    if len(folders) > 1:
        raise DataError(
            f"{source}: has the samples of {len(folders)} models; give the folder of one: "
            f"{', '.join(folder.name for folder in folders)}"
        )
    return list(newest.values())


def _task_of(file: Path) -> str:
    found = _FILE.fullmatch(file.name)
    return found["task"] if found else file.stem


def _required(sample: Mapping[str, Any], key: str, *, where: str) -> Any:
    if key not in sample:
        raise DataError(
            f"{where}: has no field {key!r}, so it is no sample of lm-eval's; give a "
            "samples_*.jsonl that it wrote with --log_samples"
        )
    return sample[key]


def _has_choices(sample: Mapping[str, Any]) -> bool:
    """Whether lm-eval compared log-probabilities: pairs of a number and whether it was greedy."""
    found = sample.get("filtered_resps")
    if "acc" not in sample or not isinstance(found, list) or not found:
        return False
    return all(isinstance(pair, list) and len(pair) == 2 for pair in found)


def _answer(sample: Mapping[str, Any], identity: str, *, task: str, where: str) -> Answer:
    logprobs = [_number(pair[0], where=where) for pair in sample["filtered_resps"]]
    return Answer(
        id=identity,
        subject=task,
        chosen=max(range(len(logprobs)), key=logprobs.__getitem__),
        is_correct=_number(sample["acc"], where=where) > 0,
    )


def _number(value: object, *, where: str) -> float:
    """Read a number, which lm-eval logs as text."""
    try:
        found = float(str(value))
    except ValueError:
        found = math.nan
    if math.isnan(found):
        raise DataError(f"{where}: {str(value)[:40]!r} is no log-probability or accuracy")
    return found


def _rows(
    sample: Mapping[str, Any],
    identity: str,
    *,
    model: str,
    task: str,
    concept: str | None,
    where: str,
) -> dict[str, dict[str, Any]]:
    """Return one row a response, `<id>#<number>` where there are several."""
    texts = _texts(_required(sample, "resps", where=where))
    names = [identity] if len(texts) == 1 else [f"{identity}#{i}" for i in range(len(texts))]
    doc = sample.get("doc")
    own = doc.get(concept) if isinstance(doc, Mapping) and concept else None
    shared = {
        "prompt": _prompt(sample, where=where),
        "concept": task if own is None else str(own),
        "model": model,
    }
    pairs = zip(names, texts, strict=True)
    return {name: {"id": name, "response": text, **shared} for name, text in pairs}


def _texts(responses: object) -> Sequence[str]:
    """Return the strings in nested lists, in order."""
    if isinstance(responses, list):
        return [text for inner in responses for text in _texts(inner)]
    return [str(responses)]


def _prompt(sample: Mapping[str, Any], *, where: str) -> str:
    """Return what the model was given, which may hold a chat template and examples."""
    arguments = _required(sample, "arguments", where=where)
    first: object = arguments
    for _ in range(2):  # {"gen_args_0": {"arg_0": prompt, ...}}, or lists of lists.
        values: Iterable[object] = ()
        if isinstance(first, Mapping):
            values = first.values()
        elif isinstance(first, list):
            values = first
        first = next(iter(values), None)
    if not isinstance(first, str) or not first:
        raise DataError(f"{where}: field 'arguments' holds no prompt")
    return first
