"""The statements of this app that the ORM would not compose, or only at a cost per row. ADR 18 has the reasons.

Rows travel as one JSON parameter each, so that a batch of any size is the same prepared statement. Times are seconds
from the clock of the database.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Model
from django.db.models.expressions import DatabaseDefault

from guardrails.queries import COVERING
from signals.lib.partitions import BOUNDED
from signals.reasons import Reason

Row = Mapping[str, Any]

# A session that is stuck may keep a lock. No transaction that has locked workloads waits longer than this for another.
LOCK_TIMEOUT = "250ms"
LIMIT_LOCK_WAITS = f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"
# As a condition, it costs no round trip: it is evaluated once, before the statement locks a row. The statement itself
# locks its tables before that.
LIMITED_WAITS = f"(SELECT set_config('lock_timeout', '{LOCK_TIMEOUT}', true)) IS NOT NULL"

# The rows of these workloads, locked until the transaction ends. Every transaction locks them in the order of their
# ids, so two batches never wait for each other in a circle.
_WORKLOADS = """
    SELECT workload.id, workload.cluster, workload.namespace, workload.kind, workload.name
    FROM orchestrator_workload workload
    JOIN json_to_recordset(%(rows)s::json) AS wanted(cluster text, namespace text, kind text, name text)
    USING (cluster, namespace, kind, name)
"""
_LOCKED = "ORDER BY workload.id FOR UPDATE OF workload"
LOCK_WORKLOADS = f"{_WORKLOADS} {_LOCKED}"
LOCK_FREE_WORKLOADS = f"{_WORKLOADS} WHERE {LIMITED_WAITS} {_LOCKED} SKIP LOCKED"
LOCK_WORKLOAD_ROWS = f"""
    SELECT workload.id FROM orchestrator_workload workload JOIN json_to_recordset(%(rows)s::json) AS wanted(id bigint)
    USING (id) WHERE {LIMITED_WAITS} {_LOCKED}
"""  # noqa: S608 - it is composed of constants

# Nothing was applied, and the same change is not likely to be accepted soon.
FINAL_REFUSALS = tuple(map(str, (Reason.CLUSTER_REJECTED, Reason.CLUSTER_FORBIDDEN, Reason.RETRIES_EXHAUSTED)))

# What the database knows about each workload: one row for each that is wanted, in the same order. Dry runs change
# nothing and are not counted; direct actions are.
HISTORIES = f"""
    SELECT
        clock_timestamp(),
        (SELECT action_id FROM orchestrator_activeaction
            WHERE workload_id = wanted.workload AND NOT dry_run AND action_id IS DISTINCT FROM wanted.own),
        (SELECT until FROM guardrails_cooldown cooldown
            WHERE cooldown.cluster = wanted.cluster AND cooldown.kind = wanted.kind
            AND cooldown.namespace = wanted.namespace AND cooldown.workload = wanted.name
            AND action_type = wanted.type),
        (SELECT json_build_array(id, state, message) FROM (
            SELECT id, state, message FROM orchestrator_action
            WHERE workload_id = wanted.workload AND id {BOUNDED} AND NOT dry_run AND applied_at IS NOT NULL
            AND finished_at IS NOT NULL AND state <> 'observed' AND id IS DISTINCT FROM wanted.own
            AND type = wanted.type AND params = wanted.params
            ORDER BY applied_at DESC LIMIT 1) AS last WHERE state IN ('failed', 'timed_out')),
        (SELECT json_build_array(version, mode) FROM signals_rule WHERE name = wanted.rule AND enabled),
        (SELECT json_agg(json_build_array(by, decision, digest)) FROM (
            SELECT DISTINCT ON (by) by, decision, digest FROM orchestrator_approval
            WHERE action_id = wanted.votes_on ORDER BY by, id DESC) AS latest),
        (SELECT json_agg(json_build_array(type, applied_at, scale_increase, scale_decrease) ORDER BY applied_at)
            FROM orchestrator_action
            WHERE workload_id = wanted.workload AND id {BOUNDED} AND NOT dry_run
            AND applied_at > statement_timestamp() - make_interval(secs => %(window)s)),
        (SELECT json_build_array(count(*), max(finished_at), (array_agg(message ORDER BY finished_at DESC))[1])
            FROM orchestrator_action
            WHERE workload_id = wanted.workload AND id {BOUNDED} AND state = 'failed' AND applied_at IS NULL
            AND NOT dry_run AND finished_at > statement_timestamp() - make_interval(secs => %(refusal_window)s)
            AND reason IN {FINAL_REFUSALS} AND type = wanted.type AND params = wanted.params
            AND finished_at > coalesce((
                SELECT max(applied_at) FROM orchestrator_action
                WHERE workload_id = wanted.workload AND id {BOUNDED} AND NOT dry_run AND type = wanted.type
                AND params = wanted.params AND state <> 'observed'
            ), '-infinity')),
        (SELECT CASE WHEN reason <> '{Reason.ROLLOUT_COMPLETE}' AND NOT EXISTS (
                SELECT FROM orchestrator_observedworkload seen
                WHERE seen.cluster = wanted.cluster AND seen.kind = wanted.kind
                AND seen.namespace = wanted.namespace AND seen.name = wanted.name
                AND seen.uid = planned_uid AND seen.complete_generation > planned_generation
            ) THEN json_build_array(
                (before ->> 'replicas')::int, (before ->> 'replicas')::int + scale_increase, planned_uid) END
            FROM orchestrator_action
            WHERE workload_id = wanted.workload AND id {BOUNDED} AND NOT dry_run AND scale_increase > 0
            AND applied_at IS NOT NULL AND state <> 'observed'
            ORDER BY applied_at DESC LIMIT 1),
        (SELECT json_agg(scope ORDER BY scope.id) FROM guardrails_freeze scope
            WHERE {COVERING} AND lifted_at IS NULL AND coalesce(until > statement_timestamp(), true)),
        (SELECT json_agg(scope) FROM guardrails_guardrailsetting scope WHERE {COVERING})
    FROM json_to_recordset(%(rows)s::json) AS wanted(
        number int, workload bigint, cluster text, kind text, namespace text, name text, type text, params jsonb,
        own uuid, rule text, votes_on uuid)
    ORDER BY number
"""  # noqa: S608 - it is composed of constants

# One compare-and-set for each action: the row is stored only while it is as its copy says. A planned version is part
# of that, because a plan changes neither state nor epoch. The rows are locked in the order of their ids, as two batches
# of the same rows could otherwise wait for each other. `= ANY(ARRAY(…))` uses the primary key; with IN, PostgreSQL may
# read every action since `first`. The caller limits how long it waits for a lock.
MOVE_ACTIONS = f"""
    WITH moved AS (SELECT * FROM json_to_recordset(%(rows)s::json) AS moved(
        id uuid, from_state text, from_epoch int, from_version text, lease_is_over boolean,
        state text, reason text, message text, details jsonb, moved_by text, epoch int, attempts int,
        ambiguous boolean, planned_uid text, planned_resource_version text, planned_generation bigint, before jsonb,
        change jsonb, before_image jsonb, after_image jsonb, scale_increase int, scale_decrease int, warnings jsonb,
        digest text, shown jsonb, not_before float8, deadline float8, lease float8, applied boolean, finished boolean)),
    locked AS (
        SELECT id FROM orchestrator_action
        WHERE id {BOUNDED} AND id = ANY(ARRAY(SELECT id FROM moved))
        ORDER BY id FOR NO KEY UPDATE)
    UPDATE orchestrator_action AS action SET
        state = moved.state, reason = moved.reason, message = moved.message, details = moved.details,
        moved_by = moved.moved_by, epoch = moved.epoch, attempts = moved.attempts, ambiguous = moved.ambiguous,
        planned_uid = moved.planned_uid, planned_resource_version = moved.planned_resource_version,
        planned_generation = moved.planned_generation, before = moved.before, change = moved.change,
        before_image = moved.before_image, after_image = moved.after_image,
        scale_increase = moved.scale_increase, scale_decrease = moved.scale_decrease, warnings = moved.warnings,
        digest = moved.digest, shown = moved.shown,
        updated_at = statement_timestamp(),
        not_before = coalesce(statement_timestamp() + make_interval(secs => moved.not_before), action.not_before),
        deadline_at = coalesce(statement_timestamp() + make_interval(secs => moved.deadline), action.deadline_at),
        lease_until = statement_timestamp() + make_interval(secs => moved.lease),
        applied_at = CASE WHEN moved.applied THEN statement_timestamp() ELSE action.applied_at END,
        finished_at = CASE WHEN moved.finished THEN statement_timestamp() END
    FROM moved JOIN locked USING (id)
    WHERE action.id = moved.id AND action.id {BOUNDED}
        AND action.state = moved.from_state AND action.epoch = moved.from_epoch
        AND action.planned_resource_version = moved.from_version
        AND (NOT moved.lease_is_over OR action.lease_until <= statement_timestamp())
    RETURNING action.id, action.updated_at, action.not_before, action.deadline_at, action.lease_until,
        action.applied_at, action.finished_at
"""  # noqa: S608 - it is composed of constants

END_VERIFICATIONS = f"""
    UPDATE orchestrator_verification AS verification SET
        status = ended.status, message = ended.message, finished_at = statement_timestamp(),
        desired_replicas = ended.desired_replicas, ready_replicas = ended.ready_replicas,
        available_replicas = ended.available_replicas, updated_replicas = ended.updated_replicas,
        observed_generation = ended.observed_generation
    FROM json_to_recordset(%(rows)s::json) AS ended(
        action_id uuid, status text, message text, desired_replicas int, ready_replicas int, available_replicas int,
        updated_replicas int, observed_generation bigint)
    WHERE verification.action_id = ended.action_id AND verification.action_id {BOUNDED}
"""  # noqa: S608 - it is composed of constants

# One reconciler writes the observed workloads of a namespace: it takes or renews the lease, and holds the row for the
# rest of the transaction. It returns the namespaces that it has got. Parameters: cluster, reconciler, and how many
# seconds the lease lasts. The rows say of a namespace whether everything of it is stored.
OBSERVE_NAMESPACES = """
    INSERT INTO orchestrator_observednamespace AS held (cluster, namespace, reconciler, lease_until, complete_at)
    SELECT %(cluster)s, namespace, %(reconciler)s, statement_timestamp() + make_interval(secs => %(lease)s),
        CASE WHEN complete THEN statement_timestamp() END
    FROM json_to_recordset(%(rows)s::json) AS wanted(namespace text, complete boolean) ORDER BY namespace
    ON CONFLICT (cluster, namespace) DO UPDATE SET
        reconciler = EXCLUDED.reconciler, lease_until = EXCLUDED.lease_until,
        complete_at = coalesce(EXCLUDED.complete_at, held.complete_at)
    WHERE held.reconciler = EXCLUDED.reconciler OR held.lease_until <= statement_timestamp()
    RETURNING namespace
"""

# The workloads of a cluster that have changed. The rows have the columns of orchestrator_observedworkload, without the
# cluster, its id and its time.
_OBSERVED = (
    "kind", "namespace", "name", "uid", "generation", "replicas", "ready", "available", "updated", "rollout",
    "rollout_message", "rollout_by", "rollout_since", "paused", "deleting", "held", "problem", "own", "autoscaler",
    "owners", "digest",
)  # fmt: skip
STORE_OBSERVED = f"""
    INSERT INTO orchestrator_observedworkload AS earlier (cluster, {", ".join(_OBSERVED)}, complete_generation)
    SELECT %(cluster)s, {", ".join(_OBSERVED)}, complete_generation
    FROM json_populate_recordset(NULL::orchestrator_observedworkload, %(rows)s::json)
    ORDER BY namespace, name, kind
    ON CONFLICT (cluster, namespace, name, kind) DO UPDATE SET
        {", ".join(f"{name} = EXCLUDED.{name}" for name in _OBSERVED[3:])}, observed_at = statement_timestamp(),
        complete_generation = greatest(
            EXCLUDED.complete_generation, CASE WHEN earlier.uid = EXCLUDED.uid THEN earlier.complete_generation END)
"""  # noqa: S608 - it is composed of constants
DELETE_OBSERVED = """
    DELETE FROM orchestrator_observedworkload AS row
    USING json_to_recordset(%(rows)s::json) AS gone(kind text, namespace text, name text)
    WHERE row.cluster = %(cluster)s AND (row.kind, row.namespace, row.name) = (gone.kind, gone.namespace, gone.name)
"""


def fetch(statement: str, rows: Iterable[Row], **parameters: Any) -> list[tuple[Any, ...]]:
    """Executes a statement with the parameter `rows`, and returns its result."""
    with connection.cursor() as cursor:
        cursor.execute(statement, {**parameters, "rows": _json(rows)})
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def execute(statement: str, rows: Iterable[Row], **parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, {**parameters, "rows": _json(rows)})


def insert(rows: Sequence[Model]) -> None:
    """Inserts rows of one model. The values that they leave to the database, all the same ones, are read back."""
    if not rows:
        return
    fields = rows[0]._meta.concrete_fields
    computed = _computed(rows[0])
    assert all(_computed(row) == computed for row in rows), "one statement has one list of columns"
    given = [(str(one.column), one.attname) for one in fields if one not in computed]
    documents = [{column: getattr(row, name) for column, name in given} for row in rows]
    stored = {values[0]: values[1:] for values in fetch(_insert(type(rows[0]), computed), documents)}
    for row in rows:
        for field, value in zip(computed, stored[row.pk], strict=True):
            setattr(row, field.attname, value)
        row._state.adding = False


def _computed(row: Model) -> tuple[Any, ...]:
    return tuple(one for one in row._meta.concrete_fields if isinstance(getattr(row, one.attname), DatabaseDefault))


@lru_cache
def _insert(model: type[Model], computed: tuple[Any, ...]) -> str:
    """The type of each column is that of the table. As jsonb, a row with large documents is parsed once: as json, each
    document is parsed again for its column, which costs a decision record more than all the rest."""
    meta = model._meta
    columns = ", ".join(str(one.column) for one in meta.concrete_fields if one not in computed)
    returned = ", ".join(str(one.column) for one in (meta.pk, *computed) if one is not None)
    rows = f"SELECT {columns} FROM jsonb_populate_recordset(NULL::{meta.db_table}, %(rows)s::jsonb)"  # noqa: S608 - our names
    return f"INSERT INTO {meta.db_table} ({columns}) {rows} RETURNING {returned}"


def _json(rows: Iterable[Row]) -> str:
    """UUIDs and times as PostgreSQL reads them."""
    return json.dumps(list(rows), default=str)


# Of each decision: its limits and its rules, and all else that a preview reads (orchestrator/what_if/preview.py), as
# texts. The parts of `inputs` are taken from it at once: each operator would decompress all of it again. Actions are
# read by a subquery: for a join, PostgreSQL reads the actions of a whole month.
PAST_DECISIONS = """
    SELECT decision.id::text, part.limits::text, coalesce(part.rules, '[]')::text, json_build_object(
        'now', part.now, 'facts', part.facts, 'signal', part.signal, 'proposal', part.proposal,
        'outcome', decision.outcome, 'reason', decision.reason, 'until', decision.until,
        'signal_id', coalesce(decision.signal_id::text, ''), 'action_id', coalesce(decision.action_id::text, ''),
        'before_write', decision.phase = 'plan',
        'effect', coalesce((
            SELECT json_build_object('applied_at', applied_at, 'finished_at', finished_at, 'increase', scale_increase,
                'decrease', scale_decrease)
            FROM orchestrator_action WHERE id = decision.action_id
        ), '{{}}'))::text
    FROM ({rows}) decision, jsonb_to_record(decision.inputs)
        AS part(now text, facts jsonb, limits jsonb, rules jsonb, signal jsonb, proposal jsonb)
    ORDER BY decision.id
"""
