"""What every analysis of an explanation gets, and what it gives back.

An analysis has two halves. *Readings* are taken off one model at a time and kept as tensors; a
*conclusion* works on readings alone. So no two models need to be in memory together, and what was
read once is not read again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spillover.analysis.alignment_directions import Definition
from spillover.analysis.erosion_pairs import MeasuredErosion, pairs_lack
from spillover.errors import ConfigError
from spillover.models.chat import ChatTokens
from spillover.models.loading import LoadedModel
from spillover.records import Record
from spillover.report.explanations import Claim, Exhibit
from spillover.study.explaining.data import ExplainData
from spillover.study.explaining.models import ModelTrio, Role
from spillover.study.explaining.reading_store import ReadingStore, Taken

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class ExplainSettings(Record):
    """How models are read; the defaults take minutes with the embedded model."""

    layers: tuple[int, ...] | None = None
    "Layers that are looked into where all would be slow or too many to show; None spreads them."
    limit: int = 16
    "Responses of each set, and prompts of each concept, at most."
    max_tokens: int = 64
    "Response tokens that are read; the paper's figure."
    max_prompt_tokens: int = 1024
    "Exchanges with longer prompts are left out."
    batch_size: int = 8
    target: str | None = None
    "The concept that tuning was about."
    modules: tuple[str, ...] | None = None
    """Linear modules at which gradients are compared, taken together; None for the attention's
    output projection in the last layer, which is the paper's."""
    definition: Definition = "tokens"
    "Of the alignment direction: each response token is a sample, or all of them are one vector."
    seed: int = 0


@dataclass(frozen=True)
class Case:
    """The models, the data and what has been read of them so far."""

    trio: ModelTrio
    data: ExplainData
    settings: ExplainSettings
    store: ReadingStore
    measured: tuple[MeasuredErosion, ...] = ()
    "Erosion of other interventions too, for predictions."

    def reading(self, name: str, role: Role) -> Taken:
        """Return what was read off one model."""
        return self.store.load(name, role)

    @property
    def roles(self) -> tuple[Role, ...]:
        """The models at hand."""
        return tuple(self.trio.models)

    @cached_property
    def tokens(self) -> dict[str, list[ChatTokens]]:
        """The exchanges of every set, without those whose prompts are too long."""
        found = {
            of.name: [self.trio.chat.example_ids(example) for example in of.examples]
            for of in self.data.sets
        }
        return {name: [rows[i] for i in self._kept(name, found)] for name, rows in found.items()}

    @property
    def n_too_long(self) -> dict[str, int]:
        """How many exchanges of every set were left out, as a prompt was too long."""
        return {of.name: len(of.examples) - len(self.tokens[of.name]) for of in self.data.sets}

    def _kept(self, name: str, found: Mapping[str, Sequence[ChatTokens]]) -> list[int]:
        """Places of the exchanges that are short enough; matched ones are kept or left in pairs."""
        firsts = [of.name for of in self.data.questioned[:2]]
        together = firsts if self.data.is_matched and name in firsts else [name]
        limit = self.settings.max_prompt_tokens
        return [
            i
            for i in range(len(found[name]))
            if all(found[other][i].prompt_length <= limit for other in together)
        ]

    @cached_property
    def prompts(self) -> dict[str, list[ChatTokens]]:
        """Tokens of every concept's prompts, and of the benign ones under `benign`."""
        from spillover.analysis.states import prompt_tokens

        groups = {**self.data.prompts, "benign": self.data.neutral}
        return {
            name: prompt_tokens(self.trio.chat, [prompt.prompt for prompt in group])
            for name, group in groups.items()
        }

    @property
    def reference(self) -> str:
        """The control set that losses and gradients are centred by."""
        return self.data.controls[0].name

    def some_layers(self, n_layers: int, *, n: int) -> tuple[int, ...]:
        """Return the layers asked for, or about n spread evenly with the last among them.

        Raises:
            ConfigError: If a layer does not exist.
        """
        if self.settings.layers is not None:
            wrong = [i for i in self.settings.layers if not -n_layers <= i < n_layers]
            if wrong:
                raise ConfigError(f"layers {wrong} do not exist; choose from 0 to {n_layers - 1}")
            return tuple(sorted({i % n_layers for i in self.settings.layers}))
        step = max(1, -(-n_layers // n))
        return tuple(sorted(range(n_layers - 1, -1, -step)))


Read = Callable[[Case, LoadedModel, Role], Taken]


@dataclass(frozen=True)
class Reading:
    """Something that is read off models."""

    read: Read
    needs: Mapping[Role, tuple[tuple[str, Role], ...]]
    "For every model that is read: the readings that have to be there before."
    is_about_target: bool = False
    "Whether it changes with `settings.target`."
    is_of_prompts: bool = False
    "Whether it reads prompts of concepts; the sets of responses otherwise."


@dataclass(frozen=True)
class Drawn:
    """An exhibit with what draws its still picture."""

    exhibit: Exhibit
    make: "Callable[[], Figure]"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a conclusion says."""

    drawn: tuple[Drawn, ...] = ()
    claims: tuple[Claim, ...] = ()
    frames: "tuple[pandas.DataFrame, ...]" = ()
    "Every number, tidy; put below one another."
    tensors: Mapping[str, Any] = field(default_factory=dict)
    "What is worth keeping beside the readings, such as directions."
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """One analysis: its readings, what else it lacks nothing without, and its conclusion."""

    title: str
    question: str
    readings: tuple[str, ...]
    conclude: Callable[[Case], Findings]
    needs_base: bool = False
    n_sets: int = 0
    "Sets in question that it needs."
    needs_target: bool = False
    needs_measured: bool = False
    is_default: bool = True

    def lack(self, case: Case) -> str | None:
        """Say what is missing for this analysis; None where nothing is."""
        if self.needs_base and "base" not in case.roles:
            return "the base model is missing; give --base"
        found = len(case.data.questioned)
        if found < self.n_sets:
            return (
                f"it compares {self.n_sets} sets of responses and there is {found}; give another "
                "--data file, or rows with another `arm`"
            )
        if self.needs_target and case.settings.target not in case.data.prompts:
            asked = case.settings.target
            which = "no target concept" if asked is None else f"no prompts of target {asked!r}"
            return f"there is {which}; give --target, one of {', '.join(case.data.prompts)}"
        if self.needs_measured and not case.measured:
            return "no erosion was measured; give --comparisons, the file of a study"
        if self.needs_measured:
            return pairs_lack(tuple(case.data.prompts), case.measured)
        return None


def tidy(frame: "pandas.DataFrame", **columns: Any) -> "pandas.DataFrame":
    """Return the frame with constant columns in front."""
    return frame.assign(**columns)[[*columns, *frame.columns]]
