"""Where a sweep's jobs run: here, on a Ray cluster, or under Slurm, in one table.

Each launcher yields an outcome as soon as a job has ended; a job that failed, however it did, is an
outcome and not an error. Ray and submitit are imported where they are asked for.
"""

import importlib
import importlib.util
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spillover.errors import ConfigError
from spillover.study.sweep.jobs import JobOutcome, RunningJob, SweepJob, execute, start_job


@dataclass(frozen=True, kw_only=True)
class LaunchSettings:
    """How jobs are launched."""

    n_jobs: int
    "At a time, at most."
    options: Mapping[str, Any]
    """Resources of a job, in the words of the launcher: Ray's `num_cpus`, `num_gpus`, or submitit's
    `slurm_partition`, `timeout_min`, `gpus_per_node` and so on. None are taken for local jobs."""
    folder: Path
    "For the launcher's own files."


Launcher = Callable[[Sequence[SweepJob], LaunchSettings], Iterator[JobOutcome]]


@dataclass(frozen=True)
class LauncherKind:
    """One row of the table."""

    launch: Launcher
    package: str | None
    "What it needs besides Spillover's own dependencies."
    extra: str = ""
    "Which extra of Spillover installs that."


def run_locally(jobs: Sequence[SweepJob], settings: LaunchSettings) -> Iterator[JobOutcome]:
    """Run jobs as processes of this machine, cores and GPUs shared out among them."""
    if settings.options:
        raise ConfigError(f"launcher local: takes no options, got {', '.join(settings.options)}")
    waiting, running = deque(jobs), dict[int, RunningJob]()
    shares = environments(settings.n_jobs, gpus=_visible_gpus())
    try:
        while waiting or running:
            free = [slot for slot in range(settings.n_jobs) if slot not in running]
            for slot in free[: len(waiting)]:
                running[slot] = start_job(waiting.popleft(), environment=shares[slot])
            ended = [slot for slot, job in running.items() if job.process.poll() is not None]
            for slot in ended:
                yield running.pop(slot).outcome()
            if not ended:
                time.sleep(0.1)
    finally:  # Ctrl-C, or a caller that wants no more.
        for job in running.values():
            job.process.send_signal(signal.SIGINT)
        for job in running.values():
            job.process.wait()


def environments(n_jobs: int, *, gpus: Sequence[str]) -> list[dict[str, str]]:
    """Return the variables of each job at a time: one GPU in turn, and its part of the cores.

    Example:
        >>> environments(3, gpus=["0", "1"])[2]["CUDA_VISIBLE_DEVICES"]
        '0'
    """
    threads = str(max(1, (os.cpu_count() or 1) // n_jobs))
    shared = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
    return [
        {**shared, **({"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {})}
        for slot in range(n_jobs)
    ]


def _visible_gpus() -> list[str]:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def run_on_ray(jobs: Sequence[SweepJob], settings: LaunchSettings) -> Iterator[JobOutcome]:
    """Run jobs as Ray tasks: on the cluster of `RAY_ADDRESS`, else on one started here."""
    ray: Any = importlib.import_module("ray")
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False)
    remote = ray.remote(execute).options(max_retries=0, **settings.options)
    waiting, running = deque(jobs), dict[Any, SweepJob]()
    try:
        while waiting or running:
            while waiting and len(running) < settings.n_jobs:
                job = waiting.popleft()
                running[remote.remote(job)] = job
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            job = running.pop(done)
            try:
                yield ray.get(done)
            except ray.exceptions.RayError as error:
                yield _lost(job, error)
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        if started:
            ray.shutdown()


def run_on_slurm(jobs: Sequence[SweepJob], settings: LaunchSettings) -> Iterator[JobOutcome]:
    """Run jobs as a Slurm array through submitit; `cluster=local` tries it without Slurm."""
    submitit: Any = importlib.import_module("submitit")
    options = dict(settings.options)
    cluster = options.pop("cluster", "slurm")
    executor = submitit.AutoExecutor(folder=settings.folder / "%j", cluster=cluster)
    if cluster == "slurm":
        options = {"slurm_array_parallelism": settings.n_jobs, **options}
    executor.update_parameters(name="spillover-sweep", **options)
    with executor.batch():
        submitted = [executor.submit(execute, job) for job in jobs]
    running = dict(zip(submitted, jobs, strict=True))
    try:
        while running:
            ended = [handle for handle in running if handle.done()]
            for handle in ended:
                yield _submitit_outcome(handle, running.pop(handle))
            if not ended:
                time.sleep(1.0)
    finally:
        for handle in running:
            handle.cancel()


def _submitit_outcome(handle: Any, job: SweepJob) -> JobOutcome:
    failures: Any = importlib.import_module("submitit.core.utils")
    try:
        outcome: JobOutcome = handle.result()
    except (failures.FailedJobError, failures.UncompletedJobError) as error:
        return _lost(job, error)
    return outcome


def _lost(job: SweepJob, error: BaseException) -> JobOutcome:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return JobOutcome(name=job.name, error=f"the worker was lost: {first}", seconds=0.0)


LAUNCHERS: dict[str, LauncherKind] = {
    "local": LauncherKind(run_locally, None),
    "ray": LauncherKind(run_on_ray, "ray", "ray"),
    "slurm": LauncherKind(run_on_slurm, "submitit", "slurm"),
}


def find_launcher(name: str) -> Launcher:
    """Return a launcher of the table.

    Raises:
        ConfigError: If it is not known, or its package is not installed.
    """
    if name not in LAUNCHERS:
        raise ConfigError(f"launcher {name!r} is not known; choose one of {', '.join(LAUNCHERS)}")
    kind = LAUNCHERS[name]
    if kind.package is not None and importlib.util.find_spec(kind.package) is None:
        raise ConfigError(
            f"launcher {name!r} needs the package {kind.package}; "
            f"pip install 'spillover[{kind.extra}]'"
        )
    return kind.launch
