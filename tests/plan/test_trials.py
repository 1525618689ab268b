"""A search on the tiny model: its trials, who takes over from a dead worker, and what the finalists say."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optuna")

from burnish import api
from burnish.errors import UsageError
from burnish.plan import finalists, hyper, searched, trials, workers
from burnish.plan.finalists import affordable, verdict
from burnish.plan.space import Choice, Range
from burnish.plan.study import DEATHS, Study
from tests.tiny import tiny_rows

SPACE = {"lr": Range(1e-4, 1e-1, log=True), "batch_size": Choice((4, 8))}
DEFAULT = {"lr": 1e-3, "batch_size": 8}
VARY = ("lr=1e-4..1e-1", "batch_size=4,8", "warmup=0,0.1", "weight_decay=0.01", "layer_decay=1,0.9")
SETTINGS = {"precision": "fp32", "epochs": "1", "doctor": "off"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_text("text,label\n" + "".join(f"{r.text},{r.target}\n" for r in tiny_rows(60)))
    return path


@pytest.fixture
def request_(tiny_folder, data):
    return api.open_request(str(data), model=str(tiny_folder), settings=SETTINGS)


def silent(what, share, facts) -> None:
    pass


# -- the study alone -----------------------------------------------------------------------------


@pytest.fixture
def study(tmp_path):
    with contextlib.closing(Study(tmp_path, SPACE, DEFAULT, seed=0)) as made:
        yield made


def run_all(study: Study, wanted: int, score=lambda point: -abs(np.log10(point["lr"]) + 2)) -> list:
    while (taken := study.take(wanted)) is not None:
        with study.working(taken):
            study.finish(taken, score=float(score(taken.point)), seconds=1.0, why="")
    return study.finished()


def test_the_default_is_the_first_trial_and_the_number_is_kept(study) -> None:
    run_all(study, 2)
    found = run_all(study, 5)
    assert found[0]["params"] == DEFAULT
    assert [t["trial"] for t in found] == [0, 1, 2, 3, 4]
    assert len({t["params"]["lr"] for t in found}) == 5


def test_a_study_that_was_cut_proposes_what_a_straight_one_does(tmp_path) -> None:
    told = []
    for name, parts in (("straight", (12,)), ("cut", (3, 10, 12))):
        (tmp_path / name).mkdir()
        for wanted in parts:
            with contextlib.closing(Study(tmp_path / name, SPACE, DEFAULT, seed=3)) as study:
                told.append([t["params"] for t in run_all(study, wanted)])
    assert told[0] == told[-1]


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random", "grid"])
def test_every_sampler_comes_to_its_end(sampler, tmp_path) -> None:
    with contextlib.closing(Study(tmp_path, SPACE, DEFAULT, seed=0, sampler=sampler)) as study:
        wanted = study.most(10 if sampler != "grid" else 50)
        found = run_all(study, wanted)
    points = {(t["params"]["lr"], t["params"]["batch_size"]) for t in found}
    assert len(points) == len(found) == (11 if sampler == "grid" else 10)


@pytest.mark.parametrize(("pruner", "prunes"), [("halving", True), ("hyperband", True), ("none", False)])
def test_pruning_gives_up_what_is_worse_at_the_same_share(pruner, prunes, tmp_path) -> None:
    given_up = 0
    with contextlib.closing(Study(tmp_path, SPACE, DEFAULT, seed=0, sampler="random", pruner=pruner)) as study:
        for quality in (0.9, 0.1, 0.1, 0.1, 0.1, 0.1):
            taken = study.take(6)
            with study.working(taken):
                gone = any(taken.report(share / 10, quality) for share in range(1, 11))
                study.finish(taken, score=None if gone else quality, seconds=1.0, why="")
            given_up += gone
            assert not (gone and quality == 0.9)
        found = study.finished()
    assert bool(given_up) is prunes
    assert sum(t["pruned"] for t in found) == given_up
    assert all(t["score"] == 0.1 for t in found if t["pruned"])


def test_a_failed_trial_counts_as_the_worst_and_the_study_goes_on(study) -> None:
    for score, failed in ((0.7, False), (0.4, False), (0.5, True)):
        taken = study.take(3)
        study.finish(taken, score=score, seconds=1.0, why="diverged" if failed else "", failed=failed)
    assert [t["score"] for t in study.finished()] == [0.7, 0.4, 0.4]
    assert study.take(3) is None


def test_an_interrupted_trial_is_put_back_with_what_it_had_reported(study) -> None:
    taken = study.take(2)
    taken.report(0.4, 0.8)
    with pytest.raises(KeyboardInterrupt), study.working(taken):
        raise KeyboardInterrupt
    again = study.take(2)
    assert again.point == taken.point
    assert again.rung == taken.rung == 3
    study.finish(again, score=0.8, seconds=1.0, why="")
    assert [t["retried"] for t in study.finished()] == [1]


def killed(*args, **kwargs):
    raise SystemExit  # as far as the study can tell, the process ends here


@pytest.mark.parametrize("where", ["study.ask", "Trial.set_user_attr", "Trial.suggest_float"])
def test_a_worker_killed_while_it_took_a_trial_leaves_it(where, tmp_path) -> None:
    import optuna

    owner, name = (optuna.Trial if where.startswith("Trial") else optuna.Study), where.split(".")[1]
    dead = Study(tmp_path, SPACE, DEFAULT, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, killed)
        with pytest.raises(SystemExit):
            dead.take(2)
    dead.lease.close()  # which the system does for a dead process
    with contextlib.closing(Study(tmp_path, SPACE, DEFAULT, seed=0)) as study:
        taken = study.take(1)
        assert taken.point == DEFAULT
        assert taken.number == 0
    dead.close()


def test_a_sampled_trial_whose_worker_was_killed_is_sampled_alike(tmp_path) -> None:
    found = []
    for name in ("straight", "cut"):
        (tmp_path / name).mkdir()
        with contextlib.closing(Study(tmp_path / name, SPACE, DEFAULT, seed=0)) as study:
            run_all(study, 6)
        dead = Study(tmp_path / name, SPACE, DEFAULT, seed=0)
        if name == "cut":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("burnish.plan.study.Taken", killed)  # all of it but the last line
                with pytest.raises(SystemExit):
                    dead.take(9)
        dead.close()
        with contextlib.closing(Study(tmp_path / name, SPACE, DEFAULT, seed=0)) as study:
            found.append([(t["trial"], t["params"], t["pruned"]) for t in run_all(study, 8)])
    assert found[0] == found[1]


def test_a_trial_that_kills_every_worker_is_failed_and_the_study_goes_on(tmp_path) -> None:
    for _ in range(DEATHS + 1):
        dead = Study(tmp_path, SPACE, DEFAULT, seed=0)
        assert dead.take(2).number == 0
        dead.close()
    with contextlib.closing(Study(tmp_path, SPACE, DEFAULT, seed=0)) as study:
        assert study.take(2).number == 1
        (told,) = study.finished()
    assert told["failed"]
    assert not told["pruned"]
    assert "has died" in told["why"]
    assert not list((tmp_path / "leases").iterdir())


HOLD = """
import sys
from pathlib import Path
from burnish.plan.space import Choice, Range
from burnish.plan.study import Study
study = Study(Path(sys.argv[1]), {"lr": Range(1e-4, 1e-1, log=True), "batch_size": Choice((4, 8))}, {}, seed=0)
taken = study.take(9)
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_trial_of_a_killed_process_is_taken_by_another_at_once(tmp_path, study) -> None:
    study.study.enqueue_trial(DEFAULT)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            assert study.take(1) is None  # it lives: its trial is its own
            assert not study.finished()
        finally:
            process.kill()
            process.wait()
        taken = study.take(1)
    assert taken.point == DEFAULT
    assert taken.number == 0


def test_importance_finds_the_setting_that_matters(study) -> None:
    run_all(study, 16)
    found = study.importance()
    assert found["lr"] > 0.7
    assert sum(found.values()) == pytest.approx(1, abs=1e-3)


# -- the statistics of the finalists ------------------------------------------------------------


def test_two_settings_make_the_paired_t_test() -> None:
    from scipy.stats import t

    default, other = np.array([0.80, 0.82, 0.84]), np.array([0.83, 0.86, 0.86])
    found = verdict([default, other])
    d = other - default
    assert found.gain == pytest.approx(d.mean())
    assert found.noise == pytest.approx(t.ppf(0.95, 2) * d.std(ddof=1) / 3**0.5)
    assert found.stds[0] == pytest.approx(0.02)
    assert found.winner == 1


def test_what_a_seed_does_to_all_alike_is_no_noise() -> None:
    found = verdict([[0.70, 0.80, 0.90], [0.71, 0.81, 0.91]])
    assert found.noise == pytest.approx(0, abs=1e-12)
    assert found.beats


def test_a_gain_within_the_noise_beats_nothing() -> None:
    found = verdict([[0.80, 0.84, 0.82], [0.85, 0.80, 0.84], [0.70, 0.72, 0.71]])
    assert found.winner == 1
    assert 0 < found.gain < found.noise
    assert not found.beats


def test_by_chance_alone_few_winners_beat_the_default() -> None:
    rng = np.random.default_rng(0)
    one = [verdict(rng.normal(0.8, 0.02, (2, 3))).beats for _ in range(400)]
    assert 0.02 < np.mean(one) < 0.09
    real = [verdict(rng.normal([[0.8], [0.9]], 0.02, (2, 3))).beats for _ in range(200)]
    assert np.mean(real) > 0.9


def test_without_repeats_nothing_beats() -> None:
    assert not verdict([[0.8], [0.99]]).beats
    assert verdict([[0.8, 0.9, 0.7]]).winner is None


def test_time_takes_candidates_before_it_takes_seeds() -> None:
    assert affordable(10, [10, 10, 10], float("inf")) == (3, 3)
    assert affordable(10, [10, 10, 10], 95) == (2, 3)
    assert affordable(10, [10, 10, 10], 60) == (1, 3)
    assert affordable(10, [10, 10, 10], 45) == (1, 2)
    assert affordable(10, [10, 10, 10], 5) == (1, 1)
    assert affordable(10, [], 5) == (0, 1)


def test_the_curve_passes_over_what_was_given_up() -> None:
    lines = [
        {"trial": i, "score": s, "seconds": 2.0, "pruned": p, "failed": False}
        for i, (s, p) in enumerate([(None, True), (0.5, False), (0.9, True), (0.4, False), (0.6, False)])
    ]
    assert [point["best"] for point in searched.curve(lines)] == [None, 0.5, 0.5, 0.5, 0.6]
    assert searched.curve(lines)[-1]["seconds"] == 10.0


# -- whole searches ------------------------------------------------------------------------------


SCRIPT = """
import json, sys
from burnish import api
data, model, out = sys.argv[1:4]
request = api.open_request(data, model=model, settings=json.loads(sys.argv[4]))
api.search(request, out, vary=json.loads(sys.argv[5]), trials=int(sys.argv[6]), workers=int(sys.argv[7]))
"""


def begun(request_, out: Path, trials: int, workers: int = 1) -> subprocess.Popen:
    """A search in a process of its own, which has finished a trial and is on the others."""
    words = [json.dumps(SETTINGS), json.dumps(VARY), str(trials), str(workers)]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, request_.data, request_.model, str(out), *words])
    while process.poll() is None and not (out / "trials.jsonl").is_file():
        time.sleep(0.02)
    return process


def workers_of(run: Path) -> list[int]:
    return [int(lease.name.split("-")[0]) for lease in (run / "leases").iterdir()]


@pytest.fixture
def two_seeds(monkeypatch) -> None:
    """Finalists are repeated less, for speed."""
    monkeypatch.setattr(finalists, "SEEDS", 2)


@pytest.fixture(scope="module")
def straight(tiny_folder, data, tmp_path_factory) -> tuple[Path, dict]:
    """A search of three trials that nothing interrupted."""
    folder = tmp_path_factory.mktemp("search") / "straight"
    request = api.open_request(str(data), model=str(tiny_folder), settings=SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finalists, "SEEDS", 2)
        return folder, hyper.search(request, hyper.Wish(VARY, trials=3), folder, silent)


def essence(found: dict) -> tuple[list, list]:
    trials = [(t["trial"], t["params"], t["score"], t["pruned"]) for t in found["trials"]]
    return trials, [row["scores"] for row in found["finalists"]]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_search_in_another_process_and_after_a_kill(
    request_, straight, two_seeds, tmp_path
) -> None:
    there = tmp_path / "there"
    process = begun(request_, there, trials=3)
    process.kill()
    process.wait()
    assert not (there / "search.json").is_file()
    found = hyper.search(request_, hyper.Wish(VARY, trials=3), there, silent)
    assert essence(found) == essence(straight[1])
    assert len(found["finalists"][0]["scores"]) == 2
    assert not list(there.glob("trials/*/step-*"))
    assert not workers_of(there)


@pytest.mark.slow
def test_two_workers_share_and_one_may_be_killed(request_, two_seeds, tmp_path) -> None:
    gone = []

    def watch(what, share, facts) -> None:
        """Kill a worker once a trial is finished."""
        if not gone and (tmp_path / "run" / "trials.jsonl").is_file():
            gone.extend(workers_of(tmp_path / "run")[:1])
            os.kill(gone[0], signal.SIGKILL)

    found = hyper.search(request_, hyper.Wish(VARY, trials=4, workers=2), tmp_path / "run", watch)
    assert gone
    assert [t["trial"] for t in found["trials"]] == [0, 1, 2, 3]
    assert found["workers"] == 2
    assert len(found["finalists"][0]["scores"]) == 2
    assert all(0 <= t["score"] <= 1 for t in found["trials"] if not t["pruned"])


def test_workers_end_with_their_command(tmp_path) -> None:
    """The end of the pipe is all that a worker hears of its command's death."""
    word = "import time; from burnish.plan import workers; workers._work = lambda task: time.sleep(600)"
    code = f"{word}; workers._main(None)"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True) as worker:
        worker.stdin.write("{}\n")
        worker.stdin.close()
        assert worker.wait(120) == 1


def test_what_every_worker_meets_is_raised(request_, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(workers, "COMMAND", [sys.executable, "-c", CONFESSES])
    with pytest.raises(UsageError, match="no such thing"):
        hyper.search(request_, hyper.Wish(VARY, trials=2, workers=2), tmp_path / "run", silent)


CONFESSES = """
import json, sys
with open(sys.argv[1], "w") as file:
    json.dump({"kind": "UsageError", "message": "no such thing"}, file)
sys.exit(1)
"""


def test_the_default_is_tried_when_time_is_over_before_the_first_trial(request_, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(hyper, "SHARE", -9.0)
    request = replace(request_, budget=replace(request_.budget, time=20.0))
    found = hyper.search(request, hyper.Wish(VARY), tmp_path / "run", silent)
    assert [t["trial"] for t in found["trials"]] == [0]
    assert found["recommended"]["which"] == "default"


def test_a_trial_that_diverges_is_the_worst_and_is_said(request_, two_seeds, tmp_path) -> None:
    wish = hyper.Wish((*VARY[1:], "lr=1e-3,1e12"), trials=5, sampler="grid", pruner="none")
    found = hyper.search(replace(request_, settings={**SETTINGS, "clip": "0"}), wish, tmp_path / "run", silent)
    failed = [t for t in found["trials"] if t["failed"]]
    assert len(found["trials"]) == 5
    for trial in failed:
        assert trial["params"]["lr"] == 1e12
        assert "gave loss" in trial["why"]
        assert trial["score"] == min(t["score"] for t in found["trials"])
    assert failed


def test_a_finished_search_is_read_more_trials_go_on_and_another_space_is_refused(
    request_, straight, two_seeds, tmp_path, monkeypatch
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight[0], folder)
    with monkeypatch.context() as patch:
        patch.setattr(trials, "build", None)
        patch.setattr(hyper, "lay", None)
        assert hyper.search(request_, hyper.Wish(VARY, trials=3), folder, silent) == straight[1]
    more = hyper.search(request_, hyper.Wish(VARY, trials=4), folder, silent)
    assert more["trials"][:3] == straight[1]["trials"]
    assert len(more["trials"]) == 4
    with pytest.raises(UsageError, match="another search"):
        hyper.search(request_, hyper.Wish(VARY[:1], trials=4), folder, silent)


def test_a_default_outside_the_space_is_still_what_is_beaten(request_, two_seeds, tmp_path) -> None:
    found = hyper.search(request_, hyper.Wish(("lr=0.01,0.02", *VARY[1:]), trials=1), tmp_path / "run", silent)
    first, other = found["finalists"]
    assert found["trials"][0]["params"]["lr"] == 0.01
    assert other["trial"] == 0
    assert first["params"]["lr"] == first["settings"]["lr"] < 0.01


@pytest.mark.parametrize(("name", "value", "says"), [("sampler", "tpee", "tpe"), ("pruner", "halve", "halving")])
def test_an_unknown_sampler_or_pruner_is_refused_with_the_nearest(name, value, says) -> None:
    with pytest.raises(UsageError, match=says):
        hyper.Wish(**{name: value})
