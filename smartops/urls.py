"""The URL configuration."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from smartops.api.root import api
from smartops.web.health import healthz, readyz
from smartops.web.metrics import metrics
from smartops.web.second_factor import second_step
from smartops.web.sign_in import sign_in
from smartops.web.unavailable import server_error

oidc = [path("sign-in/oidc/", include("smartops.oidc.urls"))] if settings.SMARTOPS_WITH_OIDC else []
handler500 = server_error
urlpatterns = [
    path("", RedirectView.as_view(pattern_name="console:overview")),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
    path("v1/", api.urls),
    path("admin/login/", sign_in),
    path("admin/login/code/", second_step, name="second-step"),
    *oidc,
    path("admin/logout/", admin.site.logout),  # also for accounts that the admin itself does not admit
    path("admin/password_change/", RedirectView.as_view(pattern_name="console:password")),  # one form, one throttle
    path("admin/", admin.site.urls),
    path("console/", include("smartops.console.urls")),
]
