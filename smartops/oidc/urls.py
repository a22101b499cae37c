"""Their paths are a part of what the provider knows: the callback is registered there."""

from django.urls import path

from smartops.oidc.views import callback, start

urlpatterns = [
    path("", start, name="oidc-start"),
    path("callback/", callback, name="oidc-callback"),
]
