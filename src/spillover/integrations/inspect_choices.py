"""Multiple choice by log-probability as an Inspect solver.

Inspect's own scorer `choice` reads what was chosen.
"""

from inspect_ai.model import ModelOutput, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from spillover.errors import ConfigError
from spillover.integrations.inspect_provider import SpilloverAPI
from spillover.integrations.inspect_samples import SUBJECT
from spillover.records import MultipleChoice


@solver
def choose_by_logprob() -> Solver:
    """Choose the answer with the highest log-probability a token; nothing is generated.

    Raises:
        ConfigError: If the model is not a `spillover/` one.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        api = get_model().api
        if not isinstance(api, SpilloverAPI):
            raise ConfigError(
                f"{state.model}: log-probabilities of whole answers need a spillover/ model; "
                "with -T by=letter any model can be asked"
            )
        answer = await api.choose(_question(state))
        for place in range(len(state.choices)):
            state.choices.mark_choice(place, place == answer.chosen)
        chosen = state.choices[answer.chosen].value
        state.output = ModelOutput.from_content(model=str(state.model), content=chosen)
        state.messages.append(state.output.message)
        return state

    return solve


def _question(state: TaskState) -> MultipleChoice:
    """Return the sample as a question; which answer is right plays no part in choosing."""
    return MultipleChoice(
        id=str(state.sample_id),
        subject=str((state.metadata or {}).get(SUBJECT, "")),
        question=state.input_text,
        choices=tuple(choice.value for choice in state.choices),
        answer=0,
    )
