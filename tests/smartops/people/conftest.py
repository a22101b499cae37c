"""Rows with marks in three places, and people with a role in one."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from django.db import transaction

from guardrails.models import GuardrailSetting
from smartops.console import pages
from smartops.models import SignIn
from smartops.people import access
from smartops.people.access import access_of
from smartops.people.roles import Place, Role
from tests.kit.people import person
from tests.kit.placed import rows_at
from tests.kit.visitor import Visitor
from tests.smartops.people.walk import MARKS, Waiting, World, waiting


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    with django_db_blocker.unblock(), transaction.atomic():
        made = {place: {**rows_at(place, mark), Waiting: waiting(place, mark)} for place, mark in MARKS.items()}
        SignIn.objects.create(event="signed in", actor="user:vaultmark")
        GuardrailSetting.objects.create(max_replicas=7)
        yield made
        transaction.set_rollback(True)


@pytest.fixture
def signed_in(world: World, db: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[Role | None, Place], Visitor]:
    """The person is called walker, and may enter the admin. The grants, which no test changes between two requests, are
    read once: a test sends hundreds."""
    for module in (access, pages):
        monkeypatch.setattr(module, "access_of", cache(access_of))
    return lambda role, place: Visitor(person("walker", role, place, is_staff=True))
