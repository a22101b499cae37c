"""What templates of the admin ask about people."""

from typing import Any

from django import template
from django.contrib.admin.models import LogEntry

from smartops.admin import recent

register = template.Library()


@register.simple_tag(takes_context=True)
def recent_actions(context: dict[str, Any]) -> list[LogEntry]:
    return recent.recent_actions(context["request"])
