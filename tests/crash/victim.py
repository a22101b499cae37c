"""A process that is hit at a named point of its work: it sends itself the signal when it comes to the point. Without a
point it lives on. `python -m tests.crash.victim KUBECONFIG SIGNAL POINT` is a reconciler;
`python -m tests.crash.victim USER SIGNAL POINT PATH DIGEST` is a web process, in which the person approves.
"""

import signal
import sys
from collections.abc import Callable
from threading import Lock, get_ident
from typing import Any

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.db import connection  # noqa: E402

from guardrails.models import Cooldown  # noqa: E402
from orchestrator.k8s.client import KubernetesCluster  # noqa: E402
from orchestrator.models import Approval, transition_store, transitions  # noqa: E402
from orchestrator.reconciler import admit, approvals, calls, claim, loop, plan, reclaim, record, verify  # noqa: E402
from smartops.console import approvals as console  # noqa: E402
from smartops.dev.postgres import WEB_ROLE  # noqa: E402

# Where it is hit: right after this returned. Some are inside of a transaction, some after its commit.
POINTS: dict[str, tuple[Any, str]] = {
    "the admission is written, not committed": (admit, "decide"),
    "the plan is written, not committed": (admit, "_create"),
    "admitted and planned": (admit, "admit"),
    "the target was looked at": (calls, "read"),
    "planned anew": (plan, "plan"),
    "the cluster has changed": (calls, "write"),
    "the effect is recorded, not committed": (Cooldown, "start"),
    "the effect is recorded": (record, "record"),
    "the rollout was judged": (verify, "judge"),
    "the outcome is written, not committed": (transition_store, "_close_and_wake"),
    "verified": (verify, "record"),
    "claimed, not committed": (transitions, "claim"),
    "claimed": (claim, "claim_due"),
    "asked, not committed": (transitions, "ask"),
    "asked again": (approvals, "ask_again"),
    "expired, not committed": (transitions, "expire_approval"),
    "expired": (reclaim, "expire_actions"),
    "the vote is written, not committed": (Approval, "save"),
    "approved, not committed": (transition_store, "store"),
    "approved": (console, "respond"),
}


def hit(point: str, number: signal.Signals) -> None:
    """The first time only: a process that is continued goes on to its end."""
    owner, name = POINTS[point]
    original: Callable[..., Any] = getattr(owner, name)
    once = Lock()

    def hit_after(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if once.acquire(blocking=False):
            signal.pthread_kill(get_ident(), number)  # sent to the process, it might let this thread run on a little
        return result

    setattr(owner, name, hit_after)


def live(kubeconfig: str, number: str, point: str) -> None:
    if point:
        hit(point, signal.Signals[number])
    cluster = KubernetesCluster(kubeconfig, timeout=60)  # a test kills it before
    loop.Reconciler(cluster, "default", ["smartops-dev"]).run(drain=True)


def approve(user: str, number: str, point: str, path: str, digest: str) -> None:
    from django.test import Client
    from django.test.utils import setup_test_environment

    connection.settings_dict["USER"] = WEB_ROLE
    setup_test_environment()
    client = Client()
    client.force_login(User.objects.get(username=user))
    hit(point, signal.Signals[number])
    client.post(path, {"digest": digest})


if __name__ == "__main__":
    words = sys.argv[1:]
    (live if len(words) == 3 else approve)(*words)
