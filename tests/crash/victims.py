"""Victims: reconcilers that are killed or paused at a chosen point; and what a survivor needs to take over."""

import json
import os
import select
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from django.db.models.functions import Now

from orchestrator.models import Action, ActionState
from signals.models import SignalState
from smartops.dev.postgres import RECONCILER_ROLE
from tests.kit.processes import ROOT, environment, sessions, until
from tests.kit.referee import Referee
from tests.kit.world import World, only_action, only_signal

TIMEOUT = 60.0  # seconds
# Of a session in a transaction: shorter than by default, to save the tests' time.
IDLE = f"?options={quote('-c idle_in_transaction_session_timeout=2s')}"


class Nursery:
    """Starts processes to be killed, one at a time, and reports how each ended."""

    def __init__(self, log: Path) -> None:
        self._log = log
        variables = environment(RECONCILER_ROLE, PGAPPNAME="a victim")
        variables["DATABASE_URL"] += IDLE
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.victim"],
                cwd=ROOT,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )

    def tell(self, *words: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        output = self.process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], TIMEOUT)
        assert ready, f"the process reported nothing for {TIMEOUT:.0f} s: {self._log.read_text()}"
        return output.readline().decode().strip()

    def expect(self, fate: str) -> None:
        assert self.hear() == fate, self._log.read_text()

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=TIMEOUT)


class Victims:
    """Reconcilers for the cluster of one test. A point's name is a key of `tests.crash.victim.POINTS`."""

    def __init__(self, nursery: Nursery, kubeconfig: Path) -> None:
        self._nursery, self._kubeconfig = nursery, kubeconfig
        self._pid = 0  # of the one that lives

    def kill(self, point: str) -> None:
        """One lives until it comes to the point. On return it is dead, and PostgreSQL knows."""
        self._start("SIGKILL", point)
        self._died()

    def kill_web(self, point: str, user: str, path: str, digest: str) -> None:
        """The same of a web process in which a person approves an action."""
        self._start("SIGKILL", point, user, path, digest)
        self._died()

    def pause(self, point: str) -> None:
        self._start("SIGSTOP", point)
        self._nursery.expect("stopped")

    def resume(self) -> None:
        """It goes on where it was paused, to its end."""
        os.kill(self._pid, signal.SIGCONT)
        self._pid = 0
        self._nursery.expect("exited 0")

    def start(self) -> None:
        self._start("SIGKILL", "")

    def kill_now(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self._died()

    def _start(self, number: str, point: str, user: str = "", *request: str) -> None:
        self._nursery.tell(user or str(self._kubeconfig), number, point, *request)
        word, pid = self._nursery.hear().split()
        assert word == "started"
        self._pid = int(pid)

    def close(self) -> None:
        """A failed test leaves nobody behind: least of all one that holds locks."""
        if self._pid:
            self.kill_now()

    def _died(self) -> None:
        self._pid = 0
        self._nursery.expect("killed")
        until(lambda: sessions("a victim") == 0)


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
