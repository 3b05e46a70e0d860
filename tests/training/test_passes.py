"""Groups split so that every process makes equally many passes: nothing lost, pairs together."""

import pytest
import torch

from spillover.models.batches import TokenBatch
from spillover.training.forward import ExampleGroup
from spillover.training.passes import as_many_groups


def group(*ids, chosen=()):
    n = len(ids) + len(chosen)
    tokens = torch.arange(n * 3).reshape(n, 3)
    return ExampleGroup(
        ids=(*ids, *chosen),
        is_forget=(True,) * len(ids) + (False,) * len(chosen),
        is_chosen=(False,) * len(ids) + (True,) * len(chosen),
        batch=TokenBatch(tokens, torch.ones_like(tokens), tokens > 0),
        n_forget=9,
        n_retain=0,
    )


def test_the_largest_group_is_halved_until_there_are_enough():
    made = as_many_groups([group("a"), group("b", "c", "d", "e", "f")], 4)
    assert [found.ids for found in made] == [("a",), ("b", "c"), ("d",), ("e", "f")]
    assert {found.n_forget for found in made} == {9}  # What a loss is divided by stays.
    tokens = torch.cat([found.batch.input_ids for found in made[1:]])
    assert torch.equal(tokens, torch.arange(15).reshape(5, 3))


def test_pairs_stay_together():
    made = as_many_groups([group("a", "b", "c", chosen=("a#", "b#", "c#"))], 3)
    assert [found.ids for found in made] == [("a", "a#"), ("b", "b#"), ("c", "c#")]
    for found in made:
        assert found.is_forget == (True, False)
        assert found.is_chosen == (False, True)


def test_enough_groups_stay_as_they_are():
    groups = [group("a", "b"), group("c")]
    assert as_many_groups(groups, 2) == groups


@pytest.mark.parametrize("n", [1, 4])
def test_fewer_groups_or_more_than_examples_cannot_be_made(n):
    with pytest.raises(ValueError, match=f"2 groups of 3 examples cannot be made {n}"):
        as_many_groups([group("a", "b"), group("c")], n)
