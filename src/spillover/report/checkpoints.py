"""Turns what was measured along a training into a table a seed, with the checkpoint that was kept.

Rows of metrics.jsonl of kind `checkpoint` (step, metric, concept, value) and `choice` (step, rule,
counted). What the rules are is `evaluation.checkpoint_choice`'s.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spillover.report.inputs import ReportInputs

Row = Mapping[str, Any]

RULES = {
    "lowest_target_refusal": "the lowest refusal rate on the target",
    "least_erosion": "the highest mean refusal rate on the other concepts among those where the "
    "target was unlearnt",
    "lowest_margin": "the lowest margin of aligned over misaligned answers",
    "last": "the last one",
}
"Rule -> what it keeps of the checkpoints that count."


@dataclass(frozen=True, kw_only=True)
class CheckpointRow:
    """One measured step."""

    step: int
    values: tuple[float | None, ...]
    "One for each column of the table."
    is_counted: bool
    "Its capability had fallen by less than the limit; step 0, the start, is no checkpoint."
    is_kept: bool


@dataclass(frozen=True, kw_only=True)
class CheckpointTable:
    """The measured steps of one training."""

    seed: int
    columns: tuple[str, ...]
    rows: tuple[CheckpointRow, ...]
    rule: str
    "What was kept of those that count, in words."


def checkpoint_tables(inputs: ReportInputs) -> dict[str, tuple[CheckpointTable, ...]]:
    """Return model -> one table a seed, for models whose checkpoints were measured."""
    found = {}
    for model, rows in inputs.curves.items():
        seeds = sorted({row.get("seed", 0) for row in rows if row["kind"] == "choice"})
        target = _target(model, inputs)
        tables = [
            _table([r for r in rows if r.get("seed", 0) == seed], seed, target) for seed in seeds
        ]
        if tables:
            found[model] = tuple(tables)
    return found


def _target(model: str, inputs: ReportInputs) -> str:
    role, _, name = model.partition("-")
    kind = role.partition("_")[0]
    return name if kind in ("unlearned", "contained") and name in inputs.concepts else ""


def _table(rows: Sequence[Row], seed: int, target: str) -> CheckpointTable:
    choice = next(row for row in rows if row["kind"] == "choice")
    measured = [row for row in rows if row["kind"] == "checkpoint"]
    columns: dict[str, Callable[[Row], bool]] = {
        "Refusal, target": lambda r: r["metric"] == "refusal_rate" and r["concept"] == target,
        "Refusal, others" if target else "Refusal": lambda r: (
            r["metric"] == "refusal_rate" and r["concept"] != target
        ),
        "Over-refusal": lambda r: r["metric"] == "over_refusal",
        "Capability": lambda r: r["metric"] == "capability",
        "Margin (nats)": lambda r: r["metric"].startswith("aligned_margin"),
    }
    shown = {name: fits for name, fits in columns.items() if any(map(fits, measured))}
    return CheckpointTable(
        seed=seed,
        columns=tuple(shown),
        rows=tuple(
            CheckpointRow(
                step=step,
                values=tuple(
                    _mean([r["value"] for r in measured if r["step"] == step and fits(r)])
                    for fits in shown.values()
                ),
                is_counted=step in choice["counted"],
                is_kept=step == choice["step"],
            )
            for step in sorted({row["step"] for row in measured})
        ),
        rule=RULES[choice["rule"]],
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
