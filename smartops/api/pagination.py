"""Keyset pagination on the time-ordered id, newest first. New rows do not shift a page, and the last page costs as much
as the first."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from pydantic import BaseModel, Field

from smartops.api.problems import require_known

Item = TypeVar("Item")
Row = TypeVar("Row", bound=Model)
# 16 bytes in base64: every match decodes to a UUID.
Cursor = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{21}[AQgw]$")]


class PageQuery(BaseModel):
    limit: int = Field(50, ge=1, le=500)
    cursor: Cursor | None = Field(None, description="Opaque; part of the URL in `next`.")


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next: str | None = Field(description="Path and query of the next page; null on the last page.")


def paginate(request: HttpRequest, rows: QuerySet[Row], query: PageQuery) -> tuple[list[Row], str | None]:
    """The rows of one page, and the URL of the next."""
    require_known(request.GET, type(query).model_fields)
    if query.cursor:
        rows = rows.filter(pk__lt=_decode(query.cursor))
    found = list(rows.order_by("-pk")[: query.limit + 1])
    if len(found) <= query.limit:
        return found, None
    parameters = request.GET.copy()
    parameters["cursor"] = _encode(found[query.limit - 1].pk)
    return found[: query.limit], f"{request.path}?{parameters.urlencode()}"


def _encode(pk: UUID) -> str:
    return urlsafe_b64encode(pk.bytes).decode().rstrip("=")


def _decode(cursor: str) -> UUID:
    return UUID(bytes=urlsafe_b64decode(cursor + "=="))
