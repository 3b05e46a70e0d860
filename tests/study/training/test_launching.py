"""Stages that are launched in processes of their own end as those in this process do."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from spillover.errors import ConfigError, ModelError
from spillover.files import read_json
from spillover.study.artifacts import RunFolder, load_metrics
from spillover.study.config.sections import UnlearnSection
from spillover.study.progress import Reporter, quiet_reporter
from spillover.study.runner.plan import plan_study
from spillover.study.stages.context import Context
from spillover.study.training.launching import launch_plan
from spillover.study.training.scale_checks import check_machine
from spillover.training.callbacks import last_whole_checkpoint
from spillover.training.processes import Ended
from tests.study.running import run_stage

WATCHED = "monitor={every: 2, prompts_per_concept: 2}"
LAUNCHED = ("contain.launch=cpu", "contain.processes=2")
SHORT = ("contain.steps=4", "contain.checkpoint_every=2", "contain.accumulation=2", WATCHED)


@pytest.fixture(autouse=True)
def one_thread_each(monkeypatch):
    """Give launched processes one thread."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def both(collected, tmp_path):
    """Return a function that makes contexts of one study, trained in this process and launched."""

    def make(*overrides):
        here, there = collected(*overrides), collected(*overrides, *LAUNCHED)
        other = RunFolder(tmp_path / "launched")
        other.path.mkdir()
        (other.path / "data").symlink_to(here.folder.path / "data")
        return here, Context(config=there.config, folder=other, reporter=quiet_reporter())

    return make


def model_folder(context):
    return context.folder.model("contained-safety")


def assert_same_results(here, there):
    """Compare names of files, metrics and weights of two stages' model folders."""
    folders = [model_folder(context) for context in (here, there)]
    assert {p.name for p in folders[1].iterdir()} == {p.name for p in folders[0].iterdir()}
    rows = [load_metrics(folder / "metrics.jsonl") for folder in folders]
    assert [(r["kind"], r["step"]) for r in rows[1]] == [(r["kind"], r["step"]) for r in rows[0]]
    for alone, shared in zip(*rows, strict=True):
        assert shared == pytest.approx(alone, abs=1e-4)
    weights = [load_file(folder / "adapter_model.safetensors") for folder in folders]
    assert_close(weights[1], weights[0], atol=1e-4, rtol=0)
    configs = [read_json(folder / "adapter_config.json") for folder in folders]
    for config in configs:
        config["target_modules"].sort()  # A set in PEFT; each process writes it in its own order.
    assert configs[1] == configs[0]


def test_a_stage_in_two_processes_ends_in_the_same_losses_and_adapter(both):
    here, there = both(*SHORT)
    for context in (here, there):
        run_stage(context, "contained-safety")
    assert_same_results(here, there)


class InterruptingReporter(Reporter):
    """Interrupts as Ctrl-C would, once so many steps are done."""

    def __init__(self, step):
        super().__init__(quiet_reporter().console)
        self._left = step

    def task(self, title, *, total):
        from contextlib import contextmanager

        @contextmanager
        def counting():
            yield self._advance

        return counting()

    def _advance(self, n):
        self._left -= n
        if self._left <= 0:
            raise KeyboardInterrupt


def processes_of(folder):
    """Return the commands of running processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:  # Ended meanwhile.
            continue
        if str(folder).encode() in command:
            found.append(command)
    return found


@pytest.mark.slow
def test_ctrl_c_ends_the_processes_and_the_stage_goes_on_to_the_same_end(both):
    # So many small steps, each with its checkpoint, that the stop comes in the midst of them.
    steps = ("contain.steps=30", "contain.checkpoint_every=1", "contain.learning_rate=1e-4")
    here, there = both(*steps, WATCHED)
    run_stage(here, "contained-safety")
    stopped = Context(config=there.config, folder=there.folder, reporter=InterruptingReporter(3))
    with pytest.raises(KeyboardInterrupt):
        run_stage(stopped, "contained-safety")
    work = model_folder(there) / "training"
    assert processes_of(work) == []
    reached = last_whole_checkpoint(work)
    assert reached is not None
    assert reached.step < 30
    run_stage(there, "contained-safety")
    assert_same_results(here, there)


def test_launching_leaves_what_is_known_of_a_stage_as_it_was(small_study, tmp_path):
    def inputs(*overrides):
        plan = plan_study(small_study(*overrides), RunFolder(tmp_path))
        return {stage.name: stage.inputs for stage in plan}

    plain = inputs()
    quiet = ("checkpoint_activations=true", "report_to=tensorboard")
    assert inputs(*(f"unlearn.{key}" for key in quiet), *LAUNCHED) == plain
    assert inputs("unlearn.quantise=true")["unlearned-safety"] != plain["unlearned-safety"]


def launched_job(context, monkeypatch):
    """Launch the contained model's stage with a command that does nothing; return its job."""
    from spillover.training import jobs

    found = []

    def noting(folder, **_options):
        found.append(jobs.read_job(folder))
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "launch_job", noting)
    with pytest.raises(KeyboardInterrupt):
        run_stage(context, "contained-safety")
    return found[0]


def test_what_a_section_says_is_what_the_processes_are_told(collected, monkeypatch):
    context = collected(
        *LAUNCHED,
        "contain.objective=rmu",
        "contain.layer=-1",
        "contain.control_scale=2.0",
        "contain.quantise=true",
        "contain.checkpoint_activations=true",
        "contain.report_to=tensorboard",
        "contain.adapter={kind: one_adapter}",
    )
    job = launched_job(context, monkeypatch)
    assert job.objective["layer"] == 1  # Of two.
    assert job.objective["control_norm"] > 0
    assert job.adapter["layers"] == [1]
    assert (job.quantise, job.report_to, job.run_name) == (
        True,
        "tensorboard",
        "small/contained-safety",
    )
    assert job.settings["checkpoint_activations"]
    assert job.model["device"] == "cpu"


def test_the_processes_start_from_the_adapter_that_safety_training_left(
    collected, finished_run, monkeypatch
):
    given = finished_run.model("contained-safety")
    context = collected(*LAUNCHED, f"model.adapter={given}")
    assert launched_job(context, monkeypatch).model["adapter"] == str(given)
    made = finished_run.model("unlearned-safety")
    origin = context.origin(made)
    assert (origin.arguments["adapter"], origin.adapter) == (str(given), made)


def test_a_process_that_fails_ends_the_stage_with_its_own_error(collected, monkeypatch):
    from spillover.files import write_json
    from spillover.training import jobs

    def failing(command, *, on_wait):
        failure = {"error": "ModelError", "message": "no such layer"}
        write_json(Path(command[-2]) / "failure.json", failure)
        return Ended(1, "")

    monkeypatch.setattr(jobs, "run_command", failing)
    with pytest.raises(ModelError, match="launch 'cpu': no such layer"):
        run_stage(collected(*LAUNCHED), "contained-safety")


def section(**keys):
    return UnlearnSection(steps=1, learning_rate=0.1, **keys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "no configuration of accelerate launch, which says `num_processes`"),
        ("use_cpu: true", "no configuration of accelerate launch, which says `num_processes`"),
        ("num_processes: 8\nnum_machines: 2", "num_machines is 2, but a study starts processes"),
    ],
)
def test_a_launch_file_that_cannot_be_used_says_why(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        launch_plan(section(launch=str(path)))


def test_the_number_of_processes_is_the_section_s_or_else_the_file_s(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("num_processes: 4\nuse_cpu: true\ndistributed_type: MULTI_CPU")
    found = launch_plan(section(launch=str(path)))
    assert (found.n_processes, found.on_cpu, found.kind) == (4, True, "MULTI_CPU")
    assert launch_plan(section(launch=str(path), processes=2)).n_processes == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["unlearn.launch=nowhere.yaml"], "unlearn: launch 'nowhere.yaml' is not known; choose"),
        (["contain.report_to=wandb"], "contain: report_to 'wandb' needs the package wandb; `pip"),
        (["unlearn.quantise=true"], "unlearn: quantise needs the package bitsandbytes; `pip in"),
        (
            ["unlearn.launch=ddp", "unlearn.processes=4"],
            "unlearn: launch starts 4 processes, one a GPU, and there are 0 GPUs here; set `proc",
        ),
        (["unlearn.launch=zero2", "unlearn.processes=2"], "unlearn: launch needs the package dee"),
    ],
)
def test_what_a_machine_lacks_is_found_before_anything_runs(
    small_study, monkeypatch, overrides, message
):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ConfigError, match=message):
        check_machine(small_study(*overrides))


def test_a_file_whose_processes_cannot_share_a_step_is_refused(small_study, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("num_processes: 3\nuse_cpu: true")
    with pytest.raises(ConfigError, match="unlearn: processes: 3 must divide forget_per_step 4"):
        check_machine(small_study(f"unlearn.launch={path}"))


def test_an_objective_that_looks_inside_does_not_go_with_spread_weights(small_study, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    spread = ("contain.launch=fsdp2", "contain.processes=2")
    with pytest.raises(ConfigError, match="contain: objective npo_kl looks into the frozen model"):
        check_machine(small_study(*spread, "contain.objective=npo_kl"))
    check_machine(small_study(*spread))


def test_a_run_on_a_machine_that_lacks_something_writes_nothing(small_study, tmp_path):
    from spillover.study.runner import run_study

    with pytest.raises(ConfigError, match=r"unlearn: launch 'nowhere\.yaml' is not known"):
        run_study(
            small_study("unlearn.launch=nowhere.yaml"),
            tmp_path / "run",
            reporter=quiet_reporter(),
        )
    assert list(tmp_path.iterdir()) == []


def test_what_tensorboard_gets_lies_beside_the_model(collected):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    context = collected("unlearn.report_to=tensorboard")
    run_stage(context, "unlearned-safety")
    folder = context.folder.model("unlearned-safety")
    (events,) = folder.glob("runs/*/events.*")
    found = EventAccumulator(str(events)).Reload().Scalars("train/loss")
    rows = [r for r in load_metrics(folder / "metrics.jsonl") if r["kind"] == "train"]
    assert [event.value for event in found] == pytest.approx([row["loss"] for row in rows])


def test_computing_activations_again_ends_in_the_same_adapter(collected):
    found = []
    for checkpointed in ("false", "true"):
        context = collected(f"unlearn.checkpoint_activations={checkpointed}")
        folder = context.folder.model("unlearned-safety")
        (folder / "metrics.jsonl").unlink(missing_ok=True)
        run_stage(context, "unlearned-safety")
        found.append(load_file(folder / "adapter_model.safetensors"))
    assert_close(found[1], found[0], atol=1e-5, rtol=0)
