"""The SQL of this package that the ORM cannot express, or not at an acceptable cost (docs/adr/0018-raw-sql.md)."""

# `Scope.covering` as a condition, with the parameters %(cluster)s, %(namespace)s and %(name)s.
COVERING = "cluster IN ('', %(cluster)s) AND namespace IN ('', %(namespace)s) AND workload IN ('', %(name)s)"

# The body of a trigger. It locks signals in the order of their fingerprint, as all statements do (signals/queries.py).
WAKE_DEFERRED = """
    UPDATE signals_signal SET not_before = statement_timestamp()
    WHERE id IN (
        SELECT id FROM signals_signal
        WHERE state = 'pending' AND not_before > statement_timestamp()
        ORDER BY fingerprint FOR UPDATE);
    RETURN NULL;
"""
