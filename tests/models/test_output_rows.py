"""The output projection sees the rows that were asked for, and is left as it was."""

import torch

from spillover.models.output_rows import contiguous_head_input, logits_only_at, no_logits

CLOSE = {"atol": 2e-5, "rtol": 0}


def test_the_head_gets_contiguous_rows_and_gives_the_same_logits(loaded):
    seen = []
    head = loaded.model.get_output_embeddings()
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    with torch.no_grad():
        plain = loaded.model(input_ids=ids, logits_to_keep=1).logits
        with contiguous_head_input(loaded.model):
            watch = head.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
            found = loaded.model(input_ids=ids, logits_to_keep=1).logits
            watch.remove()
    assert [rows.is_contiguous() for rows in seen] == [True]
    torch.testing.assert_close(found, plain, **CLOSE)
    assert not head._forward_pre_hooks


def test_logits_are_those_of_the_positions_asked_for(loaded):
    ids = torch.tensor([[5, 6, 7], [8, 9, 10]])
    mask = torch.tensor([[True, False, True], [False, True, False]])
    with torch.no_grad():
        plain = loaded.model(input_ids=ids).logits
        with logits_only_at(loaded.model, mask):
            found = loaded.model(input_ids=ids).logits
    torch.testing.assert_close(found, plain[mask].unsqueeze(0), **CLOSE)


def test_without_logits_keys_and_values_are_the_same(loaded):
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        plain = loaded.model(input_ids=ids, use_cache=True)
        with no_logits(loaded.model):
            found = loaded.model(input_ids=ids, use_cache=True)
    assert found.logits.shape[:2] == (1, 0)
    for layer, same in zip(found.past_key_values.layers, plain.past_key_values.layers, strict=True):
        torch.testing.assert_close(layer.keys, same.keys, **CLOSE)
        torch.testing.assert_close(layer.values, same.values, **CLOSE)
