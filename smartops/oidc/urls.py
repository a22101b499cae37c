"""The paths must not change: the callback is registered at the provider."""

from django.urls import path

from smartops.oidc.views import callback, start

urlpatterns = [
    path("", start, name="oidc-start"),
    path("callback/", callback, name="oidc-callback"),
]
