"""The numbers behind each of the report's figures, as rows, by the name of the figure.

Names are those of `figures.all_figures`; pictures are drawn there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from spillover.records import Comparison
from spillover.report.chains import Chain, chains, profile_models
from spillover.report.inputs import ReportInputs
from spillover.report.pooling import estimates

Rows = list[dict[str, Any]]
_LOSS_KEYS = ("step", "seed", "loss", "forget_loss", "retain_loss")
_DRIFT_KEYS = ("step", "seed", "concept", "metric", "value", "ci_low", "ci_high", "n")


def figure_tables(inputs: ReportInputs) -> dict[str, Rows]:
    """Return the rows of every figure: rates, changes, losses or drifts, with interval and n."""
    found: dict[str, Rows] = {}
    for target in inputs.target_concepts or ("",):
        suffix = f"-{target}" if target else ""
        found[f"profile{suffix}"] = found[f"radar{suffix}"] = _rates(inputs, target)
    for chain in chains(inputs):
        found[f"change-{chain.target}"] = _changes(chain)
    for target in dict.fromkeys(result.target for result in inputs.containments):
        found[f"containments-{target}"] = _containments(inputs, target)
    for model, rows in inputs.curves.items():
        found[f"loss-{model}"] = _curve(rows, "train", _LOSS_KEYS)
        found[f"drift-{model}"] = _curve(rows, "monitor", _DRIFT_KEYS)
    return found


def _containments(inputs: ReportInputs, target: str) -> Rows:
    measured = ("effect", "recovery", "gain", "over_refusal", "capability_loss")
    return [
        {"number": row.number, "containment": row.title, "method": row.method}
        | {
            f"{name}{end}": getattr(getattr(row, name), part)
            for name in measured
            for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
        | {"seconds": row.seconds, "peak_gib": row.peak_gib, "on_front": row.is_on_front}
        for row in inputs.containments
        if row.target == target
    ]


def _rates(inputs: ReportInputs, target: str) -> Rows:
    rates = estimates(inputs.scores)
    keys = [(m, c) for m in profile_models(inputs, target=target) for c in inputs.concepts]
    return [
        {
            "model": model,
            "concept": concept,
            "refusal_rate": rate.value,
            "ci_low": rate.low,
            "ci_high": rate.high,
            "n": rate.n,
            "n_invalid": rate.n_invalid,
            "n_seeds": rate.n_seeds,
        }
        for model, concept in keys
        if (rate := rates.get((model, "refusal_rate", concept))) is not None
    ]


def _changes(chain: Chain) -> Rows:
    return [_change(row) for row in (*chain.erosion, *chain.erosion_left)]


def _change(row: Comparison) -> dict[str, Any]:
    return {
        "before": row.before,
        "after": row.after,
        "concept": row.concept,
        "delta": row.delta,
        "ci_low": row.ci_low,
        "ci_high": row.ci_high,
        "p_holm": row.p_holm,
        "n": row.n,
    }


def _curve(rows: Sequence[Mapping[str, Any]], kind: str, keys: Sequence[str]) -> Rows:
    return [{key: row.get(key) for key in keys} for row in rows if row["kind"] == kind]
