"""The clusters and namespaces that have workloads: what the fields of filters and forms suggest."""

from django.db import connection

from orchestrator.models import ObservedWorkload, Workload
from smartops.people.access import Access, Right

MOST = 5000  # namespaces
# From each namespace to the next one by the unique index, of which both tables have the columns in the same order.
# DISTINCT would read all workloads.
NAMESPACES = """SELECT cluster, namespace FROM (
    WITH RECURSIVE place AS (
        (SELECT cluster, namespace FROM {table} ORDER BY cluster, namespace LIMIT 1)
        UNION ALL
        SELECT next.cluster, next.namespace FROM place CROSS JOIN LATERAL (
            SELECT cluster, namespace FROM {table} row
            WHERE (row.cluster, row.namespace) > (place.cluster, place.namespace)
            ORDER BY cluster, namespace LIMIT 1) next)
    SELECT cluster, namespace FROM place LIMIT %s) places
"""


def places(
    model: type[Workload] | type[ObservedWorkload], access: Access, right: Right = Right.READ
) -> list[tuple[str, str]]:
    """The clusters and namespaces of the rows where the person has the right, in order. One query."""
    with connection.cursor() as cursor:
        cursor.execute(NAMESPACES.format(table=model._meta.db_table), [MOST])
        return [place for place in cursor.fetchall() if access.may(right, *place)]
