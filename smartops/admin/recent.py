"""What a person has done in the admin lately, of the rows that the person may see now."""

from collections import defaultdict
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest

SHOWN, READ = 10, 50


def recent_actions(request: HttpRequest) -> list[LogEntry]:
    """One query for each model, and one for the log."""
    entries = LogEntry.objects.filter(user=request.user.pk).select_related("content_type")[:READ]
    wanted: dict[Any, set[str]] = defaultdict(set)
    for entry in entries:
        if entry.content_type is not None and entry.object_id:
            wanted[entry.content_type.model_class()].add(entry.object_id)
    seen: set[tuple[Any, str]] = set()
    for model, keys in wanted.items():
        if page := admin.site._registry.get(model):
            found = page.get_queryset(request).filter(pk__in=keys).values_list("pk", flat=True)
            seen |= {(model, str(key)) for key in found}
    shown = (one for one in entries if one.content_type and (one.content_type.model_class(), one.object_id) in seen)
    return list(shown)[:SHOWN]
