"""The list of workloads, the page of one, and its acts: each change is shown as a dry run before it is made."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from orchestrator.k8s.types import WorkloadKey
from orchestrator.models import Action, ActionState, Workload, transition_store, transitions
from signals import actors, unidentified
from signals.identity import identify
from signals.ingest import ingest
from signals.models import SettingChange, Signal
from signals.types import ActionType, AliasSpec, Kind, Naming, NamingFacts, Origin, Proposal, Target
from smartops.console import listing
from smartops.console.workload_acts import may_undo
from smartops.people.roles import Place, Role
from tests.kit.people import grant
from tests.kit.rules import install_default_rules
from tests.kit.signals import NAMESPACE, anomaly, post
from tests.kit.simulation import Simulation
from tests.kit.verbs import claim, propose, requested
from tests.smartops.console.test_acts import DIALOG, ELSEWHERE, HERE, observed
from tests.smartops.console.test_pages import text

LIST = "/console/workloads/"
WEB = f"{LIST}default/Deployment/{NAMESPACE}/web/"
TARGET = Target("default", NAMESPACE, "web")
KEY = WorkloadKey.of(TARGET)


@pytest.fixture
def acting(reader: User, reading: Client) -> Client:
    grant(reader, Role.OPERATOR)
    return reading


def names(client: Client, query: str = "") -> list[str]:
    return [one.name for one in client.get(LIST + query).context["listing"].rows]


class TestList:
    def test_workloads_are_filtered_by_what_matters(self, reading: Client) -> None:
        observed("a")
        observed("b", available=1)
        observed("c", kind=Kind.STATEFUL_SET)
        observed("d", "elsewhere")
        Freeze.objects.create(namespace="elsewhere", reason="a release", by="user:ana")
        Cooldown.start([(Target("default", NAMESPACE, "a"), ActionType.SCALE, 300)])
        Cooldown.objects.create(
            cluster="default", namespace=NAMESPACE, workload="b", action_type="SCALE", until=Now() - timedelta(hours=1)
        )
        for query, found in (
            ("", ["d", "a", "b", "c"]),
            ("?q=c", ["c"]),
            ("?q=else/d", ["d"]),
            ("?kind=StatefulSet", ["c"]),
            (f"?namespace={NAMESPACE}", ["a", "b", "c"]),
            ("?condition=held", ["d"]),
            ("?condition=cooldown", ["a"]),
            ("?condition=unhealthy", ["b"]),
            ("?condition=another", []),
        ):
            assert names(reading, query) == found, query

    def test_pages_have_every_workload_once_in_both_directions(
        self, reading: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(listing, "PAGE", 2)
        wanted = [observed(name).name for name in ("e", "c", "a", "d", "b")]
        found, query = [], ""
        for _ in range(3):
            page = reading.get(LIST + query).context["listing"]
            found += [one.name for one in page.rows]
            query = page.older
        assert (found, query) == (sorted(wanted), "")
        back = reading.get(LIST + page.newer).context["listing"]
        assert [one.name for one in back.rows] == ["c", "d"]
        first = reading.get(LIST + back.newer).context["listing"]
        assert ([one.name for one in first.rows], first.newer) == (["a", "b"], "")

    def test_an_empty_list_says_where_workloads_come_from(self, reading: Client) -> None:
        assert "A reconciler stores the Deployments" in text(reading.get(LIST))

    def test_a_list_takes_a_constant_number_of_queries(self, reading: Client, django_assert_num_queries: Any) -> None:
        for count in (1, 30):
            for number in range(count):
                observed(f"web-{count}-{number}")
            # session, user, grants, rows, places, heartbeats, clock, freezes; their ids, histories and cooldowns
            with django_assert_num_queries(13):
                reading.get(LIST)

    def test_a_person_sees_the_workloads_of_their_places(self, db: None, client: Client) -> None:
        observed("web")
        observed("secret", "elsewhere")
        otto = User.objects.create_user("otto")
        grant(otto, Role.VIEWER, HERE)
        client.force_login(otto)
        assert names(client) == ["web"]
        assert "elsewhere" not in text(client.get(LIST))
        assert client.get(f"{LIST}default/Deployment/elsewhere/secret/").status_code == 404


class TestPage:
    def test_the_page_says_what_is_left_what_holds_it_back_and_what_was_done(self, acting: Client) -> None:
        owners = [{"kind": "Flux", "name": "Kustomization apps", "fields": ["spec.replicas"]}]
        observed("web", owners=owners, autoscaler={"name": "hpa", "min_replicas": 2, "max_replicas": 9}, available=1)
        GuardrailSetting.objects.create(namespace=NAMESPACE, max_actions_per_hour=2)
        Freeze.objects.create(namespace=NAMESPACE, reason="a release", by="user:ana")
        Cooldown.start([(TARGET, ActionType.RESTART, 300)])
        post(anomaly("web"))
        action = requested("web")
        page = text(acting.get(WEB))
        for said in (
            "Pods missing", "Frozen", "Kustomization apps", "<code>hpa</code>, 2 to 9 replicas", "a release",
            "At most 2 restarts per hour", "2 left", "At most 8 replicas", f"namespace {NAMESPACE}",
            "Cooldown of RESTART", f"/console/actions/{action.pk}/", "anomaly <code>", f"{WEB}scale/", f"{WEB}hold/",
        ):  # fmt: skip
            assert said in page, said

    def test_the_page_says_when_each_detector_last_reported_also_without_a_signal(self, reading: Client) -> None:
        observed("web")
        ingest([anomaly("web", "latency", firing=False) for _ in range(3)], actors.token("agent-smith"))
        ingest([anomaly("web", "error")], actors.token("agent-jones"))
        ingest([anomaly("Web Shop", "other")], actors.token("agent-brown"))
        signal, alias = Signal.objects.get(workload="Web Shop"), AliasSpec(1, "Web Shop", Kind.DEPLOYMENT, "web")
        naming = Naming(signal.named, NamingFacts(alias=alias))
        unidentified.store([(signal, naming, identify(naming.named, naming.facts))])  # type: ignore[list-item]
        page = text(reading.get(WEB))
        for said in (
            "anomaly <code>latency</code></dt><dd>healthy 3 times, last", "by <code>token:agent-smith</code>",
            "anomaly <code>error</code></dt><dd>firing 1 time, last", "by <code>token:agent-jones</code>",
            "anomaly <code>other</code></dt><dd>firing 1 time, last", "by <code>token:agent-brown</code>",
        ):  # fmt: skip
            assert said in page, said

    @pytest.mark.parametrize("path", [f"{LIST}default/Deployment/{NAMESPACE}/none/", WEB.replace("Deployment", "Pod")])
    def test_a_workload_that_nobody_knows_is_not_found(self, reading: Client, path: str) -> None:
        assert reading.get(path).status_code == 404

    def test_a_workload_that_was_deleted_keeps_its_page(self, reading: Client) -> None:
        requested("web")
        page = text(reading.get(WEB))
        assert "Not observed" in page
        assert "Scale</a>" not in page

    def test_a_page_takes_a_constant_number_of_queries(self, reading: Client, django_assert_num_queries: Any) -> None:
        observed("web")
        for _ in range(2):
            with django_assert_num_queries(19):
                reading.get(WEB)
            action = requested("web")
            Action.objects.filter(pk=action.pk).update(state="cancelled", finished_at=Now())

    def test_a_hold_is_lifted_from_the_page(self, acting: Client) -> None:
        observed("web")
        acting.post(f"{WEB}hold/", {"lasts": "1h", "reason": "I look at it."})
        hold = Freeze.objects.get()
        assert (hold.scope, hold.by) == (f"cluster default, Deployment {NAMESPACE}/web", "user:rita")
        page = text(acting.get(WEB))
        assert f"/console/freezes/{hold.pk}/lift/?back=" in page
        assert f"{WEB}hold/" not in page

    def test_a_cooldown_is_cleared_unless_it_has_begun_again(self, acting: Client) -> None:
        observed("web")
        Cooldown.start([(TARGET, ActionType.RESTART, 300)])
        path = f"{WEB}cooldowns/RESTART/clear/"
        until = re.findall(r'name="until" value="(.+?)"', text(acting.get(path)))[0]
        Cooldown.start([(TARGET, ActionType.RESTART, 300)])
        assert acting.post(path, {"until": until}).status_code == 422
        until = Cooldown.objects.get().until.isoformat()
        assert acting.post(path, {"until": until, "reason": "The cause is gone."}).status_code == 302
        assert not Cooldown.objects.exists()
        assert SettingChange.objects.latest("id").actor == "user:rita"


def test_a_signal_has_the_acts_on_its_workload_and_they_lead_back(acting: Client) -> None:
    post(anomaly("web"))
    Cooldown.start([(TARGET, ActionType.SCALE, 300)])
    path = f"/console/signals/{Signal.objects.get().pk}/"
    page = text(acting.get(path))
    back = f"?back={path.replace('/', '%2F')}"
    assert f'{WEB}hold/{back}"' in page
    assert f'{WEB}cooldowns/SCALE/clear/{back}"' in page
    answer = acting.post(f"{WEB}hold/{back}", {"lasts": "1h", "reason": "I look at it."})
    assert answer.headers["Location"] == path
    assert Freeze.objects.get().workload == "web"


@pytest.fixture
def simulation(transactional_db: None) -> Simulation:
    install_default_rules()
    GuardrailSetting.objects.create(stabilization_seconds=0)
    simulation = Simulation()
    simulation.cluster.deploy("web", replicas=2)
    simulation.observe()
    for _ in range(2):
        simulation.sweep()
    return simulation


def executed(simulation: Simulation) -> Action:
    """The latest action, after a reconciler has executed it."""
    for _ in range(4):
        simulation.sweep()
    action = Action.objects.latest("pk")
    if action.state == ActionState.VERIFYING:
        simulation.observe()
        for _ in range(2):
            simulation.sweep()
        action.refresh_from_db()
    return action


class TestChange:
    def dry_run(self, client: Client, simulation: Simulation, replicas: int = 3) -> Action:
        answer = client.post(f"{WEB}scale/", {"replicas": replicas, "reason": "Black Friday"})
        action = Action.objects.latest("pk")
        assert answer.headers["Location"] == f"/console/actions/{action.pk}/"
        assert (action.dry_run, action.state, action.requested_by) == (True, ActionState.PENDING, "user:rita")
        return executed(simulation)

    def shown(self, client: Client, action: Action) -> str:
        form = text(client.get(f"/console/actions/{action.pk}/run/", headers=DIALOG))
        [shown] = re.findall(r'name="shown" value="(.+?)"', form)
        return str(shown)

    def test_a_change_is_shown_as_a_dry_run_and_then_made(self, simulation: Simulation, acting: Client) -> None:
        dry_run = self.dry_run(acting, simulation)
        assert dry_run.state == ActionState.SUCCEEDED
        assert f"/console/actions/{dry_run.pk}/run/" in text(acting.get(f"/console/actions/{dry_run.pk}/"))
        form = text(acting.get(f"/console/actions/{dry_run.pk}/run/"))
        undo = "Undo puts these fields back"
        for said in ("spec.replicas", ">2</bdi></del>", ">3</bdi></ins>", undo, ">Scale</button>"):
            assert said in form, said
        assert f"kubectl --namespace {NAMESPACE} scale deployment/web --replicas=3" in form
        assert TARGET.name in form
        assert simulation.cluster.deployments[KEY].replicas == 2

        given = {"shown": self.shown(acting, dry_run), "reason": "Black Friday"}
        first = acting.post(f"/console/actions/{dry_run.pk}/run/", given)
        again = acting.post(f"/console/actions/{dry_run.pk}/run/", given)

        action = Action.objects.latest("pk")
        assert first.headers["Location"] == again.headers["Location"] == f"/console/actions/{action.pk}/"
        assert (action.dry_run, action.params, action.justification) == (False, {"replicas": 3}, "Black Friday")
        assert Action.objects.count() == 2
        executed(simulation)
        assert simulation.cluster.deployments[KEY].replicas == 3

    @pytest.mark.parametrize(
        ("state", "words"),
        [
            (ActionState.PENDING, "This ends action {} (RESTART {}), which waits and is not written."),
            (
                ActionState.NEEDS_REVIEW,
                "Action {} (RESTART {}) has not finished: until then this is refused. It is not known whether its "
                "change was applied: settle it first.",
            ),
        ],
    )
    def test_a_change_says_what_it_does_to_an_action_that_waits(
        self, simulation: Simulation, acting: Client, state: ActionState, words: str
    ) -> None:
        with transaction.atomic():
            workload = Workload.lock([TARGET])[TARGET]
        waits = Proposal(ActionType.RESTART, TARGET, Origin.CLOSED_LOOP, {})
        other = propose(waits, workload, actors.rule("restart"), not_before=timezone.now() + timedelta(hours=1))
        if state == ActionState.NEEDS_REVIEW:
            held = claim(other, "reconciler:test").action
            transition_store.store([transitions.require_review(held, "The answer was lost.", "reconciler:test")])

        dry_run = self.dry_run(acting, simulation)

        assert dry_run.state == ActionState.SUCCEEDED
        form = text(acting.get(f"/console/actions/{dry_run.pk}/run/"))
        assert words.format(other.pk, workload) in form

    def test_a_change_is_shown_anew_if_the_object_has_changed(self, simulation: Simulation, acting: Client) -> None:
        dry_run = self.dry_run(acting, simulation)
        shown = self.shown(acting, dry_run)
        simulation.cluster.change(KEY, generation=2, replicas=5)
        simulation.observe()
        simulation.sweep()
        simulation.cluster.roll_out(KEY)

        answer = acting.post(f"/console/actions/{dry_run.pk}/run/", {"shown": shown}, follow=True)

        assert "has changed since the dry run. This is another one." in text(answer)
        again = executed(simulation)
        assert (again.dry_run, again.params, again.before_image) == (True, {"replicas": 3}, {"spec.replicas": 5})

    @pytest.mark.parametrize("stale", ["digest", "age"])
    def test_what_was_not_shown_lately_is_shown_anew(
        self, simulation: Simulation, acting: Client, stale: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dry_run = self.dry_run(acting, simulation)
        shown = "another" if stale == "digest" else self.shown(acting, dry_run)
        if stale == "age":
            later = timezone.now() + timedelta(hours=1)
            monkeypatch.setattr("smartops.console.workload_acts.timezone.now", lambda: later)
        acting.post(f"/console/actions/{dry_run.pk}/run/", {"shown": shown})
        assert list(Action.objects.order_by("pk").values_list("dry_run", flat=True)) == [True, True]

    @pytest.mark.parametrize(("state", "may"), [(ActionState.SUCCEEDED, True), (ActionState.OBSERVED, False)])
    def test_what_was_only_observed_is_not_undone(self, state: ActionState, may: bool) -> None:
        now = timezone.now()
        assert may_undo(Action(state=state, applied_at=now, finished_at=now)) is may

    def test_an_action_that_was_applied_is_undone_by_a_dry_run_first(
        self, simulation: Simulation, acting: Client
    ) -> None:
        dry_run = self.dry_run(acting, simulation)
        acting.post(f"/console/actions/{dry_run.pk}/run/", {"shown": self.shown(acting, dry_run)})
        action = executed(simulation)
        simulation.cluster.roll_out(KEY)
        simulation.observe()
        action = executed(simulation)
        assert action.state == ActionState.SUCCEEDED
        assert f"/console/actions/{action.pk}/undo/" in text(acting.get(f"/console/actions/{action.pk}/"))
        form = text(acting.get(f"/console/actions/{action.pk}/undo/"))
        assert ">3</bdi></del>" in form
        assert ">2</bdi></ins>" in form
        acting.post(f"/console/actions/{action.pk}/undo/", {"reason": "Black Friday is over."})
        undo = Action.objects.latest("pk")
        assert (undo.dry_run, undo.params) == (True, {"replicas": 2})
        assert undo.justification == f"Undo of action {action.pk}: Black Friday is over."

    @pytest.mark.parametrize(
        ("name", "given", "said"),
        [
            ("scale", {"replicas": ""}, "This field is required."),
            ("scale", {"replicas": "-1"}, "greater than or equal to 0"),
            ("scale", {"replicas": "9"}, "9 replicas"),
            ("patch", {"patch": "{"}, "The text is not JSON"),
            ("patch", {"patch": '{"spec": {"template": {"spec": {"hostNetwork": true}}}}'}, "hostNetwork"),
            ("patch", {"patch": "[1]"}, "object"),
        ],
    )
    def test_a_change_that_is_refused_says_why(
        self, acting: Client, name: str, given: dict[str, str], said: str
    ) -> None:
        observed("web")
        answer = acting.post(f"{WEB}{name}/", given)
        assert answer.status_code == 422
        assert said in answer.content.decode()
        assert not Action.objects.exists()

    def test_a_daemon_set_is_not_scaled(self, acting: Client) -> None:
        observed("agent", kind=Kind.DAEMON_SET)
        path = f"{LIST}default/DaemonSet/{NAMESPACE}/agent/"
        assert acting.get(f"{path}scale/").status_code == 404
        assert f"{path}scale/" not in text(acting.get(path))
        assert acting.get(f"{path}restart/").status_code == 200

    def test_what_is_no_dry_run_is_not_run(self, acting: Client) -> None:
        action = requested("web")
        for name in ("run", "undo"):
            assert acting.post(f"/console/actions/{action.pk}/{name}/", {"shown": "x"}).status_code == 404
        assert Action.objects.count() == 1


ACTS = ("scale", "restart", "patch", "hold", "cooldowns/SCALE/clear")
GIVEN = {"replicas": "3", "patch": '{"spec": {"minReadySeconds": 5}}', "lasts": "1h", "reason": "x"}


class TestForgedPosts:
    @pytest.mark.parametrize("name", ACTS)
    @pytest.mark.parametrize(
        ("role", "place", "status"),
        [(Role.VIEWER, HERE, 403), (Role.APPROVER, HERE, 403), (Role.OPERATOR, ELSEWHERE, 404), (None, HERE, 403)],
    )
    def test_another_role_or_another_namespace_is_refused(
        self, db: None, client: Client, name: str, role: Role | None, place: Place, status: int
    ) -> None:
        observed("web")
        Cooldown.start([(TARGET, ActionType.SCALE, 300)])
        mallory = User.objects.create_user("mallory")
        if role:
            grant(mallory, role, place)
        client.force_login(mallory)
        until = Cooldown.objects.get().until.isoformat()
        for headers in ({}, DIALOG):
            assert client.post(f"{WEB}{name}/", GIVEN | {"until": until}, headers=headers).status_code == status
        assert (Action.objects.count(), Freeze.objects.count(), Cooldown.objects.count()) == (0, 0, 1)
        assert f"{WEB}{name}/" not in client.get(WEB).content.decode()

    @pytest.mark.parametrize("name", ACTS)
    def test_a_post_without_the_token_against_forgery_is_refused(self, acting: Client, reader: User, name: str) -> None:
        observed("web")
        Cooldown.start([(TARGET, ActionType.SCALE, 300)])
        forged = Client(enforce_csrf_checks=True)
        forged.force_login(reader)
        assert forged.post(f"{WEB}{name}/", GIVEN).status_code == 403
        assert (Action.objects.count(), Freeze.objects.count(), Cooldown.objects.count()) == (0, 0, 1)

    def test_a_hold_without_a_reason_is_refused(self, acting: Client) -> None:
        observed("web")
        assert acting.post(f"{WEB}hold/", {"lasts": "1h"}).status_code == 422
        assert not Freeze.objects.exists()
