"""How long a preview of 100,000 stored decisions takes, and what it costs the other requests of its web process."""

import json
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from threading import Event
from urllib.parse import urlencode

import psycopg

from benchmarks.figures import Figure, Target, median_ratio, percentile
from benchmarks.growth import decide
from benchmarks.http import Connection
from benchmarks.ingest import anomaly, token
from benchmarks.servers import Servers, Web

WORKLOADS = 1000
# Admitted signals of one day, each with its action, evenly over the workloads.
DECISIONS = """
    INSERT INTO orchestrator_workload (cluster, namespace, kind, name)
    SELECT 'default', 'smartops-dev', 'Deployment', 'w' || n FROM generate_series(0, {workloads} - 1) n
    ON CONFLICT DO NOTHING;
    CREATE TEMPORARY TABLE past ON COMMIT DROP AS
    SELECT 'w' || n % {workloads} AS name, uuidv7(-age) AS id, now() - age AS at
    FROM generate_series(1, {decisions}) n, LATERAL (SELECT interval '20 hours' * ({decisions} - n) / {decisions}
        + interval '2 hours' AS age) a;
    INSERT INTO orchestrator_action (id, workload_id, cluster, origin, requested_by, moved_by, request_digest, type,
        params, justification, dry_run, verify, state, reason, message, details, epoch, attempts, created_at,
        updated_at, not_before, deadline_at, applied_at, finished_at, planned_uid, planned_resource_version,
        scale_increase, ambiguous)
    SELECT past.id, w.id, 'default', 'closed_loop', 'rule:r', 'reconciler:r', '', 'SCALE', '{{"delta": 1}}', '', false,
        true, 'succeeded', '', '', '{{}}', 1, 1, at, at, at, at, at, at + interval '5 seconds', 'uid', 'rv', 1, false
    FROM past JOIN orchestrator_workload w USING (name);
    INSERT INTO orchestrator_decisionrecord (id, phase, action_id, cluster, kind, namespace, workload, requested_by,
        outcome, reason, message, inputs, verdicts, created_at)
    SELECT id, 'admit', id, 'default', 'Deployment', 'smartops-dev', name, 'rule:r', 'allow', '', '',
        jsonb_set(jsonb_set(jsonb_set(jsonb_set(inputs, '{{now}}', to_jsonb(at)),
            '{{signal,target,name}}', to_jsonb(name)), '{{signal,last_seen_at}}', to_jsonb(at)),
            '{{signal,due_at}}', to_jsonb(at)), verdicts, at
    FROM past, usual;
"""


def preview(servers: Servers, quick: bool = False) -> Iterator[Figure]:
    many = 2_000 if quick else 100_000
    fill(servers.database_url, many)
    drafts = {
        "that concerns none": {"stabilization_seconds": 7},  # no guardrail reads it
        "that changes none": {"max_actions_per_hour": 50},
        "that changes all": {"max_replicas": 1},
    }
    for what, limit in drafts.items():
        wall, cpu, examined = run(limit)
        if examined < many:
            raise RuntimeError(f"{examined} of {many} decisions were evaluated")
        name = f"a preview of {many:,} decisions, {what}"
        yield Figure(name, wall, "s", "processor time of the web process", cpu, None, Target("value", "≤", 20.0))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield Figure("memory of the process at its peak", peak, "MiB")
    yield from others(servers, 2 if quick else 5, 20 if quick else 60)


def others(servers: Servers, rounds: int, requests: int) -> Iterator[Figure]:
    """Requests of one client, one after the other, beside a page that shows a preview, and without it: posts, and the
    list of actions of the console."""
    web = servers.web()
    signed_in = _signed_in()
    for what, headers in (("POST /v1/signals/anomaly", token("preview")), ("GET /console/actions/", signed_in)):
        found: dict[bool, list[list[float]]] = {False: [], True: []}
        with Connection(web.address, headers) as client:
            for number in range(rounds + 1):
                for running in (False, True):
                    with _page(web, signed_in) if running else nullcontext():
                        taken = [_seconds(client, what) for _ in range(requests)]
                    if number:  # the first one warms up
                        found[running].append(taken)
        yield from _compared(what, found)


def _compared(what: str, found: dict[bool, list[list[float]]]) -> Iterator[Figure]:
    for share in (0.5, 0.99):
        pairs = [
            (percentile(beside, share), percentile(alone, share))
            for alone, beside in zip(found[False], found[True], strict=True)
        ]
        value, baseline, ratio = median_ratio(pairs)
        name = f"{what} beside a preview, p{round(100 * share)}"
        yield Figure(name, 1000 * value, "ms", "without it", 1000 * baseline, ratio)


def _seconds(client: Connection, what: str) -> float:
    method, _, path = what.partition(" ")
    body = json.dumps(anomaly()).encode() if method == "POST" else b""
    began = time.perf_counter()
    if method == "POST":
        client.post(path, body)
    else:
        client.get(path)
    return time.perf_counter() - began


def _signed_in() -> dict[str, str]:
    """The headers of somebody who tunes."""
    from django.contrib.auth.models import User
    from django.test import Client

    user, _ = User.objects.get_or_create(username="tuner", is_staff=True, is_superuser=True)
    signed_in, secret = Client(headers={"Host": "localhost"}), "x" * 32
    signed_in.force_login(user)
    return {
        "Cookie": f"sessionid={signed_in.cookies['sessionid'].value}; csrftoken={secret}",
        "X-CSRFToken": secret,
    }


@contextmanager
def _page(web: Web, signed_in: dict[str, str]) -> Iterator[None]:
    """It asks for one step after the other, of one preview after the other."""
    ended = Event()
    headers = signed_in | {"Content-Type": "application/x-www-form-urlencoded", "HX-Request": "true"}

    def ask() -> None:
        row = _begun()
        with Connection(web.address) as page:
            while not ended.is_set():
                answer = page.send("POST", "/console/preview/", urlencode({"preview": row}).encode(), headers)
                if b"preview-progress" not in answer:
                    row = _begun()

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        yield
        ended.set()
        asking.result()


def _begun() -> str:
    from guardrails.models import GuardrailSetting
    from orchestrator.what_if.draft import edit_of
    from orchestrator.what_if.preview import begin

    return str(begin("user:tuner", [edit_of(None, GuardrailSetting(max_replicas=1))], timedelta(days=1)).pk)


def run(limit: dict[str, int]) -> tuple[float, float, int]:
    """Seconds that pass and seconds of processor time, and how many decisions were evaluated."""
    from django.db.models import Q

    from guardrails.models import GuardrailSetting
    from orchestrator.models import Preview
    from orchestrator.what_if.draft import edit_of
    from orchestrator.what_if.preview import advance, begin, result_of

    started, used = time.perf_counter(), time.process_time()
    row: Preview | None = begin("user:benchmark", [edit_of(None, GuardrailSetting(**limit))], timedelta(days=1))
    while row is not None and row.finished_at is None:
        row = advance(row.pk, Q(), 1.0)
    if row is None:
        raise RuntimeError("the preview was stopped")
    return time.perf_counter() - started, time.process_time() - used, result_of(row).examined


def fill(url: str, decisions: int) -> None:
    decide(0, 1)
    from orchestrator.models import DecisionRecord

    one = DecisionRecord.objects.latest("pk")
    with psycopg.connect(url) as session:
        session.execute("CREATE TEMPORARY TABLE usual (inputs jsonb, verdicts jsonb)")
        session.execute("INSERT INTO usual VALUES (%s, %s)", [json.dumps(one.inputs), json.dumps(one.verdicts)])
        session.execute("ALTER TABLE orchestrator_action DISABLE TRIGGER USER")
        session.execute(DECISIONS.format(workloads=WORKLOADS, decisions=decisions).encode())
        session.execute("SET CONSTRAINTS ALL IMMEDIATE")
        session.execute("ALTER TABLE orchestrator_action ENABLE TRIGGER USER")
        session.commit()
        session.autocommit = True
        session.execute("ANALYZE orchestrator_decisionrecord, orchestrator_action")
