"""What lists have in common: a filter by cluster, and the way through a filtered list from the page of one row."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from guardrails.models import GuardrailSetting
from orchestrator.models import ObservedWorkload
from signals.aliases import Alias
from signals.models import Rule
from signals.types import Target
from tests.kit.signals import anomaly, post
from tests.smartops.audit import rows
from tests.smartops.console.test_pages import text

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ana"))
    return client


def observe(name: str, cluster: str = "default", namespace: str = "erp") -> None:
    names = {"cluster": cluster, "kind": "Deployment", "namespace": namespace, "name": name, "uid": "u"}
    counts = dict.fromkeys(("generation", "replicas", "ready", "available", "updated"), 1)
    ObservedWorkload.objects.create(**names, **counts, rollout="complete", paused=False, deleting=False, owners=[])


def in_each(cluster: str) -> None:
    """A row of each list, with a name that says its cluster."""
    name = f"of-{cluster}"
    rows.an_action("erp", name, cluster=cluster)
    post(anomaly(name, target=Target(cluster, "erp", name)))
    observe(name, cluster)
    GuardrailSetting.objects.create(cluster=cluster, namespace="erp", workload=name, max_replicas=3)
    Alias.objects.create(cluster=cluster, pattern=name, workload=name)


@pytest.mark.parametrize("screen", ["actions", "signals", "workloads", "guardrails", "aliases"])
def test_a_list_is_filtered_by_the_cluster(admin: Client, screen: str) -> None:
    in_each("east")
    in_each("west")

    page = text(admin.get(f"/console/{screen}/", {"cluster": "west"}))

    table = page[page.index('<table class="rows') :]
    assert "of-west" in table
    assert "of-east" not in table
    assert "This is not the name of a cluster." in text(admin.get(f"/console/{screen}/", {"cluster": "No"}))


def follow(admin: Client, address: str, way: str) -> list[str]:
    visited, links = list[str](), [address]
    while links:
        visited += links
        page = text(admin.get(links[0])).replace("&amp;", "&")
        links = re.findall(rf'<a class="button" href="([^"]+)" rel="{way}"', page)
    return visited


def walked(admin: Client, screen: str, query: str) -> list[str]:
    """The pages of the rows that the list has, by the links from one to the next, and back."""
    page = text(admin.get(f"/console/{screen}/{query}"))
    table = page[page.index('<table class="rows') :]
    found: list[str] = re.findall(r'<a class="what" href="([^"]+)"', table.replace("&amp;", "&"))
    assert follow(admin, found[0], "next") == found
    assert follow(admin, found[-1], "prev") == found[::-1]
    return found


def test_the_page_of_a_limit_leads_through_the_filtered_list(admin: Client) -> None:
    for namespace, workload in (("b", "one"), ("a", "one"), ("a", "two"), ("c", "")):
        GuardrailSetting.objects.create(namespace=namespace, workload=workload, max_replicas=3)

    assert len(walked(admin, "guardrails", "")) == 4
    assert len(walked(admin, "guardrails", "?q=one")) == 2


def test_the_page_of_a_rule_leads_through_the_filtered_list(admin: Client) -> None:
    for priority, name in ((20, "a"), (10, "b"), (10, "c"), (30, "other")):
        Rule.objects.create(name=name, priority=priority, source="anomaly", symptom="cpu", action_type="RESTART")
    Rule.objects.filter(name="other").update(enabled=False)

    assert len(walked(admin, "rules", "?enabled=True")) >= 3


def test_the_page_of_an_alias_leads_through_the_filtered_list(admin: Client) -> None:
    for priority, pattern in ((20, "a"), (10, "b"), (10, "c")):
        Alias.objects.create(priority=priority, pattern=pattern, workload="web", source="rca")
    Alias.objects.create(pattern="d", workload="web", source="anomaly")

    assert len(walked(admin, "aliases", "?source=rca")) == 3


def test_the_page_of_a_workload_leads_through_the_filtered_list(admin: Client) -> None:
    for name, namespace in (("web", "b"), ("web", "a"), ("cart", "a"), ("db", "c")):
        observe(name, namespace=namespace)

    assert len(walked(admin, "workloads", "")) == 4
    assert len(walked(admin, "workloads", "?q=web")) == 2


def test_the_page_of_a_decision_leads_through_the_filtered_audit(admin: Client) -> None:
    for namespace in ("erp", "crm", "erp"):
        rows.decided(rows.NOON, namespace)
        rows.moved(rows.an_action(namespace), rows.NOON)

    assert len(walked(admin, "audit", "?q=erp/web&kind=decision")) == 2
    assert len(walked(admin, "audit", "?kind=decision&actor=token:ana")) == 3


def test_the_page_of_a_decision_without_a_filter_leads_to_its_own_entries(admin: Client) -> None:
    decision = rows.decided(rows.NOON)
    rows.decided(rows.NOON)

    page = text(admin.get(f"/console/decisions/{decision.pk}/"))

    assert f'href="/console/audit/?q={decision.pk}"' in page
    assert 'rel="next"' not in page
