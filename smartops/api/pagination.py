"""Keyset pagination on the time-ordered id, newest first. New rows do not shift a page, and the last page costs as much
as the first. A page compares a bounded number of rows with its filter (smartops/scan.py)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from pydantic import BaseModel, Field

from smartops.api.problems import require_known
from smartops.scan import Scan

Item = TypeVar("Item")
Row = TypeVar("Row", bound=Model)
# 16 bytes in base64: every match decodes to a UUID.
Cursor = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{21}[AQgw]$")]


class PageQuery(BaseModel):
    limit: int = Field(50, ge=1, le=500)
    cursor: Cursor | None = Field(None, description="Opaque; part of the URL in `next`.")

    @property
    def after(self) -> UUID | None:
        """The last id of the page before."""
        return None if self.cursor is None else UUID(bytes=urlsafe_b64decode(self.cursor + "=="))


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next: str | None = Field(
        description="Path and query of the next page; null on the last page. A request compares a bounded number of "
        "rows with its filter. Where few match, a page has fewer items than the limit, or none, and a next page."
    )


def paginate(
    request: HttpRequest, rows: QuerySet[Row] | Scan[Row], query: PageQuery
) -> tuple[list[Row], str | None]:  # fmt: skip
    """The rows of one page, and the URL of the next. Rows without a Scan are found by an index, or few."""
    require_known(request.GET, type(query).model_fields)
    scan = rows if isinstance(rows, Scan) else Scan(rows, rows)
    part = scan.read(query.limit + 1, query.after)
    found = part.rows[: query.limit]
    last = found[-1].pk if len(part.rows) > query.limit else part.reached
    return found, None if last is None else next_page(request, last)


def next_page(request: HttpRequest, last: UUID) -> str:
    """The path and query of the page after this id."""
    parameters = request.GET.copy()
    parameters["cursor"] = _encode(last)
    return f"{request.path}?{parameters.urlencode()}"


def names_in(query: Any) -> dict[str, str]:
    """Those of a workload, by the columns of Workload."""
    given = {"cluster": query.cluster, "kind": query.kind, "namespace": query.namespace, "name": query.workload}
    return {name: value for name, value in given.items() if value is not None}


def _encode(pk: UUID) -> str:
    return urlsafe_b64encode(pk.bytes).decode().rstrip("=")
