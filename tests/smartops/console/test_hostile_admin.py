"""Every form of the admin, with what no browser sends."""

from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.test import Client

from tests.kit.forms import page
from tests.smartops.console.hostile import attack, root_and_rows


def of_the_admin() -> Iterator[tuple[str, str]]:
    for model in admin.site._registry:
        yield f"{model._meta.label} add", page(model, "add")
        if row := model._default_manager.first():
            yield f"{model._meta.label} change", page(model, "change", row.pk)


@pytest.mark.django_db
@pytest.mark.usefixtures("fast_hashes")
def test_no_form_of_the_admin_makes_an_error_of_the_server(client: Client) -> None:
    root_and_rows(client)
    met = attack(client, of_the_admin())

    assert met >= {"guardrails.Freeze add", "smartops.RoleGrant change"}
