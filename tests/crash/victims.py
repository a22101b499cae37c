"""Victims: reconcilers that are killed or paused at a chosen point; and what a survivor needs to take over."""

import os
import signal
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from urllib.parse import quote

from django.db.models.functions import Now

from orchestrator.models import Action, ActionState
from signals.models import SignalState
from smartops.dev.postgres import RECONCILER_ROLE
from tests.kit.processes import ended, environment, sessions, start, until
from tests.kit.referee import Referee
from tests.kit.world import World, only_action, only_signal

# Of the session of a process that stands still: shorter than by default, to save the tests' time.
IDLE = f"?options={quote('-c idle_in_transaction_session_timeout=2s')}"


class Victims:
    """Reconcilers for the cluster of one test. A point's name is a key of `tests.crash.victim.POINTS`."""

    def __init__(self, kubeconfig: Path, log: Path) -> None:
        self._kubeconfig, self._log = kubeconfig, log
        self._variables = environment(RECONCILER_ROLE, PGAPPNAME="a victim")
        self._process: BaseProcess | None = None  # the one that lives

    def kill(self, point: str) -> None:
        """One lives until it comes to the point. On return it is dead, and PostgreSQL knows."""
        self._start("SIGKILL", point)
        self._died()

    def kill_web(self, point: str, user: str, path: str, digest: str) -> None:
        """The same of a web process in which a person approves an action."""
        self._start("SIGKILL", point, user, path, digest)
        self._died()

    def pause(self, point: str) -> None:
        process = self._start("SIGSTOP", point, options=IDLE)
        until(lambda: not process.is_alive() or _is_stopped(process))
        assert process.is_alive(), self._log.read_text()

    def resume(self) -> None:
        """It goes on where it was paused, to its end."""
        self._send(signal.SIGCONT)
        self._expect(0)

    def start(self) -> None:
        self._start("SIGKILL", "")

    def kill_now(self) -> None:
        self._send(signal.SIGKILL)
        self._died()

    def _start(self, number: str, point: str, user: str = "", *request: str, options: str = "") -> BaseProcess:
        command = ["-m", "tests.crash.victim", user or str(self._kubeconfig), number, point, *request]
        database = {"DATABASE_URL": self._variables["DATABASE_URL"] + options}
        self._process = start(command, self._log, self._variables | database)
        return self._process

    def close(self) -> None:
        """A failed test leaves nobody behind: least of all one that holds locks."""
        if self._process:
            self.kill_now()

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def _died(self) -> None:
        self._expect(-signal.SIGKILL)
        until(lambda: sessions("a victim") == 0)

    def _expect(self, code: int) -> None:
        process, self._process = self._process, None
        assert process is not None
        try:
            assert ended(process) == code, self._log.read_text()
        finally:  # one that has not come to its point
            process.kill()
            ended(process)


def _is_stopped(process: BaseProcess) -> bool:
    _, _, state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")
    return state.startswith("T")


def leases_are_over() -> None:
    """As if half a minute had passed."""
    Action.objects.filter(state=ActionState.APPLYING).update(lease_until=Now() - timedelta(seconds=1))


def assert_done_once(world: World, referee: Referee) -> None:
    """The signal of `one_trouble` has led to one effect, all of it is recorded, and nothing is left."""
    action, said = only_action(), only_signal()
    assert action.state == ActionState.SUCCEEDED
    assert action.verification.status == "SUCCESS"
    assert [effect.action for effect in referee.effects] == [str(action.pk)]
    assert world.replicas("erp-simulator") == 3
    assert said.state == SignalState.ADMITTED
    assert said.closed_at is not None
    events = list(action.events.all())
    moves = [(event.from_state, event.to_state) for event in events if event.from_state != event.to_state]
    assert moves == [("", "applying"), ("applying", "verifying"), ("verifying", "succeeded")]
    epochs = [event.epoch for event in events]
    assert epochs == sorted(epochs), "somebody moved the action who had lost it"
