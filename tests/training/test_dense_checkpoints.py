"""Dense checkpoints: written along a training, resumed, read in pieces, exported."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from spillover.errors import DataError, StorageError
from spillover.models.loading import load_model
from spillover.models.logprobs import next_token_logprobs
from spillover.training import LoraSettings, TrainingSettings, make_objective, train
from spillover.training.dense_checkpoints import (
    DenseCheckpoints,
    dense_files,
    dense_names,
    export_adapter,
    read_dense,
)
from tests.training.examples import PEFT_WARNING, Interruption, StopAt, adapter_weights, schedule

pytestmark = pytest.mark.filterwarnings(PEFT_WARNING)

SETTINGS = TrainingSettings(
    steps=7, units_per_step=2, learning_rate=5e-3, checkpoint_every=2, seed=3
)


RANK_1 = LoraSettings(rank=1)


def run(loaded, folder, *, lora=RANK_1, **options):
    return train(
        loaded,
        schedule(14),
        objective=make_objective("gradient_ascent"),
        folder=folder,
        settings=SETTINGS,
        lora=lora,
        **options,
    )


@pytest.fixture(scope="module")
def trained(base_folder, tmp_path_factory):
    """Return a training's folder and the folder of its dense checkpoints."""
    folder, dense = tmp_path_factory.mktemp("trained"), tmp_path_factory.mktemp("dense")
    loaded = load_model(base_folder, dtype="float32", device="cpu")
    run(loaded, folder, callbacks=[DenseCheckpoints(dense, every=2)])
    return folder, dense


def test_start_every_second_step_and_the_last_are_kept(trained):
    folder, dense = trained
    files = dense_files(dense)
    assert list(files) == [0, 2, 4, 6, 7]
    for name, value in adapter_weights(folder).items():
        assert_close(load_file(files[7])[name], value, rtol=0, atol=0)
    start = load_file(files[0])
    assert all(not value.any() for name, value in start.items() if "lora_B" in name)
    assert all(value.any() for name, value in start.items() if "lora_A" in name)


def test_a_training_that_was_killed_leaves_the_same_checkpoints(fresh, tmp_path, trained):
    _, dense = trained
    for stop in (5, None):
        callbacks = [DenseCheckpoints(tmp_path / "dense", every=2)]
        if stop is not None:
            with pytest.raises(Interruption):
                run(fresh(), tmp_path / "run", callbacks=[*callbacks, StopAt(stop)])
        else:
            run(fresh(), tmp_path / "run", callbacks=callbacks)
    files = dense_files(tmp_path / "dense")
    assert list(files) == [0, 2, 4, 6, 7]
    for step, path in dense_files(dense).items():
        assert files[step].read_bytes() == path.read_bytes()


def test_checkpoints_come_back_in_rows_whatever_the_pieces(trained):
    _, dense = trained
    files = dense_files(dense)
    names = dense_names(files)
    whole = torch.cat(list(read_dense(files, names)), dim=1)
    pieces = list(read_dense(files, names, max_values=200))
    assert len(pieces) > len(names)
    assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=0)
    expected = torch.cat([load_file(files[4])[name].flatten() for name in names])
    assert_close(whole[2], expected, rtol=0, atol=0)


def test_an_exported_checkpoint_is_an_adapter_that_loads(trained, base_folder, tmp_path):
    folder, dense = trained
    exported = export_adapter(dense, 7, tmp_path / "adapter")
    prompts = [[5, 6, 7]]
    found = [
        next_token_logprobs(
            load_model(base_folder, adapter=adapter, dtype="float32", device="cpu").model,
            prompts,
            pad_id=0,
        )
        for adapter in (folder, exported)
    ]
    assert_close(found[0], found[1], rtol=0, atol=0)
    with pytest.raises(DataError, match="no checkpoint of an adapter at step 3"):
        export_adapter(dense, 3, tmp_path / "none")


def test_full_rank_trainings_keep_all_weights(fresh, tmp_path):
    run(fresh(), tmp_path / "run", lora=None, callbacks=[DenseCheckpoints(tmp_path / "d", every=4)])
    files = dense_files(tmp_path / "d")
    assert list(files) == [0, 4, 7]
    assert "model.layers.1.mlp.down_proj.weight" in dense_names(files)


def test_checkpoints_of_others_are_read_as_well(trained, tmp_path):
    _, dense = trained
    for step, path in dense_files(dense).items():
        (tmp_path / f"checkpoint-{step}").mkdir()
        copied = tmp_path / f"checkpoint-{step}" / "adapter_model.safetensors"
        copied.write_bytes(path.read_bytes())
    assert list(dense_files(tmp_path)) == [0, 2, 4, 6, 7]


def test_folders_without_a_path_and_of_two_trainings_are_refused(tmp_path):
    with pytest.raises(DataError, match="0 checkpoints; a path needs two"):
        dense_files(tmp_path)
    for step, name in ((0, "a"), (5, "b")):
        save_file({name: torch.ones(2)}, tmp_path / f"step-{step:06d}.safetensors")
    with pytest.raises(DataError, match="checkpoints of one training"):
        dense_names(dense_files(tmp_path))
    with pytest.raises(ValueError, match="every 0 steps"):
        DenseCheckpoints(tmp_path, every=0)


def test_a_disk_that_cannot_be_written_stops_the_training_with_a_reason(fresh, tmp_path):
    class Vanishing(DenseCheckpoints):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                for path in (tmp_path / "d").iterdir():
                    path.unlink()
                (tmp_path / "d").rmdir()
                (tmp_path / "d").write_text("a file where a folder was")
            super().on_step_end(args, state, control, **kwargs)

    with pytest.raises(StorageError, match="cannot be written"):
        run(fresh(), tmp_path / "run", callbacks=[Vanishing(tmp_path / "d", every=1)])
