"""The functions that store observations. `signals.queries` calls them.

`signals_fire` and `signals_resolve` first create the problems of the reports where they are new, and lock them and
their open signals, both in the order of their fingerprint. So the reports of one problem have one order, it has at most
one open signal, and no large table needs a unique key for that. The statement after it sees all that was stored before:
that is why these are functions, as one statement sees only what was committed when it began. The ids of the signals of
the problems have bounds, by which that statement leaves out the partitions of other months. `signals_lock` takes the
locks alone, for a batch of several statements.

Then they judge each report by the last one of its window, as docs/signals.md has it
(docs/adr/0035-a-window-is-free-again-after-its-end.md), and store what is new.

A version that stores reports in another way adds functions of another name: the version before still calls these.
"""

from django.db import migrations

# A beginning that arrives within this time after an end of its window, to which no beginning was known, is late. A
# client repeats a post within this time, too.
DELAY = "interval '60 seconds'"
# A report is known for as long as its signal is open, and at least for this time.
KNOWN = "interval '1 day'"
MAX_REPORTERS = 16  # that a signal names
BEGINNING, LATE, END, END_WITHOUT_BEGINNING = 1, 2, 3, 4  # signals.ledger.LastReport

# The last reports of a problem, as bits, with {many} new ones that fired or were healthy: the lowest bit is the latest
# report. 60 are remembered (signals.sources.matching.MAX_REPORTS).
_SHIFTED = "({reports} << least({many}, 60)::int) & ((1::bigint << 60) - 1)"
_FIRED = f"({_SHIFTED} | ((1::bigint << least({{many}}, 60)::int) - 1))"

_PROBLEM = "fingerprint, source, cluster, kind, namespace, workload, symptom"
_CARRIED = "score, probability, confidence, labels, annotations, severity, started_at, payload"
_SIGNAL = f"id, {_PROBLEM}, named_by, {_CARRIED}, count, posted_by, traceparent"
# A post is parsed once: its functions hand on the rows.
REPORT = """
    CREATE TYPE signals_report AS (
        ord int, observation_id uuid, id uuid, fingerprint text, window_key uuid, window_id text, source text,
        cluster text, kind text, namespace text, workload text, symptom text, score float8, probability float8,
        confidence float8, labels jsonb, annotations jsonb, severity text, started_at timestamptz, named_by text,
        payload jsonb, traceparent text)
"""
# Statements are planned once per session, for all partitions, and leave most of them out when they begin.
_SETTINGS = """
    SET search_path = pg_catalog, public, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
"""
# A row that the condition excludes is locked all the same.
_LOCKED = f"""
        INSERT INTO signals_problem AS known ({_PROBLEM})
        SELECT DISTINCT ON (fingerprint) {_PROBLEM} FROM unnest(reports) ORDER BY fingerprint
        ON CONFLICT (fingerprint) DO UPDATE SET firing_count = known.firing_count WHERE false;
        ids := ARRAY(
            SELECT signal_id FROM signals_problem
            WHERE fingerprint = ANY(ARRAY(SELECT fingerprint FROM unnest(reports))) AND signal_id IS NOT NULL
            ORDER BY signal_id);
        IF ids <> '{{}}' THEN
            first_id := ids[1];
            last_id := ids[cardinality(ids)];
            PERFORM id FROM signals_signal
            WHERE closed_at IS NULL AND id = ANY(ids) AND id BETWEEN first_id AND last_id
            ORDER BY fingerprint FOR NO KEY UPDATE;
        END IF;
"""
LOCK = f"""
    CREATE FUNCTION signals_lock(reports signals_report[]) RETURNS void
    LANGUAGE plpgsql {_SETTINGS} AS $$
    DECLARE ids uuid[]; first_id uuid; last_id uuid;
    BEGIN {_LOCKED} END $$
"""
# NULL if the retention has dropped it.
STATE = """
    CREATE FUNCTION signals_state(wanted uuid) RETURNS text LANGUAGE plpgsql STABLE STRICT AS $$
    BEGIN
        RETURN (SELECT state FROM signals_signal WHERE id = wanted);
    END $$
"""
# Whether a value is in an interval (signals/holds.py), whether all values of a report are, and whether the decision on a
# closed signal still holds; NULL without a hold.
WITHIN = """
    CREATE FUNCTION signals_within(value float8, bounds jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN bounds = 'null' THEN value IS NULL
        ELSE value >= coalesce((bounds ->> 0)::float8, '-infinity')
            AND value < coalesce((bounds ->> 1)::float8, 'infinity') END
    $$;

    CREATE FUNCTION signals_alike(holds jsonb, score float8, probability float8, confidence float8) RETURNS boolean
    LANGUAGE sql IMMUTABLE AS $$
    SELECT signals_within(score, holds -> 'within' -> 'score')
        AND signals_within(probability, holds -> 'within' -> 'probability')
        AND signals_within(confidence, holds -> 'within' -> 'confidence')
    $$;

    CREATE FUNCTION signals_holds(holds jsonb, settings bigint, moment timestamptz) RETURNS boolean
    LANGUAGE sql STABLE AS $$
    SELECT (holds ->> 'settings')::bigint = settings AND coalesce((holds ->> 'until')::timestamptz > moment, true)
    $$
"""
# `moment` is later than every time that is stored of these problems.
_FUNCTION = """
    CREATE FUNCTION {name}(poster text, reports signals_report[])
    RETURNS TABLE(place int, signal uuid, signal_state text, is_duplicate boolean, came_late boolean)
    LANGUAGE plpgsql {settings} AS $$
    #variable_conflict use_column
    DECLARE moment timestamptz; ids uuid[]; first_id uuid; last_id uuid;
    BEGIN {locked}
        moment := clock_timestamp();
        RETURN QUERY WITH {statement};
    END $$
"""
# Each row is found by its key (OFFSET 0, and arrays of keys, without sequential scans): a session that began with empty
# tables keeps its plans while they grow, until they are analyzed.
_VERSION = "SELECT coalesce((SELECT number FROM signals_settingsversion), 0)"
_JUDGED = f"""
    judged AS MATERIALIZED (
        SELECT input.*, poster AS posted_by, latest.*, problem.recent_reports AS former_reports,
            known.last, known.signal_id AS last_signal,
            {{judgement}}
        FROM unnest(reports) AS input
        CROSS JOIN LATERAL (
            SELECT signal_id, recent_reports FROM signals_problem WHERE fingerprint = input.fingerprint OFFSET 0
        ) problem
        LEFT JOIN LATERAL (
            SELECT id AS live_id, CASE WHEN closed_at IS NULL THEN id END AS open_id,
                CASE WHEN closed_at IS NULL THEN first_seen_at END AS opened_at,
                CASE WHEN closed_at IS NOT NULL
                    AND signals_alike(holds, input.score, input.probability, input.confidence) THEN id END AS kept_id
            FROM signals_signal WHERE id = problem.signal_id AND id BETWEEN first_id AND last_id
            AND (closed_at IS NULL OR signals_holds(holds, ({_VERSION}), moment)) OFFSET 0) latest ON true
        LEFT JOIN LATERAL (
            SELECT * FROM signals_window WHERE key = input.window_key
            AND (reported_at > moment - {KNOWN} OR signal_id = open_id) OFFSET 0) known ON true),
    new AS (SELECT * FROM judged WHERE is_repeat IS NOT TRUE AND is_late IS NOT TRUE),
    latest AS (SELECT DISTINCT ON (fingerprint) *, count(*) OVER (PARTITION BY fingerprint),
                   CASE WHEN bool_and(kept_id IS NOT NULL) OVER (PARTITION BY fingerprint) THEN kept_id END AS held_id
               FROM new ORDER BY fingerprint, ord DESC)
"""
_ACCEPTED = """
    accepted AS (
        SELECT judged.*, touched.state, touched.id = kept_id AS is_held,
            CASE WHEN NOT is_late IS TRUE THEN touched.id
                WHEN signals_state(last_signal) IS NOT NULL THEN last_signal END AS signal_id
        FROM judged LEFT JOIN touched ON touched.fingerprint = judged.fingerprint AND is_late IS NOT TRUE
        WHERE is_repeat IS NOT TRUE),
    counted AS (
        UPDATE signals_problem problem SET signal_id = coalesce(heard.signal_id, heard.live_id),
            {polarity}_count = {polarity}_count + heard.count, {polarity}_at = moment, {polarity}_by = poster,
            recent_reports = {reports}
        FROM (SELECT fingerprint, count(*), count(*) FILTER (WHERE is_late IS NOT TRUE) AS new,
                  (array_agg(live_id))[1] AS live_id,
                  (array_agg(signal_id) FILTER (WHERE is_late IS NOT TRUE))[1] AS signal_id
              FROM accepted GROUP BY fingerprint) AS heard
        WHERE problem.fingerprint = heard.fingerprint
        AND problem.fingerprint = ANY(ARRAY(SELECT fingerprint FROM judged))),
    remembered AS (
        INSERT INTO signals_window (key, reported_at, signal_id, last)
        SELECT window_key, moment, signal_id, {report} FROM accepted
        ON CONFLICT (key) DO UPDATE SET
            reported_at = EXCLUDED.reported_at, signal_id = EXCLUDED.signal_id, last = EXCLUDED.last),
    stored AS (
        INSERT INTO signals_observation (id, signal_id, window_id, firing, late, payload, posted_by, received_at)
        SELECT observation_id, signal_id, window_id, {firing}, is_late IS TRUE, payload, poster, moment
        FROM accepted WHERE signal_id IS NOT NULL AND is_held IS NOT TRUE)
    SELECT ord, signal_id, coalesce(state, signals_state(signal_id), 'resolved')::text, false, is_late IS TRUE
    FROM accepted
    UNION ALL
    SELECT ord, CASE WHEN known IS NOT NULL THEN last_signal END, coalesce(known, 'resolved')::text, true, false
    FROM (SELECT *, signals_state(last_signal) AS known FROM judged WHERE is_repeat OFFSET 0) repeated
"""
_BEGINNING = f"""
    known.last = {BEGINNING} OR known.last = {LATE} AND known.reported_at > moment - {DELAY} AS is_repeat,
    known.last = {END_WITHOUT_BEGINNING} AND known.reported_at > moment - {DELAY} AS is_late
"""
_END = f"""
    known.last <> {BEGINNING} AND known.reported_at > moment - {KNOWN}
        AND (opened_at >= known.reported_at + {DELAY}) IS NOT TRUE AS is_repeat,
    false AS is_late
"""
# An admitted signal keeps its state: the reconciler cancels the action if it is not applied yet, and closes the signal.
# An observation that fires before that clears `resolved_at`: the problem is not over.
FIRE = _FUNCTION.format(
    name="signals_fire",
    settings=_SETTINGS,
    locked=_LOCKED,
    statement=f"""
    {_JUDGED.format(judgement=_BEGINNING)},
    repeated AS (
        UPDATE signals_signal opened SET
            count = opened.count + latest.count,
            recent_reports = {_FIRED.format(reports="latest.former_reports", many="latest.count")},
            not_before = CASE
                WHEN opened.reason = 'TooFewReports' OR opened.state = 'pending' AND opened.holds IS NOT NULL
                    AND NOT signals_alike(opened.holds, latest.score, latest.probability, latest.confidence)
                THEN least(opened.not_before, moment) ELSE opened.not_before END,
            last_seen_at = moment, resolved_at = NULL, kept_seconds = 0,
            ({_CARRIED}) = (SELECT {", ".join(f"latest.{name}" for name in _CARRIED.split(", "))}),
            reported_by = CASE WHEN opened.reported_by ? poster
                OR jsonb_array_length(opened.reported_by) >= {MAX_REPORTERS} THEN opened.reported_by
                ELSE opened.reported_by || to_jsonb(poster) END
        FROM latest WHERE opened.id = coalesce(latest.open_id, latest.held_id)
        AND opened.id BETWEEN first_id AND last_id AND opened.id = ANY(ARRAY(SELECT coalesce(open_id, held_id) FROM latest))
        RETURNING opened.id, opened.fingerprint, opened.state),
    opened AS (
        INSERT INTO signals_signal (
            {_SIGNAL}, state, reason, message, errors, reported_by, recent_reports, first_seen_at, last_seen_at,
            not_before)
        SELECT {_SIGNAL}, 'pending', '', '', 0, jsonb_build_array(poster),
            {_FIRED.format(reports="former_reports", many="count")}, moment, moment, moment
        FROM latest WHERE open_id IS NULL AND held_id IS NULL
        RETURNING id, fingerprint, state),
    touched AS (SELECT * FROM repeated UNION ALL SELECT * FROM opened),
    {
        _ACCEPTED.format(
            polarity="firing",
            firing=True,
            report=f"CASE WHEN is_late THEN {LATE} ELSE {BEGINNING} END",
            reports=_FIRED.format(reports="recent_reports", many="heard.new"),
        )
    }
""",
)
RESOLVE = _FUNCTION.format(
    name="signals_resolve",
    settings=_SETTINGS,
    locked=_LOCKED,
    statement=f"""
    {_JUDGED.format(judgement=_END)},
    touched AS (
        UPDATE signals_signal opened SET
            resolved_at = coalesce(resolved_at, moment),
            state = CASE opened.state WHEN 'pending' THEN 'resolved' ELSE opened.state END,
            closed_at = CASE opened.state WHEN 'pending' THEN moment END,
            reason = CASE opened.state WHEN 'pending' THEN 'SignalResolved' ELSE opened.reason END,
            message = CASE opened.state WHEN 'pending' THEN 'The source reports that the problem is over.'
                ELSE opened.message END
        FROM latest WHERE opened.id = latest.open_id AND opened.id BETWEEN first_id AND last_id AND opened.id = ANY(ARRAY(SELECT open_id FROM latest))
        RETURNING opened.id, opened.fingerprint, opened.state),
    {
        _ACCEPTED.format(
            polarity="healthy",
            firing=False,
            report=f"CASE last WHEN {BEGINNING} THEN {END} ELSE {END_WITHOUT_BEGINNING} END",
            reports=_SHIFTED.format(reports="recent_reports", many="heard.new"),
        )
    }
""",
)


class Migration(migrations.Migration):
    """A problem is updated in place by each report: with room left on the page, no index has to be touched (HOT)."""

    dependencies = [("signals", "0002_default_rules")]
    operations = [
        migrations.RunSQL(REPORT, "DROP TYPE signals_report"),
        migrations.RunSQL(LOCK, "DROP FUNCTION signals_lock"),
        migrations.RunSQL(STATE, "DROP FUNCTION signals_state"),
        migrations.RunSQL(WITHIN, "DROP FUNCTION signals_holds, signals_alike, signals_within"),
        migrations.RunSQL(FIRE, "DROP FUNCTION signals_fire"),
        migrations.RunSQL(RESOLVE, "DROP FUNCTION signals_resolve"),
        migrations.RunSQL(
            "ALTER TABLE signals_problem SET (fillfactor = 60)", "ALTER TABLE signals_problem RESET (fillfactor)"
        ),
    ]
