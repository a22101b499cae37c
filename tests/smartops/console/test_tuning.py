"""The screens of limits, rules and aliases: what they show, preview, save, refuse and revert."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from guardrails.models import Freeze, GuardrailSetting
from orchestrator.models import Preview
from orchestrator.what_if import preview
from signals.aliases import Alias
from signals.lib.clock import database_now
from signals.models import Rule, SettingChange, Signal
from signals.reasons import Reason
from smartops.console.previews import MAX_RUNNING
from smartops.people.grants import RoleGrant
from smartops.people.roles import Place, Role
from tests.kit.people import person
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.smartops.console.scene import Hour

pytestmark = pytest.mark.django_db

ACTS = ("", "change/", "delete/")
LIMITS = {"namespace": NAMESPACE, "max_replicas": "2"}


@pytest.fixture
def ana(client: Client) -> Client:
    """An operator of everything."""
    client.force_login(person("ana", Role.OPERATOR))
    return client


@pytest.fixture
def shop() -> Client:
    """An operator of the namespace shop."""
    made = Client()
    made.force_login(person("sam", Role.OPERATOR, Place("", "shop")))
    return made


def text(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status, answer.content.decode()[:3000]
    return str(answer.content.decode())


def field(page: str, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, f"the page has no field {name}"
    return found[1]


def save(client: Client, path: str, **fields: Any) -> Any:
    """As a person who opens the form, enters the fields, reads the preview and saves."""
    page = text(client.get(path))
    loaded = field(page, "loaded") if "/add/" not in path else ""
    entered = {"loaded": loaded, **fields}
    return client.post(path, entered | {"save": "yes"})


def setting(**fields: Any) -> GuardrailSetting:
    return GuardrailSetting.objects.create(**{"namespace": NAMESPACE, "max_replicas": 9, **fields})


def stepped(client: Client, page: str) -> str:
    """The preview when it is finished."""
    row = Preview.objects.get()
    for _ in range(50):
        if row.finished_at is not None:
            return page
        page = text(client.post("/console/preview/", {"preview": str(row.pk)}, headers={"HX-Request": "true"}))
        row.refresh_from_db()
    raise AssertionError("the preview does not end")


@pytest.mark.parametrize(("fields", "said"), [
    ({"max_replicas": "2", "workload": "erp"}, "A workload is named within its namespace."),
    ({"namespace": NAMESPACE}, "This row sets no limit."),
    ({"max_replicas": "2"}, "It would cover everything."),
    ({"namespace": NAMESPACE, "max_replicas": "99"}, "it loosens “Max replicas” from 8 to 99."),
])  # fmt: skip
def test_the_form_refuses_what_the_model_refuses(ana: Client, fields: dict[str, str], said: str) -> None:
    for button in ("save", "preview"):
        assert said in text(ana.post("/console/guardrails/add/", fields | {button: "yes"}), 422)
    assert not GuardrailSetting.objects.exists()


def test_an_empty_limit_says_what_it_inherits(ana: Client) -> None:
    GuardrailSetting.objects.create(max_replicas=5, mode="approve")
    own = setting(max_replicas=9)
    form = text(ana.get(f"/console/guardrails/{own.pk}/change/"))
    assert "The values are those for namespace smartops-dev." in form
    for words in ("inherited: 5 (everything)", "inherited: 300 (default)", "inherited: approve (everything)"):
        assert words in form
    assert "inherited: 9 (namespace smartops-dev)" in text(
        ana.get(f"/console/guardrails/add/?namespace={NAMESPACE}&workload=web")
    )


@pytest.mark.parametrize("given", ["namespace=smartops-dev", "namespace=%00", "kind=Pod", "workload=a_b"])
def test_a_form_does_not_say_what_a_scope_inherits_that_nobody_may_read(shop: Client, given: str) -> None:
    setting(max_replicas=9)
    assert "inherited: 9" not in (form := text(shop.get(f"/console/guardrails/add/?{given}")))
    assert "(default)" not in form
    assert ">inherited<" in form


def test_no_form_and_no_version_has_the_name_of_a_column(ana: Client) -> None:
    limits, rule, alias = setting(), Rule.objects.all()[0], Alias.objects.create(pattern="ERP-.*", workload="erp")
    rows = {"guardrails": limits, "rules": rule, "aliases": alias}
    pages = [text(ana.get(f"/console/{screen}/add/")) for screen in rows]
    pages += [text(ana.get(f"/console/{screen}/{row.pk}/{act}")) for screen, row in rows.items() for act in ACTS]
    names = [f.name for row in rows.values() for f in row._meta.concrete_fields if "_" in f.name]
    for page in pages:
        words = re.sub(r"<[^>]*>", " ", page.partition("<main")[2])
        assert "---" not in words
        assert "Unknown" not in words
        assert not [name for name in names if re.search(rf"\b{name}\b", words)]


def test_a_lost_update_is_refused_with_both_versions(ana: Client) -> None:
    row = setting()
    path = f"/console/guardrails/{row.pk}/change/"
    loaded = field(text(ana.get(path)), "loaded")
    GuardrailSetting.objects.filter(pk=row.pk).update(max_replicas=5)

    refused = text(ana.post(path, {**LIMITS, "loaded": loaded, "max_replicas": "4", "save": "yes"}), 422)

    assert "has changed since you opened it" in refused
    assert "now “5”, in your form “4”" in refused
    assert GuardrailSetting.objects.get().max_replicas == 5


def test_who_may_tune_a_namespace_tunes_nothing_else(shop: Client) -> None:
    other = setting()
    own = setting(namespace="shop")

    assert "Your account has no right" in text(shop.post("/console/guardrails/add/", {**LIMITS, "save": "yes"}), 422)
    everything = {"max_replicas": "2", "everything": "on", "save": "yes"}
    assert "Your account has no right" in text(shop.post("/console/guardrails/add/", everything), 422)
    assert shop.get(f"/console/guardrails/{other.pk}/").status_code == 404
    assert shop.get(f"/console/guardrails/{other.pk}/delete/").status_code == 404
    wide = Rule.objects.filter(namespace="").first()
    assert wide is not None
    assert shop.get(f"/console/rules/{wide.pk}/").status_code == 200
    assert shop.get(f"/console/rules/{wide.pk}/change/").status_code == 403
    assert shop.post(f"/console/rules/{wide.pk}/disable/", {"loaded": "x"}).status_code == 403
    page = text(shop.get(f"/console/guardrails/{own.pk}/change/"))
    moved = {"namespace": "another", "max_replicas": "2", "loaded": field(page, "loaded"), "save": "yes"}
    assert "Your account has no right" in text(shop.post(f"/console/guardrails/{own.pk}/change/", moved), 422)
    assert GuardrailSetting.objects.filter(namespace="shop").exists()


def test_a_viewer_reads_and_changes_nothing(client: Client) -> None:
    row = setting()
    client.force_login(person("vic", Role.VIEWER))

    assert "Revert" not in text(client.get(f"/console/guardrails/{row.pk}/"))
    for path in ("add/", f"{row.pk}/change/", f"{row.pk}/delete/", f"{row.pk}/revert/1/"):
        assert client.get(f"/console/guardrails/{path}").status_code == 403
        assert client.post(f"/console/guardrails/{path}").status_code == 403


def test_a_version_is_reverted_by_a_new_change_with_a_reason(ana: Client) -> None:
    row = setting(max_replicas=9)
    first = SettingChange.objects.latest("id")
    assert save(ana, f"/console/guardrails/{row.pk}/change/", **LIMITS).status_code == 302
    page = text(ana.get(f"/console/guardrails/{row.pk}/"))
    assert "- At most 9 replicas" in page
    assert "+ At most 2 replicas" in page
    path = f"/console/guardrails/{row.pk}/revert/{first.pk}/"
    assert path in page

    asked = text(ana.get(path))
    assert "+ At most 9 replicas" in asked
    given = {"loaded": field(asked, "loaded")}
    assert "This field is required." in text(ana.post(path, given), 422)
    assert ana.post(path, given | {"reason": "too strict"}).status_code == 302
    row.refresh_from_db()
    assert row.max_replicas == 9
    last = SettingChange.objects.latest("id")
    assert (last.actor, last.reason) == ("user:ana", "too strict")


def test_a_revert_is_refused_with_both_versions_if_somebody_was_first(ana: Client) -> None:
    row = setting(max_replicas=9)
    first = SettingChange.objects.latest("id")
    GuardrailSetting.objects.filter(pk=row.pk).update(max_replicas=3)
    path = f"/console/guardrails/{row.pk}/revert/{first.pk}/"
    loaded = field(text(ana.get(path)), "loaded")
    GuardrailSetting.objects.filter(pk=row.pk).update(max_replicas=4)

    refused = text(ana.post(path, {"loaded": loaded, "reason": "too strict"}), 422)

    assert "now “4”, in your form “9”" in refused
    assert GuardrailSetting.objects.get().max_replicas == 4


def removed(client: Client, row: Any, screen: str = "guardrails") -> SettingChange:
    path = f"/console/{screen}/{row.pk}/delete/"
    given = {"loaded": field(text(client.get(path)), "loaded"), "reason": "obsolete"}
    assert client.post(path, given).status_code == 302
    return SettingChange.objects.latest("id")


def test_deleted_limits_are_restored_with_a_reason_and_their_history(ana: Client) -> None:
    row = setting(max_replicas=7)
    path = f"/console/guardrails/restore/{removed(ana, row).pk}/"
    listed = text(ana.get("/console/guardrails/deleted/"))
    assert path in listed
    assert "- At most 7 replicas" in listed
    assert "obsolete" in listed

    asked = text(ana.get(path))
    assert "+ At most 7 replicas" in asked
    assert Preview.objects.exists()
    assert "This field is required." in text(ana.post(path), 422)
    answer = ana.post(path, {"reason": "still needed"})

    assert answer.headers["Location"] == f"/console/guardrails/{row.pk}/"
    assert GuardrailSetting.objects.get().max_replicas == 7
    last = SettingChange.objects.latest("id")
    assert (last.operation, last.actor, last.reason) == ("insert", "user:ana", "still needed")
    page = text(ana.get(answer.headers["Location"]))
    assert [why in page for why in ("obsolete", "still needed")] == [True, True]
    for one in SettingChange.objects.filter(table_name=row._meta.db_table, key=str(row.pk)):
        reverts = f"/console/guardrails/{row.pk}/revert/{one.pk}/"
        assert (reverts in page) is (one.operation == "insert" and one != last)
    assert path not in text(ana.get("/console/guardrails/deleted/"))
    assert ana.post(path, {"reason": "again"}).status_code == 404


def test_a_restored_rule_has_a_version_that_no_decision_names(ana: Client) -> None:
    rule = Rule.objects.get(source="anomaly", symptom="latency")
    Rule.objects.update(priority=7)

    assert ana.post(f"/console/rules/restore/{removed(ana, rule, 'rules').pk}/", {"reason": "x"}).status_code == 302

    restored = Rule.objects.get(pk=rule.pk)
    assert (restored.priority, restored.version) == (7, rule.version + 2)


def test_an_alias_is_restored(ana: Client) -> None:
    alias = Alias.objects.create(pattern="x", workload="w")

    assert (
        ana.post(f"/console/aliases/restore/{removed(ana, alias, 'aliases').pk}/", {"reason": "x"}).status_code == 302
    )

    assert Alias.objects.get() == alias


def test_a_restore_is_refused_where_others_have_set_the_same_scope_since(ana: Client) -> None:
    path = f"/console/guardrails/restore/{removed(ana, setting(max_replicas=7)).pk}/"
    setting(max_replicas=3)

    assert "already exists" in text(ana.post(path, {"reason": "x"}), 422)
    assert GuardrailSetting.objects.get().max_replicas == 3


def test_who_may_not_tune_a_scope_neither_restores_it_nor_sees_that_it_was_deleted(ana: Client, shop: Client) -> None:
    path = f"/console/guardrails/restore/{removed(ana, setting()).pk}/"

    assert shop.get(path).status_code == 404
    assert shop.post(path, {"reason": "x"}).status_code == 404
    assert NAMESPACE not in text(shop.get("/console/guardrails/deleted/"))
    everything = GuardrailSetting.objects.create(max_replicas=5)
    wide = f"/console/guardrails/restore/{removed(ana, everything).pk}/"
    assert "At most 5 replicas" in text(shop.get("/console/guardrails/deleted/"))
    assert wide not in text(shop.get("/console/guardrails/deleted/"))
    assert shop.post(wide, {"reason": "x"}).status_code == 403


def test_limits_are_deleted_with_a_reason_and_only_as_they_were_shown(ana: Client) -> None:
    row = setting()
    path = f"/console/guardrails/{row.pk}/delete/"
    loaded = field(text(ana.get(path)), "loaded")
    assert ana.post(path, {"loaded": loaded}).status_code == 422
    GuardrailSetting.objects.filter(pk=row.pk).update(max_replicas=3)
    assert "has changed since" in text(ana.post(path, {"loaded": loaded, "reason": "old"}), 422)
    loaded = field(text(ana.get(path)), "loaded")
    assert ana.post(path, {"loaded": loaded, "reason": "old"}).headers["Location"] == "/console/guardrails/"
    assert SettingChange.objects.latest("id").reason == "old"


def test_effective_limits_and_freezes_of_what_a_person_may_not_read_are_not_shown(shop: Client) -> None:
    setting(max_replicas=77)
    Freeze.objects.create(namespace=NAMESPACE, reason="An audit of payroll.", by="user:ana")

    for names in ({"of_namespace": NAMESPACE}, {"of_namespace": NAMESPACE, "of_workload": "erp-simulator"}):
        page = text(shop.get("/console/guardrails/", names))
        assert "Your account may read nothing of this target." in page
        assert "77 replicas" not in page
        assert "payroll" not in page
    assert "Effective limits" in text(shop.get("/console/guardrails/", {"of_namespace": "shop"}))
    assert "Effective limits" in text(shop.get("/console/guardrails/"))


def test_a_rule_is_disabled_and_enabled(ana: Client) -> None:
    rule = Rule.objects.get(source="anomaly", symptom="latency")
    for act, enabled in (("disable", False), ("enable", True)):
        path = f"/console/rules/{rule.pk}/{act}/"
        assert ana.post(path, {"loaded": field(text(ana.get(path)), "loaded")}).status_code == 302
        rule.refresh_from_db()
        assert rule.enabled is enabled


def test_an_unidentified_name_gets_an_alias(ana: Client) -> None:
    post(anomaly("Tomcat01"))
    later = database_now() + timedelta(minutes=1)
    Signal.objects.update(reason=Reason.TARGET_UNIDENTIFIED, not_before=later)
    page = text(ana.get("/console/aliases/"))
    found = re.search(r'href="(/console/aliases/add/\?[^"]*)"', page)
    assert found
    form = text(ana.get(found[1].replace("&amp;", "&")))
    assert 'value="Tomcat01"' in form

    fields = {"pattern": "Tomcat[0-9]+", "kind": "Deployment", "workload": "tomcat", "priority": "1", "enabled": "on"}
    assert "Tomcat01" in text(ana.post("/console/aliases/add/", fields | {"preview": "day"}))
    assert ana.post("/console/aliases/add/", fields | {"save": "yes"}).status_code == 302
    alias = Alias.objects.get()
    assert "Tomcat[0-9]+" in text(ana.get(f"/console/aliases/{alias.pk}/"))
    assert "tomcat" in text(ana.get("/console/aliases/", {"q": "tomcat"}))


def test_a_preview_belongs_to_its_person_and_can_be_stopped(ana: Client, shop: Client) -> None:
    ana.post("/console/guardrails/add/", {**LIMITS, "preview": "day"})
    row = Preview.objects.get()

    this = {"preview": str(row.pk)}
    assert "This preview has ended" in text(shop.post("/console/preview/", this))
    assert "There is no preview" in text(shop.get("/console/preview/"))
    assert "Continue" in text(ana.get("/console/preview/"))
    stopped = ana.post("/console/preview/", this | {"stop": "yes"}, headers={"HX-Request": "true"})
    assert "Stopped at 0 %" in text(stopped)
    assert "This preview has ended" in text(ana.post("/console/preview/", this))
    assert "This preview has ended" in text(ana.post("/console/preview/", {"preview": "x"}))


def test_the_lists_take_a_constant_number_of_queries(ana: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(20):
        setting(workload=f"w{number}")
        Alias.objects.create(pattern=f"x{number}", workload="w")
    assert User.objects.exists()
    for path in ("guardrails", "rules", "aliases"):
        with django_assert_max_num_queries(14):
            text(ana.get(f"/console/{path}/"))


def test_the_lists_have_pages_in_the_order_of_their_rows(ana: Client) -> None:
    for number in range(60):
        setting(workload=f"w{number:02}")
        Alias.objects.create(pattern=f"x{number:02}", workload="w")
        Rule.objects.create(
            name=f"r{number:02}", priority=900, source="anomaly", symptom="x", action_type="RESTART", params={}
        )
    for path, last in (("guardrails", "w59"), ("rules", "r59"), ("aliases", "x59")):
        first = text(ana.get(f"/console/{path}/", {"namespace": NAMESPACE} if path == "guardrails" else {}))
        assert last not in first
        [query] = re.findall(r'href="([^"]*)" rel="next"', first)
        second = text(ana.get(f"/console/{path}/{query.replace('&amp;', '&')}"))
        assert last in second
        assert 'rel="prev"' in second


def test_a_form_with_a_preview_holds_no_other_form(ana: Client) -> None:
    """The parser of a browser ends the outer form at the end of an inner one."""
    page = text(ana.get(f"/console/guardrails/{setting().pk}/delete/"))

    assert 'name="preview"' in page
    depth = 0
    for tag in re.findall(r"<(/?)form\b", page):
        depth += -1 if tag else 1
        assert depth in (0, 1)


# From here on the tests share a stored hour.


def test_a_limit_is_previewed_and_then_saved(ana: Client, hour: Hour) -> None:
    preview = text(ana.post("/console/guardrails/add/", {**LIMITS, "preview": "day"}))

    assert "+ At most 2 replicas" in preview
    own = GuardrailSetting.objects.filter(namespace=NAMESPACE)
    assert not own.exists()
    end = stepped(ana, preview)
    assert "allow → deny (ReplicaLimit)" in end
    assert 'href="/console/decisions/' in end

    answer = ana.post("/console/guardrails/add/", {**LIMITS, "save": "yes"})
    row = own.get()
    assert answer.headers["Location"] == f"/console/guardrails/{row.pk}/"
    assert "At most 2 replicas" in text(ana.get(answer.headers["Location"]))
    assert SettingChange.objects.latest("id").actor == "user:ana"


def test_a_preview_begins_again_when_what_its_person_may_see_has_changed(ana: Client, hour: Hour) -> None:
    page = text(ana.post("/console/guardrails/add/", {**LIMITS, "preview": "day"}))
    assert "allow → deny (ReplicaLimit)" in stepped(ana, page)
    sam = person("sam", Role.OPERATOR, Place("", "shop"))
    Preview.objects.update(owner="user:sam")
    RoleGrant.objects.exclude(user=sam).delete()
    client = Client()
    client.force_login(sam)

    assert "0 evaluated" in text(client.get("/console/preview/"))
    step = text(client.post("/console/preview/", {"preview": str(Preview.objects.get().pk)}))

    assert "All decisions of the period" in step
    assert "ReplicaLimit" not in step
    assert Preview.objects.get().result["examined"] == 0


def test_effective_limits_have_their_sources_and_what_is_left(ana: Client, hour: Hour) -> None:
    setting(max_replicas=9)
    setting(workload="erp-simulator", max_actions_per_hour=5, max_replicas=None)
    query = {"of_cluster": "default", "of_namespace": NAMESPACE, "of_workload": "erp-simulator"}

    page = text(ana.get("/console/guardrails/", query))

    assert hour.shop.deployments
    assert f"<bdi>{NAMESPACE}/erp-simulator</bdi>" in page
    assert f"<bdi>namespace {NAMESPACE}</bdi>" in page
    assert "at most 5 restarts per hour; 4 left, the next at" in page
    assert "There is no filter" in text(ana.get("/console/guardrails/", {"namespaces": "shop"}))


def test_a_rule_is_tried_and_previewed_before_it_is_saved(ana: Client, hour: Hour) -> None:
    rule = Rule.objects.get(source="anomaly", symptom="latency")
    path = f"/console/rules/{rule.pk}/change/"
    page = text(ana.get(path))
    fields = {
        "loaded": field(page, "loaded"), "name": rule.name, "enabled": "on", "priority": "100", "source": "anomaly",
        "symptom_match": "equal", "symptom": "latency", "min_score": "0.99", "for_seconds": "0", "min_reports": "0",
        "of_reports": "0", "action_type": "SCALE", "params": '{"delta": 1}', "mode": "auto",
    }  # fmt: skip

    preview = text(ana.post(path, fields | {"preview": "day"}))
    assert "below threshold" in preview
    assert "allow → ignore (BelowThreshold)" in stepped(ana, preview)
    assert ana.post(path, fields | {"save": "yes"}).status_code == 302
    rule.refresh_from_db()
    assert rule.min_score == 0.99
    assert "never" not in text(ana.get(f"/console/rules/{rule.pk}/"))
    listed = text(ana.get("/console/rules/", {"q": "latency", "source": "anomaly"}))
    assert "latency-scale-up" in listed
    assert "memory-leak-restart" not in listed


def test_another_preview_of_a_person_ends_the_first_and_its_page_says_so(ana: Client, hour: Hour) -> None:
    pages = [text(ana.post("/console/guardrails/add/", {**LIMITS, "preview": "day"})) for _ in range(2)]

    first, second = ({"preview": re.findall(r'name="preview" value="([^"]*)" form', one)[0]} for one in pages)

    assert "This preview has ended" in text(ana.post("/console/preview/", first))
    assert "allow → deny (ReplicaLimit)" in text(ana.post("/console/preview/", second))


def test_a_change_is_saved_without_a_preview_while_too_many_others_run(ana: Client, hour: Hour) -> None:
    for number in range(MAX_RUNNING):
        Preview.objects.create(owner=f"user:other{number}", edits=[], since=database_now())

    page = text(ana.post("/console/guardrails/add/", {**LIMITS, "preview": "day"}))

    assert "3 previews of other persons are running" in page
    assert not Preview.objects.filter(owner="user:ana").exists()
    assert ">Save</button>" in page
    for ended in ({"finished_at": database_now()}, {"touched_at": database_now() - timedelta(minutes=1)}):
        Preview.objects.filter(owner="user:other0").update(**ended)
        assert "Stored decisions" in text(ana.post("/console/guardrails/add/", {**LIMITS, "preview": "day"}))


def test_a_step_waits_for_another_one_of_its_process(ana: Client, hour: Hour) -> None:
    page = text(ana.post("/console/guardrails/add/", {**LIMITS, "preview": "day"}))
    this = {"preview": re.findall(r'name="preview" value="([^"]*)" form', page)[0]}

    with preview._turn:
        assert "The server is computing another step." in text(ana.post("/console/preview/", this))

    assert "All decisions of the period" in text(ana.post("/console/preview/", this))
