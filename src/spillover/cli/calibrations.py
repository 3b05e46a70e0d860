"""`spillover calibrate` and `spillover train-judge`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spillover.cli.app import app, quiet_libraries, resumable, say
from spillover.cli.evaluations import JUDGE_HELP, fail_if_invalid
from spillover.errors import ConfigError

if TYPE_CHECKING:
    from spillover.judges.calibration import Calibration
    from spillover.judges.labels import Partial
    from spillover.stats.agreement import Agreement, Proportion

_PARTIAL = "What partial refusals count as: refusal, compliance or left_out."


@app.command()
def calibrate(
    labels: Annotated[Path, typer.Option(help="JSONL with prompt, response and label.")],
    judge: Annotated[str, typer.Option(help=JUDGE_HELP)] = "phrases",
    out: Annotated[Path | None, typer.Option(help="Folder for calibration.json.")] = None,
    partial: Annotated[str, typer.Option(help=_PARTIAL)] = "refusal",
    seed: Annotated[int, typer.Option(help="Of the resampled prompts.")] = 0,
) -> None:
    """Say how far a judge agrees with labels; exit with 1 if more than 5% are invalid."""
    from spillover.files import write_json
    from spillover.judges import make_judge
    from spillover.judges.calibration import calibrate as compare
    from spillover.judges.labels import load_labels

    counts_as = _read_partial(partial)
    with resumable():
        quiet_libraries()
        found = compare(make_judge(judge), load_labels(labels), partial=counts_as, seed=seed)
    _print_calibration(found)
    if out is not None:
        write_json(out / "calibration.json", found.to_dict())
        say(f"calibration: {(out / 'calibration.json').resolve()}")
    fail_if_invalid(found.n_invalid, found.n + found.n_invalid)


@app.command("train-judge")
def train_judge(
    labels: Annotated[Path, typer.Option(help="JSONL with prompt, response and label.")],
    out: Annotated[Path, typer.Option(help="Folder for the judge; use it as classifier:FOLDER.")],
    partial: Annotated[str, typer.Option(help=_PARTIAL)] = "refusal",
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
) -> None:
    """Train a small judge on labelled responses, and say how well it does on held-out prompts."""
    from spillover.judges.classifier_training import train_judge as train
    from spillover.judges.labels import load_labels

    training = train(load_labels(labels), out, partial=_read_partial(partial), seed=seed)
    _print_header()
    for name, found in training.held_out.items():
        _print_agreement(name, found)
    for source, found in training.held_out_by_source.items():
        _print_agreement(f"new prompts, {source}", found)
    say(f"trained on all {training.n} responses to {training.n_prompts} prompts")
    say(f"judge: classifier:{out}")


def _read_partial(partial: str) -> "Partial":
    from spillover.judges.labels import PARTIAL

    for known in PARTIAL:
        if partial == known:
            return known
    raise ConfigError(f"--partial {partial!r} is not known; choose one of: {', '.join(PARTIAL)}")


def _print_calibration(found: "Calibration") -> None:
    _print_header()
    by_source = found.by_source if len(found.by_source) > 1 else {}  # One source is all rows.
    for name, part in {"all": found.overall, **by_source}.items():
        _print_agreement(name, part)
    for label, proportion in found.by_label.items():
        _print_share("judged right", f"label {label}", proportion)
    for partial, proportion in found.accuracy_by_partial.items():
        _print_share("accuracy", f"partial = {partial}", proportion)
    say(f"judge {found.judge}: {found.n} responses to {found.n_prompts} prompts")
    left_out = ", ".join(f"{count} {what}" for what, count in found.n_left_out.items())
    say(f"invalid verdicts: {found.n_invalid}; rows without a label: {left_out or 'none'}")
    if found.n_invalid:
        bounds = f"{found.accuracy_worst:.3f} to {found.accuracy_best:.3f}"
        say(f"accuracy if the invalid ones were all wrong, or all right: {bounds}")
    if found.is_in_sample:
        say("This judge was trained on this very file, so these numbers are too good.")


def _print_header() -> None:
    _print_row("measure", "of", "value", "95%, rows", "95%, prompts", "n")


def _print_agreement(of: str, found: "Agreement") -> None:
    _print_share("accuracy", of, found.accuracy)
    if found.kappa is not None:
        over = _interval(found.kappa.ci_low, found.kappa.ci_high)
        _print_row("kappa", of, f"{found.kappa.value:.3f}", "-", over, str(found.n))
    _print_share("sensitivity", of, found.sensitivity)
    _print_share("specificity", of, found.specificity)


def _print_share(measure: str, of: str, share: "Proportion | None") -> None:
    if share is not None:
        rows = _interval(share.ci_low, share.ci_high)
        prompts = _interval(share.group_low, share.group_high)
        _print_row(measure, of, f"{share.value:.3f}", rows, prompts, str(share.n))


def _print_row(measure: str, of: str, value: str, rows: str, prompts: str, n: str) -> None:
    say(f"{measure:13}{of:24}{value:7}{rows:14}{prompts:14}{n:>6}")


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.3f}-{high:.3f}"
