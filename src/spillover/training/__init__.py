"""Training on forget and retain examples: schedules, losses, objectives, references, one run."""

from spillover.training.activation_losses import (
    control_vector,
    rmu_forget_loss,
    rmu_retain_loss,
)
from spillover.training.adapters import AdapterSettings, LoraSettings, SteeringSettings
from spillover.training.batching import TrainingUnit, forget_retain_schedule
from spillover.training.dense_checkpoints import DenseCheckpoints
from spillover.training.losses import (
    cross_entropy_loss,
    dpo_loss,
    gradient_ascent_loss,
    kl_retain_loss,
    npo_loss,
    simnpo_loss,
    token_kl,
)
from spillover.training.monitor import FirstTokenMonitor, first_token_kl
from spillover.training.objectives import OBJECTIVES, Objective, make_objective
from spillover.training.references import (
    FrozenModel,
    Reference,
    adapter_off_model,
    adapter_off_reference,
    checkpoint_reference,
    precomputed_reference,
    second_model,
)
from spillover.training.responses import LayerStates, LogprobUnit, Responses
from spillover.training.train import (
    MonitorSettings,
    TrainingSettings,
    reference_logprobs,
    train,
)
from spillover.training.trainer import SpilloverTrainer

__all__ = [
    "OBJECTIVES",
    "AdapterSettings",
    "DenseCheckpoints",
    "FirstTokenMonitor",
    "FrozenModel",
    "LayerStates",
    "LogprobUnit",
    "LoraSettings",
    "MonitorSettings",
    "Objective",
    "Reference",
    "Responses",
    "SpilloverTrainer",
    "SteeringSettings",
    "TrainingSettings",
    "TrainingUnit",
    "adapter_off_model",
    "adapter_off_reference",
    "checkpoint_reference",
    "control_vector",
    "cross_entropy_loss",
    "dpo_loss",
    "first_token_kl",
    "forget_retain_schedule",
    "gradient_ascent_loss",
    "kl_retain_loss",
    "make_objective",
    "npo_loss",
    "precomputed_reference",
    "reference_logprobs",
    "rmu_forget_loss",
    "rmu_retain_loss",
    "second_model",
    "simnpo_loss",
    "token_kl",
    "train",
]
