"""What goes on inside models: explanations, directions, steering and forecasts."""

from spillover.study.explaining.analyses import ExplainSettings
from spillover.study.explaining.data import ExplainData, explain_data
from spillover.study.explaining.explanation import explain_models
from spillover.study.explaining.measured import measured_from, measured_in
from spillover.study.explaining.models import open_models

__all__ = [
    "ExplainData",
    "ExplainSettings",
    "explain_data",
    "explain_models",
    "measured_from",
    "measured_in",
    "open_models",
]
