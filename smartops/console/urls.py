"""The console's pages, and the websocket that says when to look again."""

from django.urls import path

from smartops.console import views
from smartops.console.consumers import ChangesConsumer

app_name = "console"
urlpatterns = [
    path("", views.actions, name="actions"),
    path("actions/<uuid:pk>/", views.action, name="action"),
]
websocket_urlpatterns = [path("console/changes", ChangesConsumer.as_asgi())]
