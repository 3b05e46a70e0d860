"""The endpoint client against a real server: `transformers serve` on the embedded model."""

import pytest

from spillover.data import bundled_prompts
from spillover.generation import EndpointGenerator, GenerationSettings
from spillover.generation.hf import HFGenerator
from spillover.models import load_model

pytestmark = pytest.mark.slow

SETTINGS = GenerationSettings(max_new_tokens=16, batch_size=1)


def test_a_real_server_gives_the_same_greedy_text_as_generation_here(server, model_folder):
    prompts = bundled_prompts("benign_plain", split="test")[:4]
    served = EndpointGenerator(
        server, str(model_folder), name="served", max_concurrency=2, timeout=120
    ).generate(prompts, settings=SETTINGS)
    here = HFGenerator(load_model(model_folder, dtype="float32", device="cpu"), "here").generate(
        prompts, settings=SETTINGS
    )
    assert [completion.id for completion in served] == [prompt.id for prompt in prompts]
    assert all(completion.response for completion in served)
    assert [c.response.strip() for c in served] == [c.response for c in here]
    assert [c.finish_reason for c in served] == [c.finish_reason for c in here]
