"""One point of a sweep as a process of its own, whatever starts it.

A job is `python -m spillover run` on the point's study file, so that nothing it does can harm the
sweep or another job. It knows no launcher.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from spillover.errors import InputError
from spillover.records import Record
from spillover.study.artifacts import RunFolder
from spillover.study.config import load_study
from spillover.study.sweep.stage_sharing import adopt_stages


@dataclass(frozen=True, kw_only=True)
class SweepJob:
    """What has to be run for one point."""

    name: str
    study: Path
    "The point's resolved study."
    out: Path
    "Its run folder; runs of the same sweep lie beside it."
    log: Path
    "Gets what the run writes to the terminal."
    cwd: Path
    "Where the study's relative paths begin."


@dataclass(frozen=True, kw_only=True)
class JobOutcome(Record):
    """How one job ended."""

    name: str
    error: str
    "Empty where it was done."
    seconds: float
    "Wall time; 0 where it was done before."


@dataclass(frozen=True)
class RunningJob:
    """A job that has been started."""

    job: SweepJob
    process: "subprocess.Popen[bytes]"
    started: float

    def outcome(self) -> JobOutcome:
        """Wait for the job, and say how it ended."""
        code = self.process.wait()
        return JobOutcome(
            name=self.job.name,
            error="" if code == 0 else failure(self.job.log, code),
            seconds=round(time.monotonic() - self.started, 1),
        )


def start_job(job: SweepJob, *, environment: Mapping[str, str] | None = None) -> RunningJob:
    """Start a job after taking over what finished runs of the sweep have made alike.

    Args:
        job: The job.
        environment: Variables on top of this process's.
    """
    finished = sorted(job.out.parent.glob("*/manifest.json"))
    donors = [RunFolder(manifest.parent) for manifest in finished]
    with suppress(InputError):  # What is wrong with a point, its own run says.
        adopt_stages(load_study(job.study), RunFolder(job.out), donors=donors)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "spillover", "run", str(job.study), "--out", str(job.out)]
    with job.log.open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=job.cwd,
            env={**os.environ, **(environment or {})},
        )
    return RunningJob(job, process, time.monotonic())


def execute(job: SweepJob) -> JobOutcome:
    """Start a job and wait for its end; what clusters are given to call."""
    return start_job(job).outcome()


def failure(log: Path, code: int) -> str:
    """Return why a run failed: its error message, else the last line that it wrote."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    messages = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    said = (messages or lines)[-1:] or [""]
    return f"{said[0]} (exit {code}; see {log})" if said[0] else f"exit {code}; see {log}"
