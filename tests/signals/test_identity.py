from collections.abc import Mapping

import pytest

from signals.identity import (
    How,
    Identified,
    Unidentified,
    alias_for,
    candidates,
    cycle,
    dump_naming,
    identify,
    is_identified,
    load_naming,
    named_by,
    nearest,
    of_target,
)
from signals.types import AliasSpec, Kind, Link, Named, Naming, NamingFacts, Source, Target

D, S, DS = Kind.DEPLOYMENT, Kind.STATEFUL_SET, Kind.DAEMON_SET


def named(name: str, by: str = "", kind: Kind = D) -> Named:
    return Named(Source.ANOMALY, "prod", "shop", name, by, kind)


def target(name: str, kind: Kind = D, namespace: str = "shop") -> Target:
    return Target("prod", namespace, name, kind)


def alias(pattern: str, workload: str, **more: object) -> AliasSpec:
    return AliasSpec(**{"id": 1, "kind": D, "pattern": pattern, "workload": workload, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, None),
        ({"instance": "10.0.0.1"}, None),
        ({"deployment": ""}, None),
        ({"deployment": "web", "pod": "kube-state-metrics-0"}, ("", "web", D)),
        ({"statefulset": "db"}, ("", "db", S)),
        ({"daemonset": "agent"}, ("", "agent", DS)),
        ({"workload": "db", "workload_type": "StatefulSet"}, ("", "db", S)),
        ({"workload": "web"}, ("", "web", D)),
        ({"workload": "nightly", "workload_type": "job"}, ("workload", "nightly", D)),
        ({"pod": "web-5d8-x2x4z", "service": "kube-state-metrics", "job": "ksm"}, ("pod", "web-5d8-x2x4z", D)),
        ({"pod": "ksm-5d8-x2x4z", "exported_pod": "web-0"}, ("pod", "web-0", D)),
        ({"job": "checkout", "container": "app"}, ("job", "checkout", D)),
        ({"job_name": "nightly-28391", "job": "kube-state-metrics"}, ("job_name", "nightly-28391", D)),
        ({"container": "nginx"}, ("container", "nginx", D)),
    ],
)
def test_the_most_specific_label_names_the_target(
    labels: Mapping[str, str], expected: tuple[str, str, Kind] | None
) -> None:
    assert named_by(labels) == expected


def test_a_label_of_the_exporter_gives_way_to_the_one_of_the_target() -> None:
    assert of_target({"namespace": "monitoring", "exported_namespace": "shop"}, "namespace") == "shop"
    assert of_target({"namespace": "shop"}, "namespace") == "shop"
    assert of_target({}, "namespace") == ""


@pytest.mark.parametrize(
    ("name", "by", "expected"),
    [
        ("web", "", True),
        ("web.v2", "", True),
        ("web", "pod", False),
        ("Tomcat01", "", False),
        ("db_003", "", False),
        ("Checkout Service", "", False),
        ("x" * 254, "", False),
    ],
)
def test_a_name_that_a_workload_can_have_needs_no_identification(name: str, by: str, expected: bool) -> None:
    assert is_identified(name, by) is expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (named("web"), [target("web")]),
        (named("db", kind=S), [target("db", S)]),
        (named("Tomcat01"), []),
        (named("web-7d9f8b6c5d-x2x4z", "pod"), [target("web"), target("web-7d9f8b6c5d", DS)]),
        (named("db-0", "pod_name"), [target("db", S)]),
        (named("agent-x2x4z", "pod"), [target("agent", DS)]),
        (named("x2x4z", "pod"), []),
        (named("web-7d9f8b6c5d", "replicaset"), [target("web")]),
        (named("nightly-28391", "job_name"), []),
        (named("app", "container"), []),
    ],
)
def test_a_name_that_a_controller_has_made_contains_that_of_the_workload(one: Named, expected: list[Target]) -> None:
    assert list(candidates(one)) == expected


POD, RS = Link("Pod", "web-5d8-x2x4z"), Link("ReplicaSet", "web-5d8")
WEB, ROLLOUT, SERVICE = Link("Deployment", "web"), Link("Rollout", "web"), Link("Service", "shop-web")
TOMCAT = alias("Tomcat.*", "tomcat")


@pytest.mark.parametrize(
    ("one", "facts", "how", "found", "path"),
    [
        (named("web"), NamingFacts(existing=(target("web", S),)), How.NAME, target("web", S), "StatefulSet shop/web"),
        (
            named(POD.name, "pod"),
            NamingFacts(chains=((POD, RS, WEB, ROLLOUT),)),
            *(How.OWNER, target("web"), "Pod web-5d8-x2x4z → ReplicaSet web-5d8 → Deployment web"),
        ),
        (
            named(POD.name, "pod"),
            NamingFacts(existing=(target("web"),), error="Not found."),
            *(How.GENERATED_NAME, target("web"), "is gone"),
        ),
        (
            named("shop-web", "service"),
            NamingFacts(chains=((SERVICE, POD, RS, WEB), (SERVICE, Link("Pod", "web-5d8-zzzzz"), RS, WEB))),
            *(How.SERVICE, target("web"), "Service shop-web → Pod web-5d8-x2x4z"),
        ),
        (named("shop-web"), NamingFacts(chains=((SERVICE, POD, RS, WEB),)), How.SERVICE, target("web"), "Service"),
        (
            named("nginx", "container"),
            NamingFacts(existing=(target("web"),)),
            *(How.CONTAINER, target("web"), "only shop/web has the container “nginx”"),
        ),
        (named("Tomcat01"), NamingFacts(alias=TOMCAT), How.ALIAS, target("tomcat"), "the alias 1 (Tomcat.*)"),
        (
            named("Tomcat01"),
            NamingFacts(alias=alias("Tomcat.*", "tomcat", kind=S, to_namespace="erp")),
            *(How.ALIAS, target("tomcat", S, "erp"), "StatefulSet erp/tomcat"),
        ),
        (named("web"), NamingFacts(existing=(target("web"),), alias=alias("web", "x")), How.NAME, target("web"), "web"),
    ],
)
def test_a_name_is_resolved_by_the_cluster_and_else_by_an_alias(
    one: Named, facts: NamingFacts, how: How, found: Target, path: str
) -> None:
    identified = identify(one, facts)

    assert isinstance(identified, Identified)
    assert (identified.target, identified.how) == (found, how)
    assert path in identified.path


@pytest.mark.parametrize(
    ("one", "facts", "message"),
    [
        (named("Tomcat01"), NamingFacts(), "No workload of the namespace “shop” is known by the name “Tomcat01”."),
        (named("x", "service"), NamingFacts(error="Forbidden."), "known by the name service “x”. Forbidden."),
        (
            named("nginx", "container"),
            NamingFacts(existing=(target("web"), target("cart"))),
            "The container “nginx” may belong to several workloads of “shop”: Deployment web, Deployment cart.",
        ),
        (
            named("all", "service"),
            NamingFacts(chains=((SERVICE, POD, WEB), (SERVICE, POD, Link("StatefulSet", "db")))),
            "The service “all” leads to several workloads of “shop”: Deployment web, StatefulSet db.",
        ),
        (
            named("web-5d8", "replicaset"),
            NamingFacts(chains=((RS, ROLLOUT),), error="Forbidden."),
            "ReplicaSet web-5d8 → Rollout web leads to no Deployment, StatefulSet or DaemonSet. Forbidden.",
        ),
        (named("job", "pod"), NamingFacts(chains=((POD,),)), "Pod web-5d8-x2x4z leads to no Deployment"),
    ],
)
def test_a_name_without_a_single_workload_is_unidentified(one: Named, facts: NamingFacts, message: str) -> None:
    identified = identify(one, facts)

    assert isinstance(identified, Unidentified)
    assert message in identified.message


@pytest.mark.parametrize(
    ("more", "applies"),
    [
        ({}, True),
        ({"source": Source.ANOMALY, "cluster": "prod", "namespace": "shop"}, True),
        ({"source": Source.RCA}, False),
        ({"cluster": "test"}, False),
        ({"namespace": "erp"}, False),
        ({"pattern": "Tomcat"}, False),
    ],
)
def test_the_first_alias_that_matches_applies(more: dict[str, object], applies: bool) -> None:
    first = alias(**{"pattern": "Tomcat.*", "workload": "tomcat", **more})  # type: ignore[arg-type]
    second = alias(".*", "other", id=2)

    assert alias_for(named("Tomcat01"), [first, second]) is (first if applies else second)
    assert alias_for(named("Tomcat01"), []) is None


@pytest.mark.parametrize(
    ("one", "others", "expected"),
    [
        (alias("a", "b"), [], 0),
        (alias("a", "b"), [alias("b", "a", id=2)], 2),
        (alias("a", "b"), [alias("b", "c", id=2), alias("c", "a", id=3)], 3),
        (alias("a", "b"), [alias("b", "c", id=2), alias("c", "b", id=3)], 0),
        (alias("a", "b"), [alias("b|B", "b", id=2)], 0),
        (alias("a|b", "b"), [], 0),
        (alias("a", "b", source=Source.RCA), [alias("b", "a", id=2, source=Source.ANOMALY)], 0),
        (alias("a", "b", namespace="shop"), [alias("b", "a", id=2, namespace="erp")], 0),
        (alias("a", "b", namespace="shop", to_namespace="erp"), [alias("b", "a", id=2, namespace="erp")], 2),
    ],
)
def test_aliases_that_lead_back_to_the_first_are_a_cycle(
    one: AliasSpec, others: list[AliasSpec], expected: int
) -> None:
    assert len(cycle(one, others)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Tomcat01", ("tomcat",)),
        ("Checkout Service", ("checkout-service", "checkout")),
        ("db_003", ()),
        ("ÄÖÜ", ()),
    ],
)
def test_the_nearest_names_disregard_case_and_separators(name: str, expected: tuple[str, ...]) -> None:
    assert nearest(name, ("checkout", "checkout-service", "tomcat", "web")) == expected


def test_what_was_known_about_a_name_is_stored_and_read_again() -> None:
    chain = (Link("Pod", "web-5d8-x2x4z"), Link("ReplicaSet", "web-5d8"))
    facts = NamingFacts((chain,), (target("web"),), alias("web-.*", "web", source=Source.RCA), ("wed",), 3, "timeout")
    naming = Naming(named("web-5d8-x2x4z", "pod"), facts)

    assert load_naming(dump_naming(naming)) == naming
    assert load_naming(None) is None
