"""Turns what adapters do token by token into a part of a page."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from spillover.report.explanations import Exhibit
from spillover.study.artifacts.part_pages import DrawnPart
from spillover.study.explaining.inside_findings import InsideFindings, short_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_TOKENS = 40


def token_part(found: InsideFindings, n_answers: int) -> DrawnPart:
    """Show the tokens at which adapters do what they do."""
    kinds = list(found.significances)
    exhibits = []
    for kind in kinds:
        exhibits.append(
            (
                Exhibit(
                    name=f"scalars-{kind}",
                    title=f"Adapters' numbers along a {kind} answer",
                    shows="A x of every adapter at every token of the first answer's first "
                    f"{_MOST_TOKENS} tokens, in standard deviations of that adapter.",
                    shows_not="Other answers: they are in scalars.json.",
                ),
                _scalar_plot(found, kind),
            )
        )
        exhibits.append(
            (
                Exhibit(
                    name=f"significance-{kind}",
                    title=f"Tokens that matter to the change, {kind}",
                    shows="The KL that the adapters make in the answer, shared out among tokens "
                    "of prompt and answer by the gradient at their embeddings; the largest.",
                    shows_not="Causes: a gradient says where a small change would matter.",
                ),
                _significance_plot(found, kind),
            )
        )
    return DrawnPart(
        name="tokens",
        title="Which tokens matter",
        question="At which tokens do adapters do what they do?",
        exhibits=exhibits,
        rows=[
            {"kind": kind, "answer": i, "place": place, "token": text, "significance": value}
            for kind in kinds
            for i, one in enumerate(found.significances[kind][:n_answers])
            for place, (text, value) in enumerate(
                zip(found.tokens[kind][i], one.values.tolist(), strict=False)
            )
        ],
        notes=("Significances of an answer sum up to its KL, in nats.",),
    )


def _scalar_plot(found: InsideFindings, kind: str) -> "Callable[[], Figure]":
    def draw() -> "Figure":
        from matplotlib.figure import Figure

        of = found.scalars[kind]
        every = np.concatenate([np.concatenate(list(s.tokens)) for s in found.scalars.values()])
        spread = np.where(every.std(axis=0) > 0, every.std(axis=0), 1.0)
        values = ((of.tokens[0] - every.mean(axis=0)) / spread)[:_MOST_TOKENS]
        texts = found.tokens[kind][0][-len(of.tokens[0]) :][:_MOST_TOKENS]
        names = [short_name(name) for name in of.modules]
        figure = Figure(figsize=(2.5 + 0.22 * len(texts), 1.6 + 0.3 * len(names)))
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        axes.imshow(values.T, cmap="RdBu_r", vmin=-3, vmax=3, aspect="auto")
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(len(texts)))
        axes.set_xticklabels([repr(t)[1:-1] for t in texts], rotation=90, parse_math=False)
        return figure

    return draw


def _significance_plot(found: InsideFindings, kind: str, *, n: int = 20) -> "Callable[[], Figure]":
    def draw() -> "Figure":
        from matplotlib.figure import Figure

        one, texts = found.significances[kind][0], found.tokens[kind][0]
        places = sorted(np.argsort(-one.values)[:n].tolist())
        figure = Figure(figsize=(6.4, 1.2 + 0.22 * len(places)), layout="constrained")
        axes = figure.subplots()
        axes.barh(range(len(places)), one.values[places])
        axes.set_yticks(range(len(places)))
        axes.set_yticklabels(
            [f"{place}: {repr(texts[place])[1:-1]}" for place in places], parse_math=False
        )
        axes.invert_yaxis()
        axes.set_xlabel(f"nats of {one.kl:.2f}")
        return figure

    return draw
