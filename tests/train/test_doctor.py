"""The doctor in real runs of a tiny model: injected faults, bounds, resume, and silence where all is well."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from burnish.core import Desk, Row, lend
from burnish.errors import BurnishError, Missing
from burnish.tasks import make
from burnish.train import checkpoint, doctor, loop, moments
from burnish.train.batches import Bucketed
from burnish.train.diary import Diary
from burnish.train.evaluate import pad_id_of
from burnish.train.prepare import encode_work, settings_for
from burnish.train.tweak import Tweak
from burnish.train.watch import Act, Watch
from burnish.tune.finetune import FineTune
from tests.tiny import RARE, tiny_work


def tuned(work, **settings):
    usual = {"epochs": 2, "precision": "fp32", "batch_size": 12, "lr": 3e-3}
    return FineTune(**{**usual, **settings})(work, Random(0))


def same(a, b) -> bool:
    pairs = zip(a.model.state_dict().values(), b.model.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def names(made) -> list[str]:
    return [e["name"] for e in made.notes["events"]]


def with_target(rows, change) -> list[Row]:
    return [replace(row, target=change(i, row)) for i, row in enumerate(rows)]


# -- where nothing is wrong --------------------------------------------------------------------------------


def test_a_healthy_run_ends_in_the_same_bits_watched_or_not() -> None:
    runs = [tuned(tiny_work(train=150), epochs=6, doctor=mode) for mode in doctor.MODES]
    assert runs[0].notes["evals"][-1]["score"] > 0.9
    assert [e for e in runs[0].notes["events"] if e["did"] != "say"] == []
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])
    assert runs[0].notes["curve"] == runs[2].notes["curve"]
    assert runs[2].notes["events"] == []


def test_keeping_something_to_go_back_to_costs_one_save(monkeypatch) -> None:
    saved: list[str] = []
    monkeypatch.setattr(moments, "write_checkpoint", lambda folder, *rest: saved.append(folder.name))
    for mode, expected in (("act", ["start"]), ("advise", [])):
        tuned(tiny_work(), doctor=mode)
        assert saved == expected
        saved.clear()


def test_without_room_for_the_first_weights_it_only_speaks(monkeypatch) -> None:
    def full(folder, *rest):
        raise Missing("no room")

    monkeypatch.setattr(moments, "write_checkpoint", full)
    made = tuned(exploding(tiny_work()), epochs=1)
    assert [(e["did"], e["would"]) for e in made.notes["events"]][:1] == [("say", "restart")]


# -- faults ------------------------------------------------------------------------------------------------


def test_a_rate_that_is_far_too_high_is_brought_down() -> None:
    plain, acted = (tuned(tiny_work(train=200), epochs=8, lr=0.3, doctor=mode) for mode in ("off", "act"))
    best = [max(e["score"] for e in made.notes["evals"]) for made in (plain, acted)]
    assert best[0] < 0.7
    assert best[1] > 0.9
    event = acted.notes["events"][0]
    assert (event["name"], event["did"]) == ("rate too high", "restart")
    assert event["rate_factor"] == pytest.approx(1 / 3)
    assert event["evidence"]["loss"] > event["evidence"]["loss_at_start"]


def test_advice_says_what_acting_would_have_done_and_changes_nothing() -> None:
    plain, advised = (tuned(tiny_work(train=200), epochs=4, lr=0.3, doctor=mode) for mode in ("off", "advise"))
    assert same(plain, advised)
    assert {(e["did"], e["would"]) for e in advised.notes["events"] if e["name"] == "rate too high"} == {
        ("say", "restart")
    }


def exploding(work):
    work.model.classifier.weight.data.mul_(1000)
    return work


def dead(work):
    for parameter in work.model.bert.encoder.layer[1].parameters():
        parameter.data.zero_()
    return work


def frozen(work):
    work.model.bert.encoder.layer[0].requires_grad_(False)
    return work


def other_names_on_dev(work):
    return replace(work, valid=with_target(work.valid, lambda i, row: {"neg": "pos", "pos": "neg"}[row.target]))


def the_same_text(work):
    return replace(work, train=[replace(row, text="the film") for row in work.train])


def few_rows(work):
    return replace(work, train=work.train[:16])


def few_dev_rows(work):
    return replace(work, valid=work.valid[:6])


@pytest.mark.parametrize(
    ("fault", "settings", "expected"),
    [
        (exploding, {"epochs": 1}, "exploding start"),
        (dead, {"epochs": 3, "patience": 0}, "dead gradients"),
        (frozen, {"epochs": 3, "patience": 0}, "dead gradients"),
        (other_names_on_dev, {"epochs": 6, "patience": 0}, "wrong label map"),
        (the_same_text, {"epochs": 6, "patience": 0, "lr": 1e-3}, "plateau at the majority"),
        (few_rows, {"epochs": 20}, "too little data"),
        (few_dev_rows, {"epochs": 2}, "too little data"),
    ],
)
def test_injected_faults_are_named(fault, settings, expected) -> None:
    made = tuned(fault(tiny_work(train=120)), **settings)
    assert expected in names(made)
    json.dumps(made.notes["events"], allow_nan=False)


def test_a_redrawn_head_ends_an_exploding_start() -> None:
    made = tuned(exploding(tiny_work(train=120)), epochs=6)
    assert made.notes["events"][0]["did"] == "restart"
    assert made.notes["curve"][0]["loss"] < 1.0
    assert max(e["score"] for e in made.notes["evals"]) > 0.9


@dataclass(frozen=True)
class InFileOrder(Bucketed):
    def order(self, lengths_N, size, seed, epoch):
        return [np.arange(i, min(i + size, len(lengths_N))) for i in range(0, len(lengths_N), size)]


def test_batches_in_the_order_of_a_sorted_file_make_a_saw() -> None:
    work = tiny_work(train=96)
    work = replace(work, train=sorted(work.train, key=lambda row: str(row.target)))
    made = tuned(work, batching=InFileOrder(), epochs=6, patience=0, lr=3e-4)
    assert "saw-tooth" in names(made)


# -- numbers that are not finite ---------------------------------------------------------------------------


def nan_word(work):
    """One word of one row has no embedding that is a number."""
    place = work.tokenizer.convert_tokens_to_ids(RARE[0])
    work.model.bert.embeddings.word_embeddings.weight.data[place, 3] = float("nan")
    return replace(
        work, train=[replace(r, text=f"{r.text} {RARE[0]}") if i == 50 else r for i, r in enumerate(work.train)]
    )


@pytest.mark.parametrize("mode", doctor.MODES)
def test_nan_is_named_at_its_source_with_its_row_and_ends_the_run_when_it_comes_again(mode: str) -> None:
    with pytest.raises(BurnishError) as raised:
        tuned(nan_word(tiny_work(train=200)), doctor=mode, epochs=1)
    assert "bert.embeddings.word_embeddings" in str(raised.value)
    assert "rows data:50\n" in str(raised.value)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_an_infinite_target_is_named_with_its_row() -> None:
    work = replace(tiny_work(), task=make("regression"))
    train = with_target(work.train, lambda i, row: float("inf") if i == 9 else float(i % 7))
    work = replace(work, train=train, valid=with_target(work.valid, lambda i, row: float(i % 7)))
    work.model.classifier = torch.nn.Linear(32, 1)
    with pytest.raises(BurnishError, match=r"the target: rows data:9\n"):
        tuned(work)


class NanOnce(Tweak):
    """The gradient of one step is lost, once: what an unlucky batch does at too high a rate."""

    left = 1

    def loss(self, model, batch, inner):
        found = inner(model, batch)
        if self.left and model.training and torch.is_grad_enabled() and self.step == 45:
            self.left -= 1
            return found * float("nan")
        return found

    def before_step(self, model, step):
        self.step = step


def test_after_nan_it_goes_back_with_a_third_of_the_rate_and_ends_well() -> None:
    made = tuned(tiny_work(train=120), epochs=8, tweaks=(NanOnce(),))
    event = made.notes["events"][0]
    assert (event["name"], event["did"], event["step"]) == ("not finite", "back", 45)
    assert event["rate_factor"] == pytest.approx(1 / 3)
    assert event["evidence"]["rows"]
    assert max(e["score"] for e in made.notes["evals"]) > 0.9


# -- what acting does, whoever asks for it -----------------------------------------------------------------


class Script(Watch):
    """Acts at fixed steps, each once, and leaves a look at each evaluation as the doctor does."""

    acts = True

    def __init__(self, *script: tuple[int, Act]):
        self.script = script

    def stepped(self, diary: Diary, layer_norms: Mapping[str, float]) -> Act | None:
        now, done = diary.curve[-1]["step"], {e["name"] for e in diary.events}
        return next((act for at, act in self.script if at == now and act.name not in done), None)

    def evaluated(self, diary: Diary, facts: Mapping[str, Any]) -> None:
        diary.looks.append({"step": diary.evals[-1]["step"]})


def watched(watch: Watch | None, **settings: Any):
    """24 steps in 4 epochs unless told otherwise, 8 evaluations, with dropout."""
    work = tiny_work(train=72)
    step = FineTune(**{"epochs": 4, "lr": 1e-3, "patience": 0, "batch_size": 12, "precision": "fp32", **settings})
    found, max_length, _ = settings_for(work, step)
    learn, valid = encode_work(work, max_length)
    return loop.train(
        work.model, work.task, learn, valid, replace(found, watch=watch), seed=5, pad_id=pad_id_of(work.tokenizer)
    )


BACK = Act("back", "first", "because", {"x": 1}, factor=0.5)
AGAIN = Act("restart", "second", "because", factor=0.5, warmup=0.3, head=True)
LOWER = Act("rate", "third", "because", factor=0.5)


def test_back_goes_to_the_best_moment_with_half_the_rate_that_ramps_up() -> None:
    plain, made = watched(None), watched(Script((20, BACK)))
    event = made.notes["events"][0]
    assert (event["step"], event["did"], event["rate_factor"]) == (20, "back", 0.5)
    cut = next(i for i, (a, b) in enumerate(zip(plain.notes["curve"], made.notes["curve"], strict=True)) if a != b)
    good = {e["step"] for e in plain.notes["evals"]}
    assert cut in good  # all up to the best evaluation before step 20 is as it was
    old, new = ([p["lr"] for p in m.notes["curve"][cut:]] for m in (plain, made))
    ramp = [min(1.0, (i + 1) / moments.RAMP) for i in range(len(new))]
    assert new == pytest.approx([0.5 * a * r for a, r in zip(old, ramp, strict=True)])
    assert [p["step"] for p in made.notes["curve"]] == list(range(1, 25))


def test_restart_begins_anew_with_another_order_head_and_rate() -> None:
    plain, made = watched(None), watched(Script((9, AGAIN)))
    assert len(made.notes["curve"]) == 24
    assert made.notes["curve"][0]["loss"] != plain.notes["curve"][0]["loss"]
    assert made.notes["curve"][-1]["lr"] < plain.notes["curve"][-1]["lr"]
    assert made.notes["events"][0]["step"] == 9


def test_stop_takes_the_best_so_far_and_on_lets_patience_begin_anew() -> None:
    stopped = watched(Script((13, Act("stop", "s", "enough"))))
    assert (stopped.notes["steps"], stopped.notes["stopped"]) == (13, "enough")

    class On(Watch):
        def evaluated(self, diary, facts):
            return Act("on", "o", "not yet") if facts["stopped"] and len(diary.events) < 2 else None

    made = watched(On(), lr=1e-12, epochs=9, patience=2, evals_per_epoch=1)
    assert len(made.notes["evals"]) == 7  # one that is best, and three times two that are not
    assert made.notes["stopped"]


class Killed(BaseException):
    pass


SCRIPT = Script((5, BACK), (11, AGAIN), (18, replace(BACK, name="fourth")), (21, LOWER))


@pytest.fixture(scope="module")
def whole():
    return watched(SCRIPT)


@pytest.mark.parametrize("at", [3, 14, 22])
def test_a_cut_at_any_step_with_acts_before_and_after_ends_in_the_same_bits(
    at: int, whole, tmp_path: Path, monkeypatch
) -> None:
    assert [e["name"] for e in whole.notes["events"]] == ["first", "second", "fourth", "third"]
    monkeypatch.setattr(loop, "MIN_GAP", 0.0)
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", 1e9)
    real, steps = checkpoint.save, []

    def save_then_die(folder, step, tensors, state):
        real(folder, step, tensors, state)
        steps.append(step)
        if len(steps) > at:
            raise Killed

    monkeypatch.setattr(moments, "write_checkpoint", save_then_die)
    with lend(Desk(folder=tmp_path)):
        with pytest.raises(Killed):
            watched(SCRIPT)
        monkeypatch.setattr(moments, "write_checkpoint", real)
        resumed = watched(SCRIPT)
    for name in ("curve", "evals", "events", "best_step"):
        assert resumed.notes[name] == whole.notes[name], name
    assert same(whole, resumed)


def test_the_doctor_acts_a_few_times_and_then_only_speaks() -> None:
    watch = doctor.Doctor()
    diary = Diary()
    kinds = ["back"] * 3 + ["restart"] * 3
    for n, kind in enumerate(kinds):
        act = watch._allowed(diary, Act(kind, f"{n}", "why"))  # type: ignore[arg-type]
        diary.events.append({"did": act.kind, "name": act.name})
    assert [e["did"] for e in diary.events] == ["back"] * 3 + ["restart"] * 2 + ["say"]
    four = Diary(events=[{"did": "back", "name": "x"}] * 3)
    refused = watch._allowed(four, Act("back", "x", "why"))
    assert (refused.kind, refused.would) == ("say", "back")


def test_a_diary_goes_back_and_keeps_what_was_done() -> None:
    diary = Diary(curve=[{"step": 1.0}], norms=[1.0], clipped=1)
    mark = json.loads(json.dumps(diary.mark()))
    diary.curve.append({"step": 2.0})
    diary.clipped += 1
    diary.events.append({"did": "back"})
    again = diary.back_to(mark)
    assert (again.curve, again.clipped, again.events) == ([{"step": 1.0}], 1, [{"did": "back"}])
    assert Diary.from_json(json.loads(json.dumps(again.to_json()))) == again


# -- how to ask for it -------------------------------------------------------------------------------------


def test_the_usual_rate_is_known_where_the_table_knows_such_models() -> None:
    found, _, _ = settings_for(tiny_work(), FineTune())
    assert isinstance(found.watch, doctor.Doctor)
    assert found.watch.usual is None
    assert found.watch.warmup == found.warmup
    assert settings_for(tiny_work(), FineTune(doctor="off"))[0].watch is None
    assert not settings_for(tiny_work(), FineTune(doctor="advise"))[0].watch.acts


def test_a_wrong_mode_is_refused_on_the_command_line(capsys) -> None:
    from burnish.cli import main

    for verb in ("fit", "tune"):
        assert main([verb, "data.csv", "--model", "m", "--doctor", "advice"]) == 2
        assert "did you mean 'advise'" in capsys.readouterr().err


def test_tune_prints_what_was_seen_and_done() -> None:
    from burnish.cli.tune import _lines

    event = {"step": 41, "did": "back", "name": "spike", "why": "the loss jumped", "evidence": {}}
    estimate = {"value": 0.9, "low": 0.8, "high": 0.95}
    found = {"metric": "accuracy", "samples_per_second": 9.0, "valid": estimate, "test": estimate, "train_seconds": 1.0,
             "peak_memory_bytes": 1, "model": "m", "reasons": [], "doctor": [event]}  # fmt: skip
    assert "step 41, spike: the loss jumped; went back to the best weights" in "\n".join(_lines(found))


def test_a_mode_holds_for_all_steps_that_learn_and_yaml_may_say_off() -> None:
    from burnish import catalog
    from burnish.plan.request import Request, recipes_for

    found = recipes_for(Request("d", "m", recipe="student-half", settings={"doctor": "advise"}))[0]
    learners = [use for use in found.uses if use.name in ("tune/finetune", "compress/student")]
    assert [use.settings["doctor"] for use in learners] == ["advise", "advise"]
    assert catalog.check("tune/finetune", {"doctor": False}) == {"doctor": "off"}
