"""Likelihoods of fixed responses, next tokens, and which model the tuned one resembles.

Section 4.1 of 2507.03662.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from spillover.analysis.divergences import js_divergence
from spillover.analysis.estimate_plots import plot_estimates
from spillover.analysis.likelihoods import (
    MeanLikelihood,
    ResponseTraces,
    TokenTrace,
    mean_likelihoods,
)
from spillover.analysis.next_tokens import NextTokens, next_tokens
from spillover.analysis.resemblance import Resemblance, distances_along, resemblance
from spillover.report.explanations import Claim, Exhibit, Outcome, outcome_above
from spillover.seeding import numpy_generator
from spillover.study.explaining.analyses.case import Case, Drawn, Findings, tidy
from spillover.study.explaining.analyses.claims import estimated_claim
from spillover.study.explaining.analyses.token_readings import traces_of
from spillover.study.explaining.models import Role

if TYPE_CHECKING:
    import pandas

_SHOWN_A_SET = 2
_POSITIONS = 8


def conclude_likelihoods(case: Case) -> Findings:
    """Traces of single responses, and means over every set."""
    by_set = {
        of.name: {role: traces_of(case, role, of.name) for role in case.roles}
        for of in case.data.sets
    }
    means = {
        name: mean_likelihoods({str(r): t for r, t in traces.items()}, compared_with="aligned")
        for name, traces in by_set.items()
    }
    shown = list(_shown_traces(case, by_set))
    first = shown[0][1]
    return Findings(
        drawn=(
            Drawn(
                Exhibit(
                    name="likelihoods-traces",
                    title="One response under every model, token by token",
                    shows="how likely each model finds each token of a response that it was "
                    "given, so where the models part.",
                    shows_not="what a model would write by itself, or whether such a difference "
                    "is usual: these are single responses.",
                    widget="tokens",
                    data={
                        "models": list(case.roles),
                        "examples": [_trace_data(t, name, asked) for name, t, asked in shown],
                    },
                ),
                lambda: first.plot(value="logprob"),
            ),
            Drawn(
                Exhibit(
                    name="likelihoods-means",
                    title="How much likelier than to the aligned model, by set",
                    shows="the mean log-probability a token less that under the aligned model, "
                    "on the same responses, with 95% intervals over responses.",
                    shows_not="why: a model that is surer of everything is likelier to agree with "
                    "any text. Compare with the control sets.",
                ),
                lambda: plot_estimates(
                    [
                        (f"{row.model} on {name}", row.difference)
                        for name, rows in means.items()
                        for row in rows
                        if row.difference is not None
                    ],
                    label="log-probability a token, less aligned (nats)",
                    null=0.0,
                ),
            ),
        ),
        frames=(_likelihood_frame(means),),
    )


def _shown_traces(
    case: Case, by_set: Mapping[str, Mapping[Role, list[TokenTrace]]]
) -> Iterator[tuple[str, ResponseTraces, str]]:
    tokenizer = case.trio.chat.tokenizer
    for of in case.data.sets:
        for place, row in enumerate(case.tokens[of.name][:_SHOWN_A_SET]):
            cut = row.first(case.settings.max_tokens)
            ids = cut.input_ids[cut.prompt_length :]
            traces = {str(role): rows[place] for role, rows in by_set[of.name].items()}
            asked = case.trio.chat.decode(row.input_ids[: row.prompt_length])
            tokens = tuple(tokenizer.decode([i]) for i in ids)
            yield of.name, ResponseTraces(tokens=tokens, traces=traces), asked


def _trace_data(traces: ResponseTraces, name: str, asked: str) -> dict[str, Any]:
    return {
        "set": name,
        "prompt": asked[-400:],
        "tokens": list(traces.tokens),
        "values": {
            model: {
                "logprob": [round(x, 4) for x in trace.logprobs],
                "entropy": [round(x, 4) for x in trace.entropies],
                "rank": list(trace.ranks),
            }
            for model, trace in traces.traces.items()
        },
    }


def _likelihood_frame(means: Mapping[str, list[MeanLikelihood]]) -> "pandas.DataFrame":
    import pandas

    from spillover.analysis.estimate_columns import estimate_columns

    return pandas.DataFrame(
        [
            {"set": name, "model": row.model, "n": row.n}
            | estimate_columns("logprob", row.logprob)
            | estimate_columns("difference", row.difference)
            | estimate_columns("entropy", row.entropy)
            for name, rows in means.items()
            for row in rows
        ]
    )


def _distributions(case: Case, role: Role) -> Mapping[str, Float[Tensor, "token vocab"]]:
    return case.reading("distributions", role).tensors


def conclude_next_tokens(case: Case) -> Findings:
    """Where aligned and tuned differ most in the sets' responses, and what each would say there."""
    by_role = {role: _distributions(case, role) for role in case.roles}
    places = _most_changed(case, by_role)
    compared = {}
    for name, example, token in places:
        rows = {str(r): by_role[r][f"{name}.{example}"][token].float() for r in case.roles}
        label = f"{name} {example + 1}, token {token + 1}"
        compared[label] = (
            _text_before(case, name, example, token),
            next_tokens(rows, tokenizer=case.trio.chat.tokenizer, top=5),
        )
    first = next(iter(compared.values()))[1]
    return Findings(
        drawn=(
            Drawn(
                Exhibit(
                    name="next-tokens",
                    title="What each model would say next, where tuning changed most",
                    shows="the likeliest next tokens of each model at the positions where aligned "
                    "and tuned differ most, one a response.",
                    shows_not="typical positions: these were picked for their difference.",
                    widget="bars",
                    data={
                        "models": list(case.roles),
                        "positions": [
                            _bar_data(label, before, found)
                            for label, (before, found) in compared.items()
                        ],
                    },
                ),
                first.plot,
            ),
        ),
        frames=tuple(
            tidy(found.divergence_frame(), position=label) for label, (_, found) in compared.items()
        ),
    )


def _most_changed(
    case: Case, by_role: Mapping[Role, Mapping[str, Tensor]]
) -> list[tuple[str, int, int]]:
    """Return set, example and token of the largest divergences, one an example."""
    found = []
    for name, rows in case.tokens.items():
        for example in range(len(rows)):
            key = f"{name}.{example}"
            apart = js_divergence(by_role["aligned"][key].float(), by_role["tuned"][key].float())
            token = int(apart.argmax())
            found.append((float(apart[token]), name, example, token))
    ordered = sorted(found, key=lambda row: (-row[0], row[1:]))
    return [(name, example, token) for _, name, example, token in ordered[:_POSITIONS]]


def _text_before(case: Case, name: str, example: int, token: int) -> str:
    row = case.tokens[name][example]
    return str(case.trio.chat.tokenizer.decode(row.input_ids[: row.prompt_length + token]))[-160:]


def _bar_data(label: str, before: str, found: NextTokens) -> dict[str, Any]:
    return {
        "name": label,
        "before": before,
        "tokens": list(found.tokens),
        "probabilities": [[round(p, 5) for p in row] for row in found.probabilities],
    }


def conclude_resemblance(case: Case) -> Findings:
    """Whether tuned is nearer to base or to aligned, on every set."""
    by_role = {role: _distributions(case, role) for role in case.roles}
    found: dict[str, Resemblance] = {}
    for name, rows in case.tokens.items():
        distances = []
        for example in range(len(rows)):
            parts = {str(r): by_role[r][f"{name}.{example}"].float() for r in case.roles}
            distances.append(distances_along(**parts))
        rng = numpy_generator(case.settings.seed, "resemblance", name)
        found[name] = resemblance(distances, rng=rng)
    first = case.data.questioned[0].name
    return Findings(
        claims=(_nearer_base(found, first=first, control=case.reference),),
        drawn=(
            Drawn(
                Exhibit(
                    name="resemblance-by-set",
                    title="Nearer to base or to aligned",
                    shows="on every set, how far the tuned model's next-token distributions are "
                    "on the way from base (0) to aligned (1), with 95% intervals over responses.",
                    shows_not="how far it moved: a model near both, or far from both, can stand "
                    "anywhere between. The table gives the distances and the directness.",
                ),
                lambda: plot_estimates(
                    [(name, of.value) for name, of in found.items()],
                    label="0: as base   0.5: as far from either   1: as aligned",
                    null=0.5,
                ),
            ),
            Drawn(
                Exhibit(
                    name="resemblance-examples",
                    title=f"Each response of {first}",
                    shows="the distance of tuned to base and to aligned along each response; below "
                    "the line it is nearer to aligned.",
                    shows_not="other sets, or what the responses have in common.",
                ),
                found[first].plot,
            ),
        ),
        frames=(_resemblance_frame(found),),
    )


def _nearer_base(found: Mapping[str, Resemblance], *, first: str, control: str) -> Claim:
    value, beside = found[first].value, found[control].value
    outcome: Outcome = "undecided"
    if value is not None:
        outcome = outcome_above(-value.ci_high, -value.ci_low, limit=-0.5)
    shown = "n/a" if beside is None else f"{beside.value:.2f}"
    return estimated_claim(
        value,
        source="2507.03662, 4.1",
        claim="The tuned model's token probabilities resemble the base model's",
        measured=f"way from base (0) to aligned (1) on {first}",
        null=f"0.5, as far from either; on the control {control} it is {shown}",
        outcome=outcome,
    )


def _resemblance_frame(found: Mapping[str, Resemblance]) -> "pandas.DataFrame":
    import pandas

    from spillover.analysis.estimate_columns import estimate_columns

    names = (
        "tuned_to_base",
        "tuned_to_aligned",
        "base_to_aligned",
        "kl_from_base",
        "kl_from_aligned",
    )
    return pandas.DataFrame(
        [
            {"set": name, "n": len(of.examples)}
            | estimate_columns("value", of.value)
            | estimate_columns("directness", of.directness)
            | {measure: getattr(of, measure) for measure in names}
            for name, of in found.items()
        ]
    )
