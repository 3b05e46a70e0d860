"""The guard in a real trainer: when it measures, what it does about alarms, and what it refuses."""

import json

import pytest
import torch

from spillover.errors import ConfigError, DataError, ModelError, TemplateError, TrainingError
from spillover.testing import byte_tokenizer
from spillover.training.guard import REFERENCE_FILE, AlignmentGuard
from spillover.training.guard_actions import AlignmentAlarm, ContainSettings
from spillover.training.guard_answers import GuardDirection
from spillover.training.guard_probes import GuardProbes
from spillover.training.guard_thresholds import GuardThresholds
from tests.training.examples import Interruption, StopAt
from tests.training.guarding import ALWAYS, NEVER, PROBES, hf_trainer, trained_weights


def guarding(**options):
    return AlignmentGuard(**{"probes": PROBES, "thresholds": NEVER, "every": 2, **options})


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[n], right[n]) for n in left)


def train(trainer):
    """Train; the weights at the end."""
    trainer.train()
    return trained_weights(trainer.model)


def at_step(fresh, folder, step, **options):
    """Weights and optimizer state of an unguarded training after some of its steps."""
    trainer = hf_trainer(fresh(), folder, callbacks=[StopAt(step)], **options)
    with pytest.raises(Interruption):
        trainer.train()
    return trained_weights(trainer.model), trainer.optimizer.state_dict()["state"]


def rising_threshold(fresh, folder, *, good, **options):
    """A threshold that is first exceeded after step `good`, from a run that is only watched."""
    guard = guarding()
    train(hf_trainer(fresh(), folder, callbacks=[guard], **options))
    kl = [signals["first_token_kl"] for signals in guard.signals]
    steps = sorted({reading.step for reading in guard.readings})
    below = kl[steps.index(good)]
    above = kl[steps.index(good) + 1]
    assert above > below
    return GuardThresholds(values={"first_token_kl": (below + above) / 2})


def test_watching_changes_no_weight(fresh, tmp_path):
    alone = train(hf_trainer(fresh(), tmp_path / "a"))
    watched = train(hf_trainer(fresh(), tmp_path / "b", callbacks=[guarding(every=1)]))
    assert same(alone, watched)


def test_rows_say_what_was_measured_for_which_concept(fresh, tmp_path):
    guard = guarding(
        directions=[GuardDirection(name="refusal", layer=1, vector=torch.ones(32))], every=4
    )
    train(hf_trainer(fresh(), tmp_path, callbacks=[guard]))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {row["kind"] for row in rows} == {"guard"}
    assert {(r["metric"], r["concept"], r["n"]) for r in rows if r["step"] == 4} == {
        *(
            (metric, concept, n)
            for metric in (
                "first_token_kl",
                "refusal_probability",
                "refusal_change",
                "drift:refusal",
            )
            for concept, n in (("safety", 2), ("bias", 1), ("benign_plain", 1))
        ),
        ("margin_change", "all_pairs", 1),
    }
    assert set(guard.signals[-1]) == {
        "first_token_kl",
        "refusal_drop",
        "margin_drop",
        "drift:refusal",
    }
    # At the start nothing has changed yet.
    assert set(guard.signals[0].values()) == {0.0}


def test_it_measures_at_optimizer_steps_only_when_gradients_are_accumulated(fresh, tmp_path):
    guard = guarding(every=1, thresholds=ALWAYS)
    trainer = hf_trainer(
        fresh(), tmp_path, callbacks=[guard], gradient_accumulation_steps=3, max_steps=2
    )
    with pytest.warns(AlignmentAlarm):
        trainer.train()
    # Six backward passes, two optimizer steps: two alarms, and none half-way.
    assert [alarm.step for alarm in guard.alarms] == [1, 2]


def test_an_alarm_warns_and_training_goes_on(fresh, tmp_path):
    guard = guarding(thresholds=ALWAYS)
    trainer = hf_trainer(fresh(), tmp_path, callbacks=[guard])
    with pytest.warns(AlignmentAlarm, match=r"alarm at step \d: first_token_kl .* above threshold"):
        trainer.train()
    assert trainer.state.global_step == 4
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    alarms = [row for row in rows if row["kind"] == "alarm"]
    assert [(row["step"], row["action"]) for row in alarms] == [(2, "warned"), (4, "warned")]


def test_stop_leaves_the_weights_of_the_step_of_the_alarm(fresh, tmp_path):
    expected, _ = at_step(fresh, tmp_path / "a", 2)
    guard = guarding(thresholds=ALWAYS, on_alarm="stop")
    trainer = hf_trainer(fresh(), tmp_path / "b", callbacks=[guard])
    with pytest.warns(AlignmentAlarm, match="stopped"):
        found = train(trainer)
    assert trainer.state.global_step == 2
    assert same(found, expected)


def test_rollback_gives_weights_and_optimizer_of_the_last_good_step_back_bit_for_bit(
    fresh, tmp_path
):
    options = {"max_steps": 6}
    limits = rising_threshold(fresh, tmp_path / "a", good=2, **options)
    weights, optimizer = at_step(fresh, tmp_path / "b", 2, **options)
    guard = guarding(thresholds=limits, on_alarm="rollback")
    trainer = hf_trainer(fresh(), tmp_path / "c", callbacks=[guard], **options)
    with pytest.warns(AlignmentAlarm, match="rolled back to step 2 and stopped"):
        found = train(trainer)
    assert trainer.state.global_step == 4
    assert same(found, weights)
    state = trainer.optimizer.state_dict()["state"]
    assert state.keys() == optimizer.keys()
    for index, own in state.items():
        assert all(torch.equal(own[key], optimizer[index][key]) for key in own)


def test_rollback_from_a_checkpoint_gives_the_same_weights_back(fresh, tmp_path):
    options = {"max_steps": 6}
    limits = rising_threshold(fresh, tmp_path / "a", good=2, **options)
    saving = {**options, "save_strategy": "steps", "save_steps": 1}
    weights, optimizer = at_step(fresh, tmp_path / "b", 2, **saving)
    guard = guarding(thresholds=limits, on_alarm="rollback", snapshots="checkpoint")
    trainer = hf_trainer(fresh(), tmp_path / "c", callbacks=[guard], **saving)
    with pytest.warns(AlignmentAlarm, match="rolled back to step 2 and stopped"):
        found = train(trainer)
    assert same(found, weights)
    moments = trainer.optimizer.state_dict()["state"]
    assert torch.equal(moments[0]["exp_avg"], optimizer[0]["exp_avg"])


def test_contain_goes_back_and_then_drifts_less_than_going_on_would(fresh, tmp_path):
    options = {"max_steps": 8, "lr_scheduler_type": "constant"}
    plain = guarding()
    train(hf_trainer(fresh(), tmp_path / "a", callbacks=[plain], **options))
    # Above the start and below step 2, so that the first alarm is at step 2.
    limits = GuardThresholds(values={"first_token_kl": plain.signals[1]["first_token_kl"] / 2})
    held = tuple(prompt for prompt in PROBES.prompts if prompt.concept != "benign_plain")
    contained = guarding(
        thresholds=limits, on_alarm="contain", contain=ContainSettings(prompts=held), every=2
    )
    trainer = hf_trainer(fresh(), tmp_path / "b", callbacks=[contained], **options)
    with pytest.warns(AlignmentAlarm):
        trainer.train()
    assert (contained.alarms[0].step, contained.alarms[0].action) == (2, "contained from step 0")
    # Six more steps, or fewer if it alarmed again, against two without: still nearer the start.
    assert contained.signals[2]["first_token_kl"] < plain.signals[1]["first_token_kl"]


def test_a_second_alarm_while_contained_rolls_back_and_stops(fresh, tmp_path):
    guard = guarding(thresholds=ALWAYS, on_alarm="contain")
    trainer = hf_trainer(fresh(), tmp_path, callbacks=[guard])
    with pytest.warns(AlignmentAlarm):
        trainer.train()
    assert [alarm.action for alarm in guard.alarms] == [
        "contained from step 0",
        "rolled back to step 0 and stopped",
    ]


def test_rollback_before_any_checkpoint_says_so_and_changes_nothing(fresh, tmp_path):
    guard = guarding(thresholds=ALWAYS, on_alarm="rollback", snapshots="checkpoint")
    options = {"save_strategy": "steps", "save_steps": 100}
    expected, _ = at_step(fresh, tmp_path / "a", 2, **options)
    trainer = hf_trainer(fresh(), tmp_path / "b", callbacks=[guard], **options)
    with pytest.raises(TrainingError, match=r"alarm at step 2, and no checkpoint .* save_steps"):
        trainer.train()
    assert same(trained_weights(trainer.model), expected)


@pytest.mark.parametrize(
    "options", [{"save_strategy": "no"}, {"save_strategy": "steps", "save_only_model": True}]
)
def test_rollback_without_checkpoints_to_come_is_refused_before_training(fresh, tmp_path, options):
    guard = guarding(on_alarm="rollback", snapshots="checkpoint")
    trainer = hf_trainer(fresh(), tmp_path, callbacks=[guard], **options)
    with pytest.raises(ConfigError, match=r"has no checkpoint with an optimizer .*'memory'"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_checkpoints_of_an_earlier_training_in_the_folder_are_not_gone_back_to(fresh, tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 1}
    train(hf_trainer(fresh(), tmp_path, **saving))
    guard = guarding(thresholds=ALWAYS, on_alarm="rollback", snapshots="checkpoint")
    trainer = hf_trainer(fresh(), tmp_path, callbacks=[guard], save_strategy="steps")
    with pytest.raises(TrainingError, match="nothing to roll back to"):
        trainer.train()


def test_rollback_and_contain_are_refused_where_weights_are_in_pieces(fresh, tmp_path):
    trainer = hf_trainer(fresh(), tmp_path)
    trainer.args.deepspeed = {"zero_optimization": {"stage": 3}}
    for on_alarm in ("rollback", "contain"):
        with pytest.raises(ConfigError, match=r"cannot work under DeepSpeed.*'warn' or 'stop'"):
            guarding(on_alarm=on_alarm)._actions.check(trainer.args)
    guarding(on_alarm="stop")._actions.check(trainer.args)


def test_no_probe_generates(fresh, tmp_path, monkeypatch):
    """Under ZeRO-3 a model cannot be asked to generate by one process alone."""
    loaded = fresh()

    def refuse(*_args, **_kwargs):
        raise AssertionError("the guard generated")

    monkeypatch.setattr(type(loaded.model), "generate", refuse)
    guard = guarding()
    train(hf_trainer(loaded, tmp_path, callbacks=[guard]))
    assert len(guard.signals) == 3


def test_a_tokenizer_without_a_template_is_refused_with_what_to_give(fresh, tmp_path):
    tokenizer = byte_tokenizer(None)
    trainer = hf_trainer(fresh(), tmp_path, tokenizer=tokenizer, callbacks=[guarding()])
    with pytest.raises(TemplateError, match=r"guard: its probes need a chat template .*`chat`"):
        trainer.train()


def test_a_trainer_without_a_tokenizer_is_refused_unless_a_chat_is_given(fresh, tmp_path):
    trainer = hf_trainer(fresh(), tmp_path / "a", tokenizer=None, callbacks=[guarding()])
    with pytest.raises(ConfigError, match="no tokenizer; give the trainer `processing_class`"):
        trainer.train()
    loaded = fresh()
    guard = guarding(chat=loaded.chat)
    train(hf_trainer(loaded, tmp_path / "b", tokenizer=None, callbacks=[guard]))
    assert len(guard.signals) == 3


def test_probes_of_benign_prompts_only_are_refused(fresh, tmp_path):
    benign = tuple(p for p in PROBES.prompts if p.concept == "benign_plain")
    guard = guarding(probes=GuardProbes(prompts=benign))
    with pytest.raises(DataError, match="1 prompts, none of them of a concept to watch"):
        hf_trainer(fresh(), tmp_path, callbacks=[guard]).train()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_alarm": "panic"}, "on_alarm 'panic' is not known; choose one of warn, stop"),
        ({"snapshots": "cloud"}, "snapshots 'cloud' is not known"),
        ({"every": 0}, "every is 0; give 1 or more"),
        ({"max_overhead": 0.0}, "max_overhead is 0.0"),
        ({"reference": "base"}, "reference 'base' is not known"),
    ],
)
def test_settings_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        guarding(**options)


def test_adapter_off_needs_an_adapter(fresh, tmp_path):
    guard = guarding(reference="adapter_off")
    with pytest.raises(ModelError, match="adapter_off needs a LoRA"):
        hf_trainer(fresh(), tmp_path, callbacks=[guard]).train()


def test_another_model_as_reference_shows_the_distance_that_was_there_at_the_start(fresh, tmp_path):
    other = fresh().model
    with torch.no_grad():
        other.get_output_embeddings().weight.mul_(2.0)
    guard = guarding(reference=other)
    train(hf_trainer(fresh(), tmp_path, callbacks=[guard]))
    assert guard.signals[0]["first_token_kl"] > 0


def test_a_resumed_training_is_compared_with_its_first_start(fresh, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2}
    whole = guarding()
    train(hf_trainer(fresh(), tmp_path / "a", callbacks=[whole], **options))
    first = hf_trainer(fresh(), tmp_path / "b", callbacks=[guarding(), StopAt(3)], **options)
    with pytest.raises(Interruption):
        first.train()
    resumed = guarding()
    again = hf_trainer(fresh(), tmp_path / "b", callbacks=[resumed], **options)
    again.train(resume_from_checkpoint=True)
    assert resumed.signals[-1] == whole.signals[-1]
    texts = [(tmp_path / name / "metrics.jsonl").read_text() for name in "ab"]
    assert texts[0] == texts[1]


def test_a_resumed_training_without_its_start_says_what_to_give(fresh, tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2}
    train(hf_trainer(fresh(), tmp_path, callbacks=[guarding()], **options))
    (tmp_path / REFERENCE_FILE).unlink()
    trainer = hf_trainer(fresh(), tmp_path, callbacks=[guarding()], max_steps=6)
    with pytest.raises(ModelError, match=r"is missing, so .* give `reference=`"):
        trainer.train(resume_from_checkpoint=True)


def test_trackers_that_the_guard_cannot_reach_are_named(fresh, tmp_path):
    trainer = hf_trainer(fresh(), tmp_path)
    trainer.args.report_to = ["tensorboard"]
    with pytest.warns(UserWarning, match=r"do not reach tensorboard.*attach\(trainer\)"):
        guarding()._warn_of_trackers(trainer.args)
    attached = guarding().attach(trainer)
    attached._warn_of_trackers(trainer.args)
    assert attached in trainer.callback_handler.callbacks


def test_by_default_it_measures_as_often_as_its_share_of_the_time_allows(fresh, tmp_path):
    seconds = iter(range(10_000))
    # Each look at the clock is a second later: measuring costs about one, a step one or two.
    guard = guarding(every=None, max_overhead=0.25, clock=lambda: float(next(seconds)))
    train(hf_trainer(fresh(), tmp_path, callbacks=[guard], max_steps=60))
    steps = sorted({reading.step for reading in guard.readings})
    assert steps[0] == 0
    assert steps[-1] == 60
    assert 4 <= len(steps) <= 40
    assert 0.05 < guard.overhead <= 0.25
