"""The console's pages."""

from django.urls import path

from smartops.console.action import action
from smartops.console.actions import actions

app_name = "console"
urlpatterns = [
    path("", actions, name="actions"),
    path("actions/<uuid:pk>/", action, name="action"),
]
