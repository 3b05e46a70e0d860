"""What is read token by token: log-probabilities, entropies, ranks, and whole distributions."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from spillover.analysis.likelihoods import TokenTrace, trace_tokens
from spillover.models.batches import batches_by_length, pad_batch
from spillover.models.loading import LoadedModel
from spillover.models.logprobs import response_logits
from spillover.study.explaining.analyses.case import Case
from spillover.study.explaining.models import Role
from spillover.study.explaining.reading_store import Taken

DISTRIBUTION_TOKENS = 24
"Response tokens whose whole distributions are kept: 2 bytes a token of the vocabulary each."


def read_traces(case: Case, loaded: LoadedModel, _role: Role) -> Taken:
    """Log-probability, entropy and rank of every response token, set after set."""
    tensors: dict[str, Tensor] = {}
    for name, rows in case.tokens.items():
        traces = trace_tokens(
            loaded.model,
            rows,
            pad_id=loaded.pad_id,
            max_tokens=case.settings.max_tokens,
            batch_size=case.settings.batch_size,
        )
        tensors[f"{name}.lengths"] = torch.tensor([len(t.logprobs) for t in traces])
        for kind in ("logprobs", "entropies", "ranks"):
            values = [torch.tensor(getattr(trace, kind)) for trace in traces]
            tensors[f"{name}.{kind}"] = torch.cat(values)
    return Taken(tensors)


@torch.no_grad()
def read_distributions(case: Case, loaded: LoadedModel, _role: Role) -> Taken:
    """Log-distributions over the vocabulary at the first response tokens, in float16."""
    tensors: dict[str, Tensor] = {}
    for name, rows in case.tokens.items():
        cut = [row.first(DISTRIBUTION_TOKENS) for row in rows]
        lengths = [len(row.input_ids) for row in cut]
        for indices in batches_by_length(lengths, batch_size=case.settings.batch_size):
            batch = pad_batch(
                [cut[i] for i in indices], pad_id=loaded.pad_id, padding_side="right"
            ).to(loaded.device)
            logits = response_logits(loaded.model, batch, share_prefix=True)
            found = torch.log_softmax(logits.float(), dim=-1).half().cpu()
            parts = torch.split(found, [cut[i].response_length for i in indices])
            tensors |= {f"{name}.{i}": part.clone() for i, part in zip(indices, parts, strict=True)}
    return Taken(tensors)


def traces_of(case: Case, role: Role, name: str) -> list[TokenTrace]:
    """Return one set's traces under one model, from its reading."""
    found = case.reading("traces", role).tensors
    lengths = found[f"{name}.lengths"].tolist()
    kinds = {
        kind: [part.tolist() for part in torch.split(found[f"{name}.{kind}"], lengths)]
        for kind in ("logprobs", "entropies", "ranks")
    }
    return [
        TokenTrace(logprobs=tuple(p), entropies=tuple(e), ranks=tuple(r))
        for p, e, r in zip(kinds["logprobs"], kinds["entropies"], kinds["ranks"], strict=True)
    ]


def token_values(
    case: Case, name: str, *, length: int
) -> tuple[Float[np.ndarray, "example position"], Any]:
    """Return losses of one set's first tokens under the aligned model, and which are there."""
    values = np.zeros((len(case.tokens[name]), length))
    mask = np.zeros(values.shape, dtype=bool)
    for place, trace in enumerate(traces_of(case, "aligned", name)):
        shown = trace.logprobs[:length]
        values[place, : len(shown)] = -np.array(shown)
        mask[place, : len(shown)] = True
    return values, mask
