"""Running single stages of a study in a folder that has what they need."""

from spillover.study.progress import quiet_reporter
from spillover.study.runner.plan import plan_study
from spillover.study.stages.context import Context


def context_of(config, folder):
    """Return a context that shows nothing."""
    return Context(config=config, folder=folder, reporter=quiet_reporter())


def run_stage(context, name):
    """Run one stage of the plan, whatever was done before."""
    (stage,) = [s for s in plan_study(context.config, context.folder) if s.name == name]
    stage.run(context)
