"""The sign-in of admin and console with a name and a password. A second step follows for those who have one."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.shortcuts import redirect

from smartops.people.second_factor import is_asked
from smartops.web import sign_ins, throttle
from smartops.web.failures import attempt, keys_of, paused, remember, succeeded
from smartops.web.second_factor import begin


class SignInForm(AuthenticationForm):
    """For every active account. What it may see after that, its roles say (smartops/people)."""

    required_css_class = "required"
    wait: timedelta = throttle.NONE
    request: HttpRequest  # of `LoginView`, always

    def clean(self) -> Any:
        account, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not account or not password:
            return super().clean()
        keys = keys_of(self.request, account)
        self.wait = attempt(keys)  # counted before the password is checked: attempts at the same time are not free
        if self.wait:
            sign_ins.throttled(self.request, account)
            seconds = throttle.seconds(self.wait)
            raise ValidationError(f"Too many failed sign-ins. Try again in {seconds} s.", code="throttled")
        cleaned = super().clean()
        succeeded(keys)
        return cleaned


class SignIn(LoginView):
    """Leads to the page that asked for it, else to the console. 429 with Retry-After while the client has to wait."""

    authentication_form = SignInForm
    template_name = "admin/login.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if admin.site.has_permission(request):
            return redirect("admin:index")
        return super().get(request, *args, **kwargs)

    def form_valid(self, form: AuthenticationForm) -> Any:
        user = form.get_user()
        if is_asked(user):
            return begin(self.request, user, self.get_success_url())
        return remember(self.request, super().form_valid(form))

    def form_invalid(self, form: Any) -> Any:
        return paused(super().form_invalid(form), form.wait)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        found = {**super().get_context_data(**kwargs), **admin.site.each_context(self.request)}
        found |= {"title": "Log in", "subtitle": None, "app_path": self.request.get_full_path()}
        found |= {"username": self.request.user.get_username(), "next": self.get_success_url()}
        return found | ({"provider": settings.SMARTOPS_OIDC_NAME} if settings.SMARTOPS_OIDC_ISSUER else {})


sign_in = SignIn.as_view()
