"""Models: loading, chat spans, token batches, log-probabilities, hooks and adapters."""

from spillover.models.architecture import Architecture, find_architecture
from spillover.models.batches import TokenBatch, batches_by_length, pad_batch
from spillover.models.chat import Chat, ChatTokens, check_chat_template
from spillover.models.direction_files import load_directions, save_directions
from spillover.models.directions import Direction
from spillover.models.hooks import edit_activations, record_activations
from spillover.models.loading import LoadedModel, load_model
from spillover.models.logprobs import dataset_logprobs, response_logprobs, token_logprobs
from spillover.models.steering import ablate_directions, add_direction, clamp_direction

__all__ = [
    "Architecture",
    "Chat",
    "ChatTokens",
    "Direction",
    "LoadedModel",
    "TokenBatch",
    "ablate_directions",
    "add_direction",
    "batches_by_length",
    "check_chat_template",
    "clamp_direction",
    "dataset_logprobs",
    "edit_activations",
    "find_architecture",
    "load_directions",
    "load_model",
    "pad_batch",
    "record_activations",
    "response_logprobs",
    "save_directions",
    "token_logprobs",
]
