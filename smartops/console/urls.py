"""The console's pages."""

from django.urls import path

from smartops.console import views

app_name = "console"
urlpatterns = [
    path("", views.actions, name="actions"),
    path("actions/<uuid:pk>/", views.action, name="action"),
]
