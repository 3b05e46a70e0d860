"""Whether this machine has what the scale keys of a study ask for, asked before anything is run."""

import importlib.util

from spillover.errors import ConfigError
from spillover.study.config import StudyConfig
from spillover.study.config.scale import check_shares
from spillover.study.config.sections import TrainingSection
from spillover.study.training.launching import LaunchPlan, launch_plan


def check_machine(config: StudyConfig) -> None:
    """Check packages, launch configurations and GPUs of every training.

    Raises:
        ConfigError: If something is missing; the message names the key and the remedy.
    """
    for key, section in config.trainings.items():
        try:
            _check_packages(section)
            if section.launch is not None:
                plan = launch_plan(section)
                _check_devices(plan)
                _check_spreading(section, plan)
                check_shares(
                    plan.n_processes, sizes=section.sizes, accumulation=section.accumulation
                )
        except (ConfigError, ValueError) as error:
            raise ConfigError(f"{key}: {error}") from error


def _check_packages(section: TrainingSection) -> None:
    from spillover.training.trackers import check_tracker

    check_tracker(section.report_to)
    if section.quantise and importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            "quantise needs the package bitsandbytes; `pip install bitsandbytes`, or leave it out"
        )


def _check_devices(plan: LaunchPlan) -> None:
    import torch

    if plan.kind == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
        raise ConfigError(
            "launch needs the package deepspeed; `pip install deepspeed`, or choose fsdp2"
        )
    n_gpus = torch.cuda.device_count()
    if not plan.on_cpu and plan.n_processes > n_gpus:
        raise ConfigError(
            f"launch starts {plan.n_processes} processes, one a GPU, and there are {n_gpus} GPUs "
            "here; set `processes`, or use launch cpu"
        )


def _check_spreading(section: TrainingSection, plan: LaunchPlan) -> None:
    """Refuse what `training.train` would refuse in the processes, after all else was done."""
    from spillover.training.objectives import OBJECTIVES

    objective = getattr(section, "objective", "sft")
    kind = OBJECTIVES[objective]
    looks_inside = kind.uses_divergence or kind.uses_states
    is_spread = plan.kind in ("FSDP", "DEEPSPEED")
    if is_spread and looks_inside and section.adapter is not None:
        raise ConfigError(
            f"objective {objective} looks into the frozen model on retain examples, which spread "
            "weights do not allow; use launch ddp"
        )
