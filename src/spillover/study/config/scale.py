"""The keys of a training that say in how many processes and in how much memory: which fit together.

They do not say what is trained, so that most of them are no part of what a stage is known by. What
a machine has is asked by `training.scale_checks`, once a study is to be run.
"""

from collections.abc import Mapping
from typing import Literal

Tracker = Literal["none", "trackio", "tensorboard", "wandb", "mlflow"]
"`training.trackers.TRACKERS`, which cannot be imported where studies are only read."

LAUNCHES = {"cpu": 2, "ddp": 8, "fsdp2": 8, "zero2": 8, "zero3": 8}
"Launch configuration that comes with the package -> its number of processes."

SPREADING = ("fsdp2", "zero3")
"Those that spread the weights, which weights in four bits do not allow."

SCALE_KEYS = ("launch", "processes", "quantise", "checkpoint_activations", "report_to")

UNSEEN_KEYS = set(SCALE_KEYS) - {"quantise"}
"Those that change no result but for the order of sums: a run goes on with others."


def check_quantised(*, launch: str | None, has_adapter: bool) -> None:
    """Check that weights in four bits are neither trained nor spread over devices.

    Raises:
        ValueError: If they are.
    """
    if not has_adapter:
        raise ValueError(
            "quantise: weights in four bits cannot be trained; give an `adapter`, or leave it out"
        )
    if launch in SPREADING:
        raise ValueError(
            f"quantise: launch {launch} spreads the weights over devices, which four bits do not "
            "allow; use ddp"
        )


def check_launch(
    launch: str | None, processes: int | None, *, sizes: Mapping[str, int], accumulation: int
) -> None:
    """Check how a training is launched, and that the processes can share its steps.

    Args:
        launch: A key of `LAUNCHES`, a file, or None.
        processes: In place of the configuration's own number.
        sizes: Key -> examples of a step that processes share out.
        accumulation: Backward passes a step.

    Raises:
        ValueError: If they do not fit; the message names key, rule and remedy.
    """
    if launch is None:
        if processes is not None:
            raise ValueError(
                f"processes is {processes}, but nothing is launched; give `launch`, such as cpu "
                "or ddp, or leave it out"
            )
        return
    if launch not in LAUNCHES and not launch.endswith((".yaml", ".yml")):
        raise ValueError(
            f"launch: {launch!r} is not known; choose one of {', '.join(LAUNCHES)}, or give a "
            ".yaml file of `accelerate config`"
        )
    n_processes = processes or LAUNCHES.get(launch)
    if n_processes is not None:  # What a file says is read when the study is run.
        check_shares(n_processes, sizes=sizes, accumulation=accumulation)


def check_shares(n_processes: int, *, sizes: Mapping[str, int], accumulation: int) -> None:
    """Check that each of some processes gets equally many examples of a step.

    Raises:
        ValueError: If they cannot.
    """
    if sum(sizes.values()) % (n_processes * accumulation):
        times = f" times accumulation {accumulation}" if accumulation > 1 else ""
        given = " plus ".join(f"{key} {size}" for key, size in sizes.items())
        raise ValueError(
            f"processes: {n_processes}{times} must divide {given}, so that each process keeps the "
            "exact ratio; change one of them"
        )


def check_alone(key: str, *, method: str, selects: bool) -> None:
    """Check that a launched training needs nothing that only one process can do.

    Args:
        key: That launches it.
        method: Of a containment; `retain_loss` for all else.
        selects: Whether its checkpoints are measured.

    Raises:
        ValueError: If it does.
    """
    if method != "retain_loss":
        raise ValueError(
            f"{key}: method {method} is trained in one process only; leave `launch` out, or choose "
            "method retain_loss"
        )
    if selects:
        raise ValueError(
            f"{key}: `select` measures checkpoints in one process only; leave out `launch`, or set "
            "select to null"
        )
