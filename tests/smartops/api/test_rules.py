"""`POST /v1/rules/try` and `manage.py try_rule`: what a rule would do, before it is saved."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from orchestrator.models import DecisionRecord, Workload
from signals.models import Rule, Signal
from signals.types import Target
from smartops.tokens import Scope
from tests.kit.api import Api, bearer
from tests.kit.signals import anomaly, post, root_cause

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_rules")]
LEAK: dict[str, Any] = {"source": "rca", "symptom": "Memory Leak", "action_type": "RESTART", "name": "mine"}


@pytest.fixture
def no_rules() -> None:
    Rule.objects.all().delete()


@pytest.fixture
def operator(db: None) -> Api:
    return bearer("operator", [Scope.RULES_TRY])


def tried(api: Api, **fields: Any) -> Any:
    answer = api.post("/v1/rules/try", LEAK | fields)
    assert answer.status_code == 200, answer.json()
    return answer.json()


def warnings(document: Any) -> list[tuple[str, str | None]]:
    return [(one["kind"], one["field"]) for one in document["warnings"]]


def save(name: str, **fields: Any) -> None:
    Rule.objects.create(**LEAK | {"name": name} | fields)


def test_a_trial_says_which_signals_match_what_is_proposed_and_what_the_guardrails_say(operator: Api) -> None:
    post(root_cause("api"), root_cause("web", "memory-leak"), root_cause("web", "oom"), anomaly("api"))
    Workload.objects.create(cluster="default", namespace="smartops-dev", kind="Deployment", name="api")

    result = tried(operator)

    assert (result["examined"], result["warnings"]) == (3, [])
    assert result["counts"] == {
        "proposes": 2, "shadowed": 0, "waits": 0, "below_threshold": 0, "unmatched": 1,
    }  # fmt: skip
    assert [(one["workload"], one["fit"]) for one in result["signals"]] == [
        ("web", "proposes"), ("api", "proposes"), ("web", "unmatched"),
    ]  # fmt: skip
    web, api, other = result["signals"]
    assert api["proposal"] == {"type": "RESTART", "params": {}, "description": "Restart all pods"}
    assert api["decision"]["outcome"] == "allow"
    verdicts = {one["guardrail"]: one["outcome"] for one in api["decision"]["verdicts"]}
    assert (verdicts["cooldown"], verdicts["rollout"]) == ("allow", "not_evaluated")
    assert {one["guardrail"]: one["outcome"] for one in web["decision"]["verdicts"]}["cooldown"] == "not_evaluated"
    assert other["message"] == "The rule does not match: its symptom is “Memory Leak”, and not “oom”."
    assert not DecisionRecord.objects.exists()
    assert not Rule.objects.exists()


def test_a_trial_names_the_limit_that_denies_the_action(operator: Api) -> None:
    post(root_cause("api", target=Target("default", "kube-system", "api")))

    [one] = tried(operator)["signals"]

    assert (one["decision"]["outcome"], one["decision"]["reason"]) == ("deny", "ProtectedNamespace")


@pytest.mark.parametrize(
    ("fields", "kind", "field"),
    [
        ({"source": "anomaly", "symptom": "memory_leak"}, "never_matches", "symptom"),
        ({"min_score": 0.5}, "never_matches", "min_score"),
        ({"labels": "team=a, team=b"}, "never_matches", "labels"),
        ({"namespace": "kube-system"}, "never_allowed", "namespace"),
        ({"namespace": "elsewhere-.*"}, "never_allowed", "namespace"),
        ({"action_type": "SCALE", "params": {"replicas": 99}}, "never_allowed", "params"),
        ({"action_type": "SCALE", "params": {"delta": 1}, "kind": "DaemonSet"}, "never_allowed", "kind"),
        ({"action_type": "PATCH", "params": {"patch": {"spec": {"selector": {}}}}}, "never_allowed", "params"),
        ({"for_seconds": 3600}, "expires", "for_seconds"),
    ],
)
def test_a_trial_warns_of_a_rule_that_can_never_work(
    operator: Api, fields: dict[str, Any], kind: str, field: str
) -> None:
    assert warnings(tried(operator, **fields)) == [(kind, field)]


def test_a_trial_warns_of_a_rule_that_matches_no_stored_signal(operator: Api) -> None:
    assert warnings(tried(operator)) == []
    post(root_cause("api", "oom"))
    assert warnings(tried(operator)) == [("no_stored_signal", None)]


@pytest.mark.parametrize(
    ("earlier", "fields", "is_shadowed"),
    [
        ({}, {}, True),
        ({"priority": 101}, {}, False),
        ({"enabled": False}, {}, False),
        ({}, {"priority": 99}, False),
        ({"name": "mine"}, {}, False),  # it is replaced
        ({"symptom": "memory.*", "symptom_match": "pattern"}, {"namespace": "smartops-dev"}, True),
    ],
)
def test_a_trial_warns_of_a_rule_that_another_one_shadows(
    operator: Api, earlier: dict[str, Any], fields: dict[str, Any], is_shadowed: bool
) -> None:
    save(**{"name": "first"} | earlier)
    assert (("shadowed", None) in warnings(tried(operator, **fields))) is is_shadowed


def test_a_rule_whose_signals_others_take_is_shadowed_on_the_stored_signals(operator: Api) -> None:
    save("first", workload="a.*")
    save("second", workload="w.*")
    post(root_cause("api"), root_cause("web"))

    result = tried(operator)

    assert [one["fit"] for one in result["signals"]] == ["shadowed", "shadowed"]
    assert result["warnings"][0]["message"].endswith(
        "rules that are tried before propose for all that it holds for: first, second."
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"symptom": "(", "symptom_match": "pattern"}, "symptom"),
        ({"symptom": ""}, "symptom"),
        ({"labels": "team"}, "labels"),
        ({"workload": "shop-*"}, "workload"),
        ({"params": {"delta": 1}}, "params"),
        ({"kind": "CronJob"}, "kind"),
        ({"min_reports": 3, "of_reports": 2}, "min_reports"),
        ({"signals": 0}, "signals"),
        ({"surplus": 1}, "surplus"),
        ({"min_confidence": 95}, "min_confidence"),
        ({"name": "n" * 65}, "name"),
        ({"name": "mine\u200b"}, "name"),
        ({"severity": " , "}, "severity"),
        ({"workload": "a\u200b.*"}, "workload"),
    ],
)
def test_a_mistake_in_a_rule_is_named_with_its_field(operator: Api, fields: dict[str, Any], field: str) -> None:
    answer = operator.post("/v1/rules/try", LEAK | fields)
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]


def test_an_agent_may_not_try_rules_and_a_token_tries_them_in_its_namespaces(db: None) -> None:
    agent = bearer("agent", [Scope.READ, Scope.SIGNALS_WRITE, Scope.ACTIONS_WRITE])
    assert agent.post("/v1/rules/try", LEAK).json()["reason"] == "ScopeMissing"

    post(root_cause("api"), root_cause("secret", target=Target("default", "other", "secret")))
    limited = bearer("limited", [Scope.RULES_TRY], ["smartops-dev"])
    assert [one["workload"] for one in tried(limited)["signals"]] == ["api"]


def test_the_number_of_signals_and_their_cluster_can_be_chosen(operator: Api) -> None:
    post(root_cause("a"), root_cause("b"), root_cause("c", target=Target("east", "smartops-dev", "c")))
    assert [one["workload"] for one in tried(operator, signals=2)["signals"]] == ["c", "b"]
    assert [one["workload"] for one in tried(operator, cluster="default")["signals"]] == ["b", "a"]


def test_reports_and_time_of_a_stored_signal_are_those_of_its_last_report(operator: Api) -> None:
    post(root_cause("a"), root_cause("a"))
    Signal.objects.update(last_seen_at=Signal.objects.get().first_seen_at)
    assert tried(operator, min_reports=2, of_reports=3)["counts"]["proposes"] == 1
    assert tried(operator, for_seconds=1)["counts"]["waits"] == 1


def test_a_trial_counts_the_time_of_a_problem_from_its_reported_beginning(operator: Api) -> None:
    post(root_cause("a", started_at=datetime.now(UTC) - timedelta(minutes=5)))
    assert tried(operator, for_seconds=240)["counts"]["proposes"] == 1


def command(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command("try_rule", *arguments, stdout=out, **options)
    return out.getvalue()


FIELDS = ("source=rca", "symptom=memory-leak", "action_type=RESTART")


def test_the_command_takes_fields_a_document_or_a_saved_rule(tmp_path: Path) -> None:
    post(root_cause("api"), root_cause("web", "oom"))
    file = tmp_path / "rule.json"
    file.write_text(json.dumps(LEAK))
    save("saved", symptom="oom")

    printed = command(*FIELDS)

    assert "Deployment smartops-dev/api “memory_leak”: Restart all pods; now: allow\n" in printed
    assert printed.endswith("2 signals: 1 proposes, 0 shadowed, 0 waits, 0 below threshold, 1 unmatched.\n")
    assert command(file=file) == printed
    assert "/web “oom”: Restart all pods" in command(rule="saved")
    assert "/api “memory_leak”: Restart all pods" in command("symptom=memory leak", rule="saved")
    assert "below threshold. The signal stays below" in command(*FIELDS, "min_confidence=0.99")
    assert "warning: params: No workload may have 99 replicas" in command(
        *FIELDS[:2], "action_type=SCALE", 'params={"replicas": 99}'
    )


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (["source"], {}, "“source” is not FIELD=VALUE."),
        (["source=rca"], {}, "symptom: Field required"),
        ([*FIELDS, "labels=team"], {}, "labels: One of = != =~ !~ is expected"),
        ([*FIELDS, "params={"], {}, "params: The body is not JSON"),
        ([*FIELDS, "name=a\udcff"], {}, "name: It contains the invisible character U+DCFF"),
        ([], {"rule": "\udcff"}, "There is no rule"),
        ([*FIELDS], {"signals": 0}, "--signals must be 1 to 1000."),
        ([], {"rule": "none"}, "There is no rule “none”."),
        ([], {"file": Path("/nowhere/rule.json")}, "No such file"),
        ([], {"file": Path(__file__)}, "The body is not JSON"),
    ],
)
def test_the_command_names_a_mistake(arguments: list[str], options: dict[str, Any], said: str) -> None:
    with pytest.raises(CommandError) as caught:
        command(*arguments, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["\\u0000", "\\ud800", "[" * 100_000])
def test_the_command_reads_a_document_as_the_api_does(tmp_path: Path, name: str) -> None:
    file = tmp_path / "rule.json"
    file.write_text(f'{{"name": "{name}", "params": {name}}}' if name[0] == "[" else f'{{"name": "{name}"}}')
    with pytest.raises(CommandError, match=r"rule\.json: .*The"):
        command(file=file)
