"""The console's pages."""

from django.urls import path

from smartops.console.action import action
from smartops.console.actions import actions
from smartops.console.audit import audit, export
from smartops.console.overview import overview

app_name = "console"
urlpatterns = [
    path("", overview, name="overview"),
    path("actions/", actions, name="actions"),
    path("actions/<uuid:pk>/", action, name="action"),
    path("audit/", audit, name="audit"),
    path("audit/export/", export, name="audit-export"),
]
