"""What was found inside of an organism, as the parts of a page get it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spillover.analysis.interventions import Effect
from spillover.analysis.rank_one import AnswerScalars, TokenSignificance
from spillover.analysis.scalar_probes import ScalarProbe


@dataclass(frozen=True, kw_only=True)
class InsideFindings:
    """Everything that the page shows."""

    scalars: Mapping[str, AnswerScalars]
    "By kind of answers: misaligned, aligned, and perhaps narrow."
    tokens: Mapping[str, Sequence[Sequence[str]]]
    "Each exchange's tokens as text, prompt included."
    probes: Sequence[ScalarProbe]
    scaled: Mapping[float, Mapping[str, Sequence[Effect]]]
    "Factor -> module -> effects; 0 cuts out."
    held: Mapping[str, Mapping[str, Sequence[Effect]]]
    "Kind of answers whose mean was held -> module -> effects."
    significances: Mapping[str, Sequence[TokenSignificance]]
    margin: str
    "The measure of general misalignment."
    narrow: str | None
    "The measure of narrow behaviour; None where there is none."


def short_name(module: str) -> str:
    """Return a module's layer and name, such as `15 mlp.down_proj`.

    Example:
        >>> short_name("model.layers.15.mlp.down_proj")
        '15 mlp.down_proj'
    """
    inside = module.partition(".layers.")[2] or module
    layer, _, rest = inside.partition(".")
    return f"{layer} {rest}".strip()
