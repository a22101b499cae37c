"""The sign-in of admin and console with a name and a password, or with a passkey. After a password, a second step
follows for those who have one."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest
from django.shortcuts import redirect

from smartops.people.second_factor import Proof, is_asked
from smartops.web.failures import keys_of, remember
from smartops.web.passkeys import PasskeyForm, enter, options_for
from smartops.web.proof import paused_by, proving
from smartops.web.second_factor import begin


class SignInForm(AuthenticationForm):
    """For every active account. What it may see after that, its roles say (smartops/people)."""

    required_css_class = "required"
    request: HttpRequest  # of `LoginView`, always

    def clean(self) -> Any:
        account, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if not account or not password:
            return super().clean()
        with proving(self.request, keys_of(self.request, account), account, "failed sign-ins"):
            return super().clean()  # Django reports a failure (sign_ins.py)


class SignIn(LoginView):
    """Leads to the page that asked for it, else to the console. 429 with Retry-After while the client has to wait."""

    authentication_form = SignInForm
    template_name = "admin/login.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if admin.site.has_permission(request):
            return redirect("admin:index")
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        answer = request.POST.get("answer")
        if answer is None:
            return super().post(request, *args, **kwargs)
        if not answer:
            return options_for(request)
        form = PasskeyForm(request)
        if form.is_valid() and (entered := enter(form, Proof.PASSKEY, self.get_success_url())):
            return entered
        context = self.get_context_data(form=SignInForm(request), refused=form.errors["answer"])
        return paused_by(self.render_to_response(context), form)

    def form_valid(self, form: AuthenticationForm) -> Any:
        user = form.get_user()
        if is_asked(user):
            return begin(self.request, user, self.get_success_url())
        self.request.session.set_expiry(None)  # it may be that of a sign-in by the provider which was not ended
        return remember(self.request, super().form_valid(form))

    def form_invalid(self, form: Any) -> Any:
        return paused_by(super().form_invalid(form), form)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        found = {**super().get_context_data(**kwargs), **admin.site.each_context(self.request)}
        found |= {"title": "Sign in", "subtitle": None, "app_path": self.request.get_full_path()}
        found |= {"username": self.request.user.get_username(), "next": self.get_success_url()}
        return found | ({"provider": settings.SMARTOPS_OIDC_NAME} if settings.SMARTOPS_OIDC_ISSUER else {})


sign_in = SignIn.as_view()
