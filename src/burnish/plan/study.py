"""The trials of a search in one Optuna study on disk, which several processes share and none can leave half done.

    study.db          the study: every trial, its values while it trained, and who works on it
    study.lock        held by whoever touches the study
    leases/WORKER     locked by a worker for as long as it lives; the system unlocks it at its death

A trial whose worker has died waits again, with its number and with what it had reported; it is known at once and
without a clock, so a slow worker is never taken for a dead one. All workers are on one machine.

Nothing here knows what a trial trains. Import it only when `need_optuna` was happy.
"""

import contextlib
import fcntl
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from burnish.plan.space import Choice, Space, Value, grid
from burnish.words import say

__all__ = ["Study", "Taken"]

NAME = "search"
RUNGS = 9  # a trial is looked at after each ninth of its way
STARTUP = 8  # trials drawn at random before a sampler has something to learn from
DONE = (TrialState.COMPLETE, TrialState.PRUNED)
LOCK_SECONDS = 60  # how long to wait for a foreign program that reads the file
DEATHS = 5  # a trial that is put back this often and whose worker dies again is killing its workers
GRID_LIMIT = 2000


@dataclass
class Taken:
    """A trial that this process works on; `rung` is the last one it reported."""

    study: "Study"
    trial: optuna.Trial
    number: int
    point: dict[str, Value]
    rung: int = 0
    rungs: int = RUNGS

    def report(self, share: float, score: float) -> bool:
        """Note the best score at a share (0..1) of training; return whether to give the trial up.

        At its end it is not given up any more: nothing would be saved.
        """
        rung = int(share * self.rungs + 1e-9)
        if not self.rung < rung < self.rungs:
            return False
        self.rung = rung
        with self.study.alone():
            self.trial.report(score, rung)
            return self.trial.should_prune()


class Study:
    """One process's view of the study in `folder`; `default` is its first trial."""

    def __init__(
        self,
        folder: Path,
        space: Space,
        default: Mapping[str, Value],
        *,
        seed: int,
        sampler: str = "tpe",
        pruner: str = "hyperband",
        workers: int = 1,
    ):
        self.folder, self.space, self.seed, self.kind, self.workers = folder, space, seed, sampler, workers
        self.first = [dict(default)]  # tried before a sampler is asked
        if sampler == "grid":
            self.first += [point for point in grid(space, seed)[:GRID_LIMIT] if point != self.first[0]]
        # A sampler learns within one of hyperband's three brackets, so it must begin with less.
        self.startup = STARTUP // 2 if pruner == "hyperband" else STARTUP
        self.worker, self.leases = f"{os.getpid()}-{time.time_ns()}", folder / "leases"  # no name of a dead one
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with self.alone():
            self.lease = _hold(self.leases / self.worker)
            self.storage = optuna.storages.RDBStorage(
                f"sqlite:///{folder / 'study.db'}", engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}}
            )
            self.study = optuna.create_study(
                study_name=NAME,
                storage=self.storage,
                direction="maximize",
                pruner=_pruner(pruner),
                load_if_exists=True,
            )

    def close(self) -> None:
        self.storage.remove_session()
        self.storage.engine.dispose()
        with self.alone():
            (self.leases / self.worker).unlink(missing_ok=True)
            self.lease.close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One process at a time touches the study, so that no two take the last trial and none waits for SQLite."""
        with _held(self.folder / "study.lock"), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # so are some samplers called
            warnings.filterwarnings("ignore", module="optuna")
            yield

    # -- trials ------------------------------------------------------------------------------------

    def most(self, wanted: int) -> int:
        """How many trials there can be: a grid ends."""
        return min(wanted, len(self.first)) if self.kind == "grid" else wanted

    def take(self, wanted: int) -> Taken | None:
        """The next trial; None when as many as `wanted` are finished or under way."""
        with self.alone():
            self._put_back_of_the_dead()
            trials = self._trials()
            waiting = [t.number for t in trials if t.state == TrialState.WAITING]
            if len(trials) - len(waiting) >= wanted:
                return None
            number = min(waiting, default=len(trials))  # the one that `ask` gives
            if number == len(trials) and number < len(self.first):
                self.study.enqueue_trial(self.first[number])
            self.study.sampler = self._sampler(number)
            trial = self.study.ask()
            trial.set_user_attr("owner", self.worker)
            point = {name: _suggested(trial, name, dimension) for name, dimension in self.space.items()}
            before = self._trials()[number].intermediate_values
        return Taken(self, trial, number, point, max(before, default=0))

    @contextlib.contextmanager
    def working(self, taken: Taken) -> Iterator[None]:
        """Put the trial back when something else than its end ends this."""
        try:
            yield
        except BaseException:
            with self.alone():
                trial = self._trials()[taken.number]
                if trial.state == TrialState.RUNNING:
                    self._put_back(trial)
            raise

    def finish(self, taken: Taken, *, score: float | None, seconds: float, why: str, failed: bool = False) -> None:
        """`score` None: it was given up. A trial that failed gets the lowest score there is, so that none is drawn to
        where it stood."""
        with self.alone():
            taken.trial.set_user_attr("seconds", round(seconds, 3))
            taken.trial.set_user_attr("why", why)
            taken.trial.set_user_attr("failed", failed)
            if failed and score is not None:
                known = [t.value for t in self._trials() if t.state in DONE]
                score = min([score, *(v for v in known if v is not None)])
            if score is None:
                self.study.tell(taken.trial, state=TrialState.PRUNED)
            else:
                self.study.tell(taken.trial, score)

    def is_new(self) -> bool:
        """Whether nobody has finished or is on a trial yet."""
        with self.alone():
            self._put_back_of_the_dead()
            return all(t.state == TrialState.WAITING for t in self._trials())

    def _trials(self) -> list[FrozenTrial]:
        """All of them; a trial's number is its place."""
        return self.study.get_trials(deepcopy=False)

    def _put_back_of_the_dead(self) -> None:
        living = {lease.name for lease in self.leases.iterdir() if not _swept(lease)}
        for trial in self._trials():
            # Without an owner, its worker died while it took the trial: both are done behind the lock held here.
            if trial.state == TrialState.RUNNING and trial.user_attrs.get("owner") not in living:
                if trial.user_attrs.get("retried", 0) < DEATHS:
                    self._put_back(trial)
                else:
                    self.storage.set_trial_user_attr(trial._trial_id, "failed", True)
                    why = say("each of the {n} workers that tried it has died", n=DEATHS + 1)
                    self.storage.set_trial_user_attr(trial._trial_id, "why", why)
                    self.storage.set_trial_state_values(trial._trial_id, state=TrialState.PRUNED)

    def _put_back(self, trial: FrozenTrial) -> None:
        self.storage.set_trial_user_attr(trial._trial_id, "retried", trial.user_attrs.get("retried", 0) + 1)
        self.storage.set_trial_state_values(trial._trial_id, state=TrialState.WAITING)

    # -- what is known -----------------------------------------------------------------------------

    def finished(self) -> list[dict[str, Any]]:
        """Finished trials in the order of their numbers, as JSON."""
        with self.alone():
            return [_told(t) for t in self._trials() if t.state in DONE]

    def importance(self) -> dict[str, float]:
        """The share of the scores' variance that each setting explains; empty while too little is known."""
        several = [name for name, d in self.space.items() if not (isinstance(d, Choice) and len(d.values) < 2)]
        with self.alone():
            values = {t.value for t in self._trials() if t.state == TrialState.COMPLETE}
        if len(values) < 3 or not several:
            return {}
        importance = optuna.importance
        try:
            evaluator: Any = importance.FanovaImportanceEvaluator(seed=self.seed)
        except ImportError:
            evaluator = importance.PedAnovaImportanceEvaluator()
        with self.alone():
            found = importance.get_param_importances(self.study, evaluator=evaluator, params=several)
        return {name: round(float(value), 4) for name, value in found.items()}

    # -- within ------------------------------------------------------------------------------------

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        """A sampler for one trial, with random numbers of its own, so that a resumed study proposes the same."""
        seed = (self.seed * 1_000_003 + number * 7_919 + 17) % 2**31
        if self.kind == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=self.startup)
        if self.kind == "tpe":
            return optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=self.startup, multivariate=True, constant_liar=self.workers > 1
            )
        return optuna.samplers.RandomSampler(seed=seed)


def _suggested(trial: optuna.Trial, name: str, dimension: Any) -> Value:
    if isinstance(dimension, Choice):
        return trial.suggest_categorical(name, dimension.values)
    if dimension.whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def _told(trial: FrozenTrial) -> dict[str, Any]:
    failed = bool(trial.user_attrs.get("failed", False))
    return {
        "trial": trial.number,
        "params": dict(trial.params),
        "score": trial.value if trial.value is not None else max(trial.intermediate_values.values(), default=None),
        "seconds": trial.user_attrs.get("seconds", 0.0),
        "pruned": trial.state == TrialState.PRUNED and not failed,
        "failed": failed,
        "why": trial.user_attrs.get("why", ""),
        "retried": trial.user_attrs.get("retried", 0),
    }


def _pruner(name: str) -> optuna.pruners.BasePruner:
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=RUNGS, reduction_factor=3)
    if name == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=RUNGS // 3, reduction_factor=3)
    return optuna.pruners.NopPruner()


@contextlib.contextmanager
def _held(place: Path) -> Iterator[None]:
    with place.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _hold(place: Path) -> IO[str]:
    place.parent.mkdir(parents=True, exist_ok=True)
    file = place.open("a")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _swept(lease: Path) -> bool:
    """Remove the lease of a dead worker; return whether it was one. Call it only behind the lock of the study."""
    with lease.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        lease.unlink(missing_ok=True)
        return True
