"""Training on forget and retain examples: schedules, losses, objectives, references, one run."""

from spillover.training.batching import TrainingUnit, forget_retain_schedule
from spillover.training.losses import cross_entropy_loss, gradient_ascent_loss, npo_loss
from spillover.training.monitor import FirstTokenMonitor, first_token_kl
from spillover.training.objectives import OBJECTIVES, Objective, Responses, make_objective
from spillover.training.references import (
    Reference,
    adapter_off_reference,
    checkpoint_reference,
    precomputed_reference,
)
from spillover.training.train import (
    LoraSettings,
    MonitorSettings,
    TrainingSettings,
    reference_logprobs,
    train,
)
from spillover.training.trainer import SpilloverTrainer

__all__ = [
    "OBJECTIVES",
    "FirstTokenMonitor",
    "LoraSettings",
    "MonitorSettings",
    "Objective",
    "Reference",
    "Responses",
    "SpilloverTrainer",
    "TrainingSettings",
    "TrainingUnit",
    "adapter_off_reference",
    "checkpoint_reference",
    "cross_entropy_loss",
    "first_token_kl",
    "forget_retain_schedule",
    "gradient_ascent_loss",
    "make_objective",
    "npo_loss",
    "precomputed_reference",
    "reference_logprobs",
    "train",
]
