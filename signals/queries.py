"""The SQL of this package that the ORM cannot express, or not at an acceptable cost (docs/adr/0018-raw-sql.md).

What ingest executes are functions of the database (signals/migrations/0003_ingest.py): each of their statements sees
what was committed before it took its locks.

Lock order: every transaction that writes several signals locks them in the order of their fingerprint, and problems,
in the same order, before them. Transactions that lock in this order cannot deadlock with each other. The trigger
WAKE_DEFERRED does so, too. NO KEY UPDATE, as the foreign key of a decision's record locks its signal, too.
"""

from signals.lib.partitions import BOUNDED
from signals.reasons import Reason

# Store observations of one polarity, at most one per window of a problem. Parameters: the name of the poster, the rows
# as a JSON array (see `signals.ingest`). They return a row (ord, signal id or "", signal state, is_repeat, is_late)
# for each.
_REPORTS = "ARRAY(SELECT report FROM jsonb_populate_recordset(NULL::signals_report, %s::jsonb) AS report)"
_RECEIPTS = "SELECT place, coalesce(signal::text, ''), signal_state, is_duplicate, came_late"
FIRE = f"{_RECEIPTS} FROM signals_fire(%s, {_REPORTS})"
RESOLVE = f"{_RECEIPTS} FROM signals_resolve(%s, {_REPORTS})"
# Locks the problems of a batch of several of them, and their open signals. Parameter: the rows of all.
LOCK_PROBLEMS = f"SELECT signals_lock({_REPORTS})"
# Deletes windows that recognize no repeat any more. Parameter: at most how many. One that is reported again in between
# stays. The interval is KNOWN of signals/migrations/0003_ingest.py.
FORGET_WINDOWS = """
    DELETE FROM signals_window WHERE reported_at <= statement_timestamp() - interval '1 day' AND key IN (
        SELECT key FROM signals_window old WHERE reported_at <= statement_timestamp() - interval '1 day'
        AND NOT EXISTS (SELECT FROM signals_signal signal WHERE signal.id = old.signal_id AND closed_at IS NULL)
        LIMIT %s)
"""
# The ids of the oldest pending signal, and of the newest one. With a limit, PostgreSQL would look for them among all.
PENDING = """
    WITH waiting AS MATERIALIZED (SELECT id FROM signals_signal WHERE state = 'pending')
    (SELECT id FROM waiting ORDER BY id LIMIT 1) UNION ALL (SELECT id FROM waiting ORDER BY id DESC LIMIT 1)
"""
# Parameters: the bounds of the ids of a month that the retention drops, and at most how many.
FORGET_SIGNALS = """
    UPDATE signals_problem problem SET signal_id = NULL
    FROM (
        SELECT fingerprint FROM signals_problem WHERE signal_id >= %s AND signal_id < %s
        ORDER BY fingerprint LIMIT %s FOR NO KEY UPDATE) AS locked
    WHERE problem.fingerprint = locked.fingerprint
"""
# Deletes problems that are no longer reported. Parameters: since when, and at most how many. It waits for none, as
# ingest locks problems in the order of their fingerprint.
FORGET_PROBLEMS = """
    DELETE FROM signals_problem WHERE fingerprint IN (
        SELECT fingerprint FROM signals_problem
        WHERE signal_id IS NULL AND greatest(firing_at, healthy_at) < %s
        LIMIT %s FOR UPDATE SKIP LOCKED)
"""
# Closes the signals whose action has ended, and makes those due that wait for the workloads. Parameters: ended, the ids
# of the former; clusters, kinds, namespaces and names of the workloads; reasons of the deferral; first, the least id.
# Returns what it has moved, with the time of its first report.
CLOSE_AND_WAKE = f"""
    WITH locked AS (
        SELECT id, id = ANY(%(ended)s::uuid[]) AS is_over FROM signals_signal
        WHERE id {BOUNDED} AND (id = ANY(%(ended)s::uuid[]) AND closed_at IS NULL
        OR (cluster, kind, namespace, workload)
            IN (SELECT * FROM unnest(
                %(clusters)s::text[], %(kinds)s::text[], %(namespaces)s::text[], %(names)s::text[]))
            AND reason = ANY(%(reasons)s::text[]) AND state = 'pending')
        ORDER BY fingerprint FOR NO KEY UPDATE OF signals_signal)
    UPDATE signals_signal AS signal SET
        closed_at = CASE WHEN is_over THEN statement_timestamp() END,
        not_before = CASE WHEN is_over THEN signal.not_before ELSE statement_timestamp() END
    FROM locked WHERE signal.id = locked.id AND signal.id {BOUNDED}
    RETURNING signal.id, signal.first_seen_at
"""
# Parameters: ids; first, the smallest of them.
RESOLVED = f"SELECT id FROM signals_signal WHERE id {BOUNDED} AND id = ANY(%(ids)s::uuid[]) AND resolved_at IS NOT NULL"
# Due signals, each with how long its problem has lasted, and with the version of the enabled rules: it changes with
# each change of one of them, and never comes back. The columns are named: a prepared statement with `*` fails as soon
# as the migration of the next version adds one. Continued by OLDEST or LOCKED.
SELECT_DUE = """
    SELECT {columns},
        extract(epoch FROM statement_timestamp() - least(first_seen_at, started_at))::float8 AS lasted_seconds,
        (SELECT md5(string_agg(concat_ws(':', rule.id, rule.version, rule.xmin), ',' ORDER BY rule.id))
        FROM signals_rule rule WHERE rule.enabled) AS rules_version,
        coalesce((SELECT number FROM signals_settingsversion), 0) AS settings_version
    FROM signals_signal signal
    WHERE state = 'pending' AND not_before <= statement_timestamp() AND id {bounded}
"""
# A flow is what one token posts about one namespace. A loose index scan finds the flows that have due signals, at most
# 200 of a token, and then the oldest of each: what it costs depends on the number of flows, and not on how much waits
# in one of them. Within a flow workloads take turns: the first signal of each, then the second of each. A signal's
# round is its place among those of its token or of its namespace, whichever is later, where flows take turns, too:
# neither a token with many namespaces, nor a namespace with many tokens delays others. Parameters: first, the
# smallest id of a pending signal; cluster; without, the ids to leave out; limit; delays, a JSON object with how many
# seconds later the signals of a namespace ("*": of all) become due: all of them, and those of a kind (namespace/kind).
# The first bounds what is read from the index.
_OF_FLOW = f"""
    state = 'pending' AND id {BOUNDED} AND cluster = %(cluster)s AND signal.posted_by = flow.posted_by
    AND signal.namespace = flow.namespace AND not_before <= statement_timestamp() - make_interval(secs => coalesce(
        %(delays)s::jsonb ->> flow.namespace, %(delays)s::jsonb ->> '*', '0')::float8)
    AND (%(delays)s::jsonb = '{{}}'::jsonb OR not_before <= statement_timestamp() - make_interval(secs => coalesce(
        %(delays)s::jsonb ->> (flow.namespace || '/' || signal.kind), %(delays)s::jsonb ->> ('*/' || signal.kind),
        '0')::float8))
"""
OLDEST = f"""
    AND id = ANY(ARRAY(
        WITH RECURSIVE flow AS (
            SELECT ''::varchar AS posted_by, ''::varchar AS namespace, 0 AS many, false AS is_due
            UNION ALL
            SELECT flow.posted_by, flow.namespace,
                CASE WHEN flow.posted_by = last_one THEN many ELSE 0 END + due.is_due::int, due.is_due
            FROM (
                SELECT following.*, last.posted_by AS last_one, last.many FROM flow AS last CROSS JOIN LATERAL (
                    SELECT posted_by, namespace FROM signals_signal
                    WHERE state = 'pending' AND id {BOUNDED} AND cluster = %(cluster)s
                    AND (posted_by, namespace)
                        > (last.posted_by, CASE WHEN many < 200 THEN last.namespace ELSE repeat('z', 64) END)
                    ORDER BY posted_by, namespace LIMIT 1) AS following) AS flow
            CROSS JOIN LATERAL (
                SELECT (SELECT true FROM signals_signal signal WHERE {_OF_FLOW} ORDER BY not_before LIMIT 1) IS TRUE
                    AS is_due) AS due),
        due_flow AS MATERIALIZED (SELECT posted_by, namespace FROM flow WHERE is_due),
        waiting AS (
            SELECT oldest.* FROM due_flow AS flow CROSS JOIN LATERAL (
                SELECT id, posted_by, namespace, kind, workload, not_before FROM signals_signal signal
                WHERE {_OF_FLOW} AND id <> ALL(%(without)s::uuid[])
                ORDER BY not_before LIMIT (SELECT greatest(4, 1000 / count(*)) FROM due_flow)) AS oldest),
        of_workload AS (
            SELECT *, row_number() OVER (PARTITION BY posted_by, namespace, kind, workload ORDER BY not_before) AS turn
            FROM waiting),
        of_flow AS (
            SELECT *, row_number() OVER (PARTITION BY posted_by, namespace ORDER BY turn, not_before) AS place
            FROM of_workload)
        SELECT id FROM (
            SELECT id, not_before, greatest(
                row_number() OVER (PARTITION BY posted_by ORDER BY place, not_before),
                row_number() OVER (PARTITION BY namespace ORDER BY place, not_before)) AS round
            FROM of_flow WHERE place <= %(limit)s) AS of_both
        ORDER BY round, not_before LIMIT %(limit)s))
    ORDER BY not_before
"""
# Parameters: ids; first, the smallest of them. Signals that another transaction has locked are left out.
LOCKED = "AND id = ANY(%(ids)s::uuid[]) ORDER BY fingerprint FOR NO KEY UPDATE OF signal SKIP LOCKED"
# The body of a trigger. It locks signals in the order of their fingerprint, as all statements do.
WAKE_DEFERRED = """
    UPDATE signals_signal SET not_before = statement_timestamp()
    WHERE id IN (
        SELECT id FROM signals_signal
        WHERE state = 'pending' AND not_before > statement_timestamp()
        ORDER BY fingerprint FOR UPDATE);
    RETURN NULL;
"""
# One compare-and-set for each signal: it is stored only while it is pending. Parameters: rows, as a JSON array (see
# `signals.transitions`); first, the smallest id. They are locked in the order of their fingerprint. Another
# transaction that holds one of them may be about to move it: it is left as it is. `= ANY(ARRAY(…))` uses the primary
# key; with IN, PostgreSQL reads every pending signal. What a signal waits after it is due, it waits for SmartOps; with
# `kept`, also the deferral.
MOVE = f"""
    WITH moved AS (SELECT * FROM json_to_recordset(%(rows)s::json) AS moved(
        id uuid, state text, reason text, message text, errors int, until timestamptz, delay float8, closed boolean,
        kept boolean, holds jsonb)),
    locked AS (
        SELECT id FROM signals_signal
        WHERE id {BOUNDED} AND id = ANY(ARRAY(SELECT id FROM moved)) AND state = 'pending'
        ORDER BY fingerprint FOR NO KEY UPDATE SKIP LOCKED)
    UPDATE signals_signal AS signal SET
        state = moved.state, reason = moved.reason, message = moved.message, errors = moved.errors,
        not_before = coalesce(
            moved.until, statement_timestamp() + make_interval(secs => moved.delay), signal.not_before),
        kept_seconds = signal.kept_seconds + greatest(0, extract(epoch FROM CASE
            WHEN moved.kept THEN coalesce(moved.until, statement_timestamp() + make_interval(secs => moved.delay))
            ELSE statement_timestamp() END - greatest(signal.not_before, signal.last_seen_at))),
        closed_at = CASE WHEN moved.closed THEN statement_timestamp() END, holds = moved.holds
    FROM moved JOIN locked USING (id)
    WHERE signal.id = moved.id AND signal.id {BOUNDED} AND signal.state = 'pending'
    RETURNING signal.id
"""
# The targets of signals that were identified, which become due, and the nearest names of the others. Parameters: rows,
# as a JSON array (see `signals.unidentified`); first, the smallest id. The caller holds the rows.
IDENTIFY = f"""
    UPDATE signals_signal AS signal SET
        kind = named.kind, namespace = named.namespace, workload = named.workload, naming = named.naming,
        nearest = named.nearest, reason = CASE WHEN named.naming IS NULL THEN signal.reason ELSE '' END,
        message = CASE WHEN named.naming IS NULL THEN signal.message ELSE '' END
    FROM json_to_recordset(%(rows)s::json) AS named(
        id uuid, kind text, namespace text, workload text, naming jsonb, nearest jsonb)
    WHERE signal.id = named.id AND signal.id {BOUNDED} AND signal.naming IS NULL AND signal.state = 'pending'
"""
# The body of a trigger of aliases.
WAKE_UNIDENTIFIED = f"""
    UPDATE signals_signal SET not_before = statement_timestamp()
    WHERE id IN (
        SELECT id FROM signals_signal
        WHERE state = 'pending' AND reason = '{Reason.TARGET_UNIDENTIFIED}' AND not_before > statement_timestamp()
        ORDER BY fingerprint FOR UPDATE);
    RETURN NULL;
"""
# A bucket for each token, which holds the signals of one minute, and of which `granted` are taken out. A lost commit
# grants them again, so none waits for its disk. Parameters: name, wanted, per_minute. Returns (granted, spare, seconds
# until the next signal is granted).
TAKE = """
    WITH asked AS (
        SELECT %(wanted)s::float8 AS wanted, 60 / %(per_minute)s::float8 AS each,
            set_config('synchronous_commit', 'off', true)),
    taken AS (
        INSERT INTO signals_allowance AS known (name, full_at, granted, spare)
        SELECT %(name)s, clock_timestamp() + make_interval(secs => least(wanted * each, 60)), least(wanted, 60 / each),
            -wanted
        FROM asked
        ON CONFLICT (name) DO UPDATE SET (full_at, granted, spare) = (
            SELECT greatest(known.full_at, now) + make_interval(secs => many * each), many, known.spare - many
            FROM (
                SELECT each, now, least(wanted, floor((60 - left_over) / each + 0.000001)) AS many
                FROM asked, LATERAL (
                    SELECT now, greatest(0, extract(epoch FROM known.full_at - now))::float8 AS left_over
                    FROM (SELECT clock_timestamp() AS now OFFSET 0) AS clock OFFSET 0) AS bucket OFFSET 0) AS may)
        RETURNING granted, spare, full_at)
    SELECT granted, spare, greatest(0, extract(epoch FROM full_at - clock_timestamp()) - 60 + each)::float8
    FROM taken, asked
"""
# The number of signals that wait for a decision. Parameters: first, the smallest id of one; name, that of the token.
WAITING = f"SELECT count(*) FROM signals_signal WHERE state = 'pending' AND id {BOUNDED} AND posted_by = %(name)s"
# The fingerprints of the reports that are not counted on a signal, which is open or holds for them. Parameter: the
# reports that fire, as a JSON array.
OPENING = """
    SELECT DISTINCT report.fingerprint
    FROM json_to_recordset(%s::json) AS report(fingerprint text, score float8, probability float8, confidence float8)
    LEFT JOIN signals_problem problem ON problem.fingerprint = report.fingerprint
    LEFT JOIN signals_signal signal ON signal.id = problem.signal_id
    WHERE signal.id IS NULL OR closed_at IS NOT NULL AND NOT coalesce(
        signals_holds(
            holds, coalesce((SELECT number FROM signals_settingsversion), 0)::bigint, statement_timestamp())
        AND signals_alike(holds, report.score, report.probability, report.confidence), false)
"""
# The number of all signals that wait for a decision, up to a limit. Parameters: first, the smallest id of one; limit.
QUEUE_LENGTH = f"""
    SELECT count(*) FROM (
        SELECT FROM signals_signal WHERE state = 'pending' AND id {BOUNDED} LIMIT %(limit)s) AS waiting
"""
