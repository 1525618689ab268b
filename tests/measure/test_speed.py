"""The race is fair, keeps to its time, and calls nothing faster that is not."""

import gc
import json
import random
import time

import numpy as np
import pytest
from scipy import stats

from burnish.measure import speed
from burnish.measure.intervals import Estimate
from burnish.measure.speed import Entrant, Reading, faster, median_interval, race, verdict


class Clock:
    """A clock that only work moves, so that the tests measure the race and not the machine."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(speed.time, "perf_counter", found.perf_counter)
    monkeypatch.setattr(speed.gc, "collect", lambda: 0)  # slow where many libraries are loaded
    return found


def worker(clock, name, seconds, log=None, noise=None):
    """Takes `seconds` a row (a row is its length), half of that in a batch."""

    def work(rows, share):
        if log is not None:
            log.append((name, tuple(rows)))
        clock.now += share * seconds * sum(rows) * (noise() if noise else 1)

    return Entrant(name, lambda row: work([row], 1.0), lambda rows: work(rows, 0.5))


def test_the_ratio_is_the_true_one_and_the_reference_is_one(clock):
    found = race([worker(clock, "slow", 0.004), worker(clock, "quick", 0.001)], [1], reference="slow", seconds=20)
    assert found["quick"].speedup.value == pytest.approx(4)
    assert found["quick"].load_speedup.value == pytest.approx(4)
    assert (found["slow"].speedup, faster(found["slow"])) == (Estimate(1, 1, 1), False)
    assert found["quick"].p50_ms == pytest.approx(1)
    assert found["quick"].rows_per_second == pytest.approx(2000)
    assert found["quick"].rounds == 9
    assert faster(found["quick"])


def test_every_entrant_meets_the_same_rows_in_every_round_and_the_first_place_rotates(clock):
    log = []
    names = ["a", "b", "c"]
    race(
        [worker(clock, n, 0.001, log) for n in names], list(range(1, 200)), reference="a", rounds=3, seconds=60, load=8
    )
    batches = {n: [rows for who, rows in log if who == n and len(rows) == 8] for n in names}
    seen = {n: [rows for who, rows in log if who == n and len(rows) == 1] for n in names}
    measured = {n: (seen[n][24:], batches[n][3:]) for n in names}  # without the warm-up, which is its own rows
    assert measured["a"] == measured["b"] == measured["c"]
    turns = [who for who, rows in log]
    order = [who for i, who in enumerate(turns) if i == 0 or turns[i - 1] != who]
    # Warm-up a b c, then abc, bca, cab; the last of one turn and the first of the next never meet twice here.
    assert order == ["a", "b", "c", "a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_p95_is_the_slow_tail_of_single_rows(clock):
    lengths = [1] * 94 + [50] * 6
    found = race([worker(clock, "a", 0.001)], lengths, reference="a", seconds=500, rounds=30)["a"]
    assert found.p50_ms == pytest.approx(1)
    assert found.p95_ms == pytest.approx(50)


def test_a_slow_minute_of_the_machine_hits_all_alike(clock):
    def weather():
        return 1 + 4 * (int(clock.now) % 3 == 0)

    entrants = [worker(clock, "a", 0.002, noise=weather), worker(clock, "b", 0.001, noise=weather)]
    found = race(entrants, [1, 2, 3], reference="a", seconds=60)
    assert found["b"].speedup.low <= 2 <= found["b"].speedup.high
    assert found["b"].speedup.value == pytest.approx(2, rel=0.1)


def test_equal_engines_are_seldom_called_faster(clock):
    luck = random.Random(0)
    alarms = 0
    for seed in range(80):
        entrants = [worker(clock, n, 0.001, noise=lambda: luck.lognormvariate(0, 0.2)) for n in "ab"]
        alarms += faster(race(entrants, [1], reference="a", seconds=0.5, seed=seed)["b"])
    assert alarms / 80 <= 0.075  # one side of a 95 % interval, and the rounds are few


@pytest.mark.parametrize("budget", [1.0, 5.0, 40.0])
def test_the_race_keeps_to_its_time(clock, budget):
    race([worker(clock, n, 0.002) for n in "abcd"], [1, 3], reference="a", seconds=budget)
    assert 0.3 * budget < clock.now < 1.5 * budget or clock.now < 40  # 9 full rounds may need less than is there


def test_entrants_too_slow_for_the_time_still_run_one_round_but_are_not_called_faster(clock):
    found = race([worker(clock, "a", 10.0), worker(clock, "b", 1.0)], [1], reference="a", seconds=1.0)
    assert found["b"].rounds == 1
    assert found["b"].speedup.value == pytest.approx(10)
    assert not faster(found["b"])
    assert "not shown to be faster" in verdict(found["b"])


def test_few_rows_are_used_again_and_none_or_no_reference_is_refused(clock):
    found = race([worker(clock, "a", 0.001)], [2], reference="a", seconds=5, load=32)["a"]
    assert found.rows_per_second == pytest.approx(1000)
    for rows, reference in (([], "a"), ([1], "z")):
        with pytest.raises(ValueError, match="a race needs rows"):
            race([worker(clock, "a", 0.001)], rows, reference=reference)


def reading(low, value, high, name="int8", rounds=9):
    estimate = Estimate(value, low, high)
    return Reading(name, "torch fp32", 1.0, 2.0, 100.0, estimate, estimate, rounds, 90)


def test_a_verdict_calls_faster_only_what_is_clearly_faster():
    assert verdict(reading(4.7, 5.1, 5.6)) == "int8 is 5.1 times as fast as torch fp32 at batch 1 (4.7 to 5.6)"
    assert "is slower than" in verdict(reading(0.7, 0.8, 0.9))
    for unclear in (reading(0.9, 1.1, 1.3), reading(1.0, 1.2, 1.3), reading(2.0, 2.0, 2.0, rounds=3)):
        assert "not shown to be faster" in verdict(unclear)
        assert not faster(unclear)


def test_a_reading_is_json():
    found = json.loads(json.dumps(reading(1.1, 1.2, 1.3).to_json()))
    assert set(found) == {"p50_ms", "p95_ms", "rows_per_second", "speedup", "load_speedup", "rounds", "rows"}
    assert found["speedup"] == {"value": 1.2, "low": 1.1, "high": 1.3}


@pytest.mark.parametrize("n", [6, 9, 15, 30])
def test_the_interval_of_a_median_covers_at_least_95_percent_whatever_the_shape(n):
    rng = np.random.default_rng(n)
    found = [median_interval(x) for x in rng.exponential(size=(1500, n))]
    covered = np.mean([e.low <= np.log(2) <= e.high for e in found])
    assert 0.94 <= covered <= 0.99
    e, x = found[0], np.sort(rng.exponential(size=n))
    r = int(np.searchsorted(x, median_interval(x).low)) + 1
    assert 1 - 2 * stats.binom.cdf(r - 1, n, 0.5) >= 0.95
    assert e.low <= e.value <= e.high


def test_under_six_values_the_interval_is_their_range():
    assert median_interval([3, 1, 2]) == Estimate(2, 1, 3)
    assert median_interval([7.0]) == Estimate(7, 7, 7)


def test_real_seconds_are_measured_and_the_garbage_collector_comes_back():
    naps = [
        Entrant(n, lambda row, s=s: time.sleep(s), lambda rows, s=s: time.sleep(s))
        for n, s in (("a", 0.008), ("b", 0.002))
    ]
    assert gc.isenabled()
    found = race(naps, [0], reference="a", seconds=2.0)
    assert gc.isenabled()
    assert 2 < found["b"].speedup.value < 5
    assert faster(found["b"])
