"""The SQL of this package that the ORM cannot express, or not at an acceptable cost (docs/adr/0018-raw-sql.md)."""

# `Scope.covering` as a condition: whether the row `scope` covers the row `wanted`, which has a cluster, a kind, a
# namespace and a name.
COVERING = (
    "scope.cluster IN ('', wanted.cluster) AND scope.kind IN ('', wanted.kind) "
    "AND scope.namespace IN ('', wanted.namespace) AND scope.workload IN ('', wanted.name)"
)

# A condition of the trigger `recorded`: a reconciler starts or prolongs a cooldown, with every action. It is part of
# the timeline of that action.
PROLONGED_BY_RECONCILER = """
    TG_OP <> 'DELETE' AND current_setting('smartops.actor', true) LIKE 'reconciler:%'
    AND (was IS NULL OR (was - 'until' = becomes - 'until' AND NEW.until >= OLD.until))
"""

# Sets the actor of the transaction, unless somebody acts in it: the condition above is about reconcilers.
AS_RECONCILER = """set_config('smartops.actor', coalesce(
        nullif(current_setting('smartops.actor', true), ''), 'reconciler:' || session_user), true) <> ''"""

# Parameter: the cooldowns as a JSON array.
START_COOLDOWNS = f"""
    INSERT INTO guardrails_cooldown (cluster, kind, namespace, workload, action_type, until)
    SELECT cluster, kind, namespace, workload, type, statement_timestamp() + make_interval(secs => seconds)
    FROM json_to_recordset(%s::json) AS started(
        cluster text, kind text, namespace text, workload text, type text, seconds float8)
    WHERE {AS_RECONCILER}
    ORDER BY cluster, kind, namespace, workload, type
    ON CONFLICT (cluster, kind, namespace, workload, action_type) DO UPDATE SET until = EXCLUDED.until
"""  # noqa: S608 - it is composed of constants

# A verification may last longer than the cooldown, which then begins again when the verification ends. Parameter: the
# cooldowns as a JSON array.
BEGIN_COOLDOWNS_AGAIN = f"""
    WITH ended AS (
        SELECT cooldown.id, seconds FROM guardrails_cooldown cooldown
        JOIN json_to_recordset(%s::json) AS ended(
            cluster text, kind text, namespace text, workload text, type text, seconds float8)
        ON (cooldown.cluster, cooldown.kind, cooldown.namespace, cooldown.workload, cooldown.action_type)
            = (ended.cluster, ended.kind, ended.namespace, ended.workload, ended.type)
        WHERE until <= statement_timestamp() AND {AS_RECONCILER}
        ORDER BY cooldown.cluster, cooldown.kind, cooldown.namespace, cooldown.workload, cooldown.action_type
        FOR UPDATE OF cooldown)
    UPDATE guardrails_cooldown AS cooldown SET until = statement_timestamp() + make_interval(secs => seconds)
    FROM ended WHERE cooldown.id = ended.id
"""  # noqa: S608 - it is composed of constants
