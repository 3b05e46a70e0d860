"""Inspect, run in this process, without a display, servers or the folders of the user."""

from pathlib import Path

from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput, ModelUsage, get_model


def evaluate(task, model, log_dir: Path, *, status="success", **options) -> EvalLog:
    """Run one task; return its log, which must end with the status."""
    (log,) = inspect_eval(
        task,
        model=model,
        display="none",
        log_dir=str(log_dir),
        ctl_server=False,
        acp_server=False,
        **options,
    )
    assert log.status == status, log.error and log.error.message
    return log


def saying(*responses):
    """Return a model that gives these responses, one a request, in order."""
    outputs = [ModelOutput.from_content("mock", response) for response in responses]
    for output in outputs:  # Otherwise tokens are counted with a file that is downloaded.
        output.usage = ModelUsage()
    return get_model("mockllm/mock", custom_outputs=outputs)


def samples(*concepts):
    """Return one sample of each concept, in order."""
    return [
        Sample(id=f"s{place}", input=f"prompt {place}", metadata={"concept": concept})
        for place, concept in enumerate(concepts)
    ]


def metrics(log, score):
    """Return a score's metrics as plain numbers."""
    (found,) = [one for one in log.results.scores if one.name == score]
    return {name: metric.value for name, metric in found.metrics.items()}


def unscored(log, score):
    """Return how many samples Inspect itself counts as unscored."""
    (found,) = [one for one in log.results.scores if one.name == score]
    return found.unscored_samples
