"""What the chart makes of its values: what others rely on, and what must hold whatever is set."""

import re
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from smartops.people.claims import group_roles
from smartops.people.roles import EVERYWHERE, Place, Role
from tests.chart.rendering import CHART, NAMESPACE, VALUES, Object, Rendered, Values, render, variables

ROOT = CHART.parents[1]
CONSOLE = "https://smartops.example.com/console"
CLUSTER_WIDE = {"ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}

every_values = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


@pytest.fixture
def rendered(values: Values) -> Rendered:
    return Rendered(values)


@every_values
def test_helm_lint_finds_nothing(values: Values) -> None:
    report = helm.lint(CHART, dict(values), strict=True)

    assert report["errors"] == []
    assert [one for one in report["messages"] if "icon" not in one["error"]] == []


def test_the_chart_keeps_the_names_that_others_rely_on() -> None:
    chart = Rendered({})

    assert {(one["kind"], one["metadata"]["name"]) for one in chart.objects} >= {
        ("ServiceAccount", "smartops-orchestrator"),
        ("Role", "smartops-orchestrator"),
        ("RoleBinding", "smartops-orchestrator"),
        ("Service", "smartops-orchestrator"),
        ("ConfigMap", "smartops-system-dashboard"),
    }
    assert chart.one("Service", "smartops-orchestrator")["spec"]["type"] == "ClusterIP"
    assert chart.one("Role", "smartops-orchestrator")["metadata"]["namespace"] == "smartops-dev"
    endpoints = {variables(chart.pods()[name])["OTEL_EXPORTER_OTLP_ENDPOINT"] for name in ("web", "reconciler")}
    assert endpoints == {"http://smartops-otelcol:4317"}


@every_values
def test_names_are_unique_and_in_their_namespace(rendered: Rendered, values: Values) -> None:
    own = values.get("global", {}).get("smartops", {}).get("namespace", NAMESPACE)
    targets = set(values.get("targets", {}).get("namespaces", [own]))
    found = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in rendered.objects]

    assert len(found) == len(set(found))
    for kind, namespace, name in found:
        if kind in CLUSTER_WIDE:
            assert namespace is None
            assert name.endswith(f".{own}")  # so that two installations do not meet
        else:
            assert namespace in (targets if kind in ("Role", "RoleBinding") else {own})


@pytest.mark.parametrize("name", [name for name in VALUES if name not in ("the whole cluster", "everything")])
def test_nothing_is_cluster_wide_unless_switched_on(name: str) -> None:
    assert not {one["kind"] for one in Rendered(VALUES[name]).objects} & CLUSTER_WIDE


@pytest.mark.parametrize(
    ("switch", "kinds"),
    [
        ({"targets": {"allNamespaces": True}}, {"ClusterRole", "ClusterRoleBinding"}),
        (
            {"admissionPolicy": {"enabled": True}},
            {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"},
        ),
        ({"serviceMonitor": {"enabled": True}}, {"ServiceMonitor"}),
        ({"prometheusRule": {"enabled": True}}, {"PrometheusRule"}),
        ({"ingress": {"enabled": True, "host": "smartops.example.com"}}, {"Ingress"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_switch_adds_its_kinds_and_no_other(switch: Values, kinds: set[str]) -> None:
    off, on = ({one["kind"] for one in Rendered(values).objects} for values in ({}, switch))

    assert on - off == kinds


@every_values
def test_pods_are_restricted(rendered: Rendered) -> None:
    """The Pod Security Standard of that name, and a root file system that nobody writes to."""
    pods = rendered.pods()

    assert pods.keys() >= {"web", "reconciler", "test"}
    for pod in pods.values():
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        kinds = {"projected", "emptyDir", "persistentVolumeClaim"}
        assert all(kinds & volume.keys() for volume in pod.get("volumes", []))
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}


@every_values
def test_only_the_reconciler_holds_a_token(rendered: Rendered) -> None:
    mounted = {name: pod["automountServiceAccountToken"] for name, pod in rendered.pods().items()}

    assert [name for name, token in mounted.items() if token] == ["reconciler"]
    assert [name for name, pod in rendered.pods().items() if "serviceAccountName" in pod] == ["reconciler"]
    assert rendered.one("ServiceAccount", "smartops-orchestrator")["automountServiceAccountToken"] is False


@every_values
def test_secrets_are_files_that_are_mounted(rendered: Rendered) -> None:
    assert "secretKeyRef" not in str(rendered.objects)
    assert rendered.all("Secret") == []
    for name, pod in rendered.pods().items():
        files = {value for key, value in variables(pod).items() if key.endswith("_FILE") or key == "PGSSLROOTCERT"}
        assert len(files) >= 3 or name == "test"
        assert files <= {str(path) for path in mounted_files(pod)}


@pytest.mark.parametrize(
    ("values", "urls"),
    [
        (
            "defaults",
            {
                "web": ("smartops-database", "uri"),
                "reconciler": ("smartops-database", "reconciler-uri"),
                "migrate": ("smartops-database", "owner-uri"),
            },
        ),
        (
            "everything",
            {
                "web": ("smartops-database", "uri"),
                "reconciler": ("database-reconciler", "uri"),
                "migrate": ("database-owner", "uri"),
                "retain": ("database-owner", "uri"),
            },
        ),
    ],
)
def test_each_component_has_a_login_of_its_own_in_the_database(values: str, urls: dict[str, tuple[str, str]]) -> None:
    mounted = {
        name: (source["secret"]["name"], item["key"])
        for name, pod in Rendered(VALUES[values]).pods().items()
        for volume in pod.get("volumes", [])
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
        if item["path"] == "database-url"
    }

    assert mounted == urls


def mounted_files(pod: Object) -> list[Path]:
    [container] = pod["containers"]
    places = {mount["name"]: Path(mount["mountPath"]) for mount in container.get("volumeMounts", [])}
    return [
        places[volume["name"]] / item["path"]
        for volume in pod.get("volumes", [])
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
    ]


@every_values
def test_every_variable_is_a_setting(rendered: Rendered) -> None:
    text = (ROOT / "smartops/settings.py").read_text()
    read = set(re.findall(r'\benv(?:_\w+)?\("(\w+)"', text))

    for pod in rendered.pods().values():
        for name in variables(pod):
            assert name.removesuffix("_FILE") in read | {"OTEL_EXPORTER_OTLP_ENDPOINT", "PGSSLROOTCERT"}


@every_values
def test_selectors_find_the_pods_that_they_mean(rendered: Rendered) -> None:
    labels = {
        one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"]["template"][
            "metadata"
        ]["labels"]
        for one in rendered.all("Deployment")
    }

    def selected(selector: Any) -> set[str]:
        return {name for name, its in labels.items() if selector.items() <= its.items()}

    for one in rendered.all("Deployment"):
        component = one["metadata"]["labels"]["app.kubernetes.io/component"]
        assert selected(one["spec"]["selector"]["matchLabels"]) == {component}
        for spread in one["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert selected(spread["labelSelector"]["matchLabels"]) == {component}
    for one in rendered.all("Service"):
        [component] = selected(one["spec"]["selector"])
        [port] = one["spec"]["ports"]
        [container] = rendered.pods()[component]["containers"]
        assert port["targetPort"] in [its["name"] for its in container["ports"]]
    budgets = [selected(one["spec"]["selector"]["matchLabels"]) for one in rendered.all("PodDisruptionBudget")]
    assert budgets == [{"web"}, {"reconciler"}]


@every_values
def test_probes_ask_what_the_processes_answer(rendered: Rendered) -> None:
    for name in ("web", "reconciler"):
        [container] = rendered.pods()[name]["containers"]
        [port] = container["ports"]
        asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {one["port"] for one in asked.values()} == {port["name"]}
        assert [asked[kind]["path"] for kind in asked] == ["/healthz", "/healthz", "/readyz"]
        assert str(port["containerPort"]) in container["command"]


def test_the_schema_is_migrated_before_new_processes_start() -> None:
    job = Rendered({}).one("Job", "smartops-orchestrator-migrate")

    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["containers"][0]["command"] == [
        "python",
        "manage.py",
        "migrate",
        "--no-input",
    ]


def test_old_history_is_exported_to_the_claim() -> None:
    chart = Rendered(VALUES["everything"])
    pod = chart.pods()["retain"]
    [container] = pod["containers"]

    assert Rendered({}).all("CronJob") == []
    assert container["command"] == ["python", "manage.py", "retain", "/exports"]
    assert variables(pod)["SMARTOPS_RETAIN_ACTIONS_DAYS"] == "800"
    assert {"name": "exports", "mountPath": "/exports"} in container["volumeMounts"]
    assert {"name": "exports", "persistentVolumeClaim": {"claimName": "smartops-exports"}} in pod["volumes"]


@pytest.mark.parametrize(
    "retention",
    [
        {"enabled": True},
        {"days": {"decisions": 0}},
        {"days": {"decisions": -1}},
        {"days": {"decisions": "forever"}},
        {"days": {"decisions": 1.5}},
        {"days": {"decisions": 10**9}},
        {"days": {"decision": 400}},
        {"days": {"actions": 34}},
        {"schedule": ""},
    ],
)
def test_a_retention_that_would_lose_history_is_refused(retention: Any) -> None:
    with pytest.raises(helm.HelmError):
        Rendered({"retention": retention})


def test_reconcilers_alone_can_be_installed() -> None:
    """In the other clusters of a fleet."""
    chart = Rendered({"web": {"replicas": 0}, "migrate": {"enabled": False}})

    assert chart.all("Job") == []
    assert chart.one("Deployment", "smartops-orchestrator-web")["spec"]["replicas"] == 0
    [asked] = [word for word in chart.pods()["test"]["containers"][0]["command"] if word.startswith("http://")]
    assert asked == "http://smartops-orchestrator-reconciler:9090/readyz"


def test_the_ingress_publishes_neither_metrics_nor_probes() -> None:
    ingress = Rendered(VALUES["everything"]).one("Ingress", "smartops-orchestrator")
    [rule] = ingress["spec"]["rules"]
    paths = {(one["path"], one["pathType"]) for one in rule["http"]["paths"]}

    assert paths == {("/", "Exact"), *((path, "Prefix") for path in ("/v1", "/console", "/admin", "/static"))}
    assert ingress["spec"]["tls"] == [{"hosts": ["smartops.example.com"], "secretName": "smartops-tls"}]


def test_the_web_process_answers_to_the_names_of_service_and_ingress() -> None:
    web = variables(Rendered(VALUES["everything"]).pods()["web"])

    assert web["SMARTOPS_ALLOWED_HOSTS"].split(",") == [
        "smartops-orchestrator",
        "smartops-orchestrator.automation",
        "smartops-orchestrator.automation.svc",
        "smartops-orchestrator.automation.svc.cluster.local",
        "smartops.example.com",
        "smartops.internal",
    ]
    assert web["SMARTOPS_CSRF_TRUSTED_ORIGINS"] == "https://smartops.example.com,https://smartops.internal"


def test_the_site_can_be_below_a_path_of_the_ingress() -> None:
    chart = Rendered(dict(VALUES["everything"]) | {"web": {"rootPath": "/smartops"}})

    assert variables(chart.pods()["web"])["SMARTOPS_ROOT_PATH"] == "/smartops"
    [rule] = chart.one("Ingress", "smartops-orchestrator")["spec"]["rules"]
    assert [one["path"] for one in rule["http"]["paths"]] == [
        "/smartops/", "/smartops/v1", "/smartops/console", "/smartops/admin", "/smartops/static",
    ]  # fmt: skip


def test_trusted_proxies_are_those_of_the_values() -> None:
    named = variables(Rendered(VALUES["everything"]).pods()["web"])["SMARTOPS_TRUSTED_PROXIES"]

    assert named == "10.244.0.0/16,fd00:10:244::/56"
    assert "SMARTOPS_TRUSTED_PROXIES" not in variables(Rendered({}).pods()["web"])


@every_values
def test_services_and_processes_have_both_address_families(rendered: Rendered) -> None:
    assert {one["spec"]["ipFamilyPolicy"] for one in rendered.all("Service")} == {"PreferDualStack"}
    for name in ("web", "reconciler"):
        [container] = rendered.pods()[name]["containers"]
        assert not [word for word in container["command"] if "0.0.0.0" in word or "host" in word]  # the default: all
        assert all("host" not in container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness"))


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://[fd00::1]:8181/v1/data/x", 8181),
        ("http://[fd00::1]/v1/data/x", 80),
        ("https://[fd00::1]/v1/data/x", 443),
        ("https://opa:8443/v1/data/x", 8443),
    ],
)
def test_the_network_policy_opens_the_port_of_a_url_with_an_ipv6_address(url: str, port: int) -> None:
    chart = Rendered({"policy": {"url": url}})
    rules = chart.one("NetworkPolicy", "smartops-orchestrator-web")["spec"]["egress"]

    assert port in {one["port"] for rule in rules for one in rule["ports"]}


def test_only_the_web_process_has_the_openid_provider_its_secret_and_its_port() -> None:
    chart = Rendered(VALUES["everything"])
    pods = chart.pods()
    with_secret = [name for name, pod in pods.items() if "oidc-client-secret" in str(pod.get("volumes"))]
    given = {one["name"]: one.get("value") for one in pods["web"]["containers"][0]["env"]}
    egress = chart.one("NetworkPolicy", "smartops-orchestrator-web")["spec"]["egress"]

    assert with_secret == ["web"]
    assert given["SMARTOPS_OIDC_CLIENT_SECRET_FILE"].endswith("/smartops/oidc-client-secret")
    assert group_roles(given["SMARTOPS_OIDC_ROLES"]).granted(["sre"]) == {
        (Role.OPERATOR, Place("production")),
        (Role.VIEWER, EVERYWHERE),
    }
    assert {"ports": [{"port": 8443}], "to": [{"ipBlock": {"cidr": "10.3.0.0/16"}}]} in egress
    assert "OIDC" not in str([pod for name, pod in pods.items() if name != "web"])
    assert "OIDC" not in str(Rendered({}).pods())


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"issuer": "http://id.example.com"}, "issuer"),
        ({"roles": {"sre": "operator"}}, "sre"),
        ({"roles": {"sre": ["root"]}}, "sre"),
        ({"scopes": ["profile"]}, "scopes"),
    ],
)
def test_an_openid_provider_that_cannot_work_is_refused(values: Values, named: str) -> None:
    with pytest.raises(helm.HelmValuesError, match=named):
        render({"oidc": values})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"rootPath": "smartops"}, "rootPath"),
        ({"rootPath": "/a b"}, "rootPath"),
        ({"consoleUrl": "https://smartops.example.com"}, "consoleUrl"),
        ({"consoleUrl": "http://smartops.example.com/console"}, "consoleUrl"),
        ({"consoleUrl": "https://ana:secret@example.com/console"}, "consoleUrl"),
        ({"trustedProxies": ["*"]}, "trusted"),
    ],
)
def test_a_path_or_a_proxy_that_is_none_is_refused(values: Values, named: str) -> None:
    with pytest.raises(helm.HelmValuesError, match=named):
        render({"web": values})


@pytest.mark.parametrize(
    ("values", "default", "all_of_them"),
    [
        ({}, "smartops-dev", "smartops-dev"),
        ({"targets": {"namespaces": ["shop", "billing"]}}, "shop", "shop,billing"),
        ({"targets": {"allNamespaces": True}}, "smartops-dev", "*"),
    ],
)
def test_the_processes_act_where_there_are_roles(values: Values, default: str, all_of_them: str) -> None:
    chart = Rendered(values)

    for name in ("web", "reconciler"):
        its = variables(chart.pods()[name])
        assert (its["SMARTOPS_NAMESPACE"], its["SMARTOPS_NAMESPACES"]) == (default, all_of_them)
    roles = [one["metadata"]["namespace"] for one in chart.all("Role")]
    assert roles == ([] if all_of_them == "*" else all_of_them.split(","))


@pytest.mark.parametrize("name", ["defaults", "everything"])
def test_all_pods_are_denied_the_traffic_that_is_not_opened(name: str) -> None:
    chart = Rendered(VALUES[name])
    own = chart.all("Deployment")[0]["metadata"]["namespace"]
    policies = {one["metadata"]["name"]: one["spec"] for one in chart.all("NetworkPolicy")}
    everything = policies.pop("smartops-orchestrator")

    assert everything.keys() == {"podSelector", "policyTypes"}
    assert everything["policyTypes"] == ["Ingress", "Egress"]
    assert everything["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "smartops-orchestrator",
        "app.kubernetes.io/instance": "smartops",
    }
    assert own == chart.one("NetworkPolicy", "smartops-orchestrator")["metadata"]["namespace"]
    opened = {
        one["podSelector"]["matchLabels"]["app.kubernetes.io/component"]: {
            direction: sorted({port["port"] for rule in one.get(direction, []) for port in rule["ports"]})
            for direction in ("ingress", "egress")
        }
        for one in policies.values()
    }
    assert opened == (
        {
            "web": {"ingress": [8000], "egress": [53, 4317, 5432]},
            "reconciler": {"ingress": [9090], "egress": [53, 443, 4317, 5432, 6443]},
            "migrate": {"ingress": [], "egress": [53, 5432]},
            "test": {"ingress": [], "egress": [53, 8000, 9090]},
        }
        if name == "defaults"
        else {
            "web": {"ingress": [8000], "egress": [53, 443, 4317, 6432, 8443]},
            "reconciler": {"ingress": [9090], "egress": [53, 443, 4317, 6432, 6443]},
            "migrate": {"ingress": [], "egress": [53, 6432]},
            "retain": {"ingress": [], "egress": [53, 6432]},
            "test": {"ingress": [], "egress": [53, 8000, 9090]},
        }
    )


def test_an_empty_list_of_peers_admits_nobody() -> None:
    """Where Kubernetes takes an empty list for everybody."""
    chart = Rendered({"networkPolicy": {"agents": [], "prometheus": []}})

    for component in ("web", "reconciler"):
        [rule] = chart.one("NetworkPolicy", f"smartops-orchestrator-{component}")["spec"]["ingress"]
        [only] = rule["from"]
        assert only["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"


def test_all_pods_have_the_scheduling_of_the_values() -> None:
    told = VALUES["everything"]["pods"]

    for pod in Rendered(VALUES["everything"]).pods().values():
        assert {name: pod[name] for name in ("nodeSelector", "tolerations", "affinity")}.items() <= told.items()


def test_prometheus_scrapes_both_processes() -> None:
    chart = Rendered(VALUES["everything"])
    monitor = chart.one("ServiceMonitor", "smartops-orchestrator")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = [one for one in chart.all("Service") if wanted <= one["metadata"]["labels"].items()]

    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert len({one["metadata"]["labels"][monitor["spec"]["jobLabel"]] for one in services}) == 1
    assert len(services) == 2
    assert {one["port"] for one in monitor["spec"]["endpoints"]} == {
        port["name"] for one in services for port in one["spec"]["ports"]
    }


def test_the_dashboard_and_the_rules_are_those_of_the_files() -> None:
    chart = Rendered(VALUES["everything"])
    dashboard = chart.one("ConfigMap", "smartops-system-dashboard")
    rules = Rendered({"prometheusRule": {"enabled": True}}).one("PrometheusRule", "smartops-orchestrator")
    files = [yaml.safe_load(path.read_text()) for path in sorted(CHART.glob("rules/*.yaml"))]

    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["data"] == {
        path.name: path.read_text() for path in [CHART / "dashboards/smartops-system-dashboard.json"]
    }
    assert files
    assert rules["spec"]["groups"] == [group for one in files for group in one["groups"]]


def test_alerts_link_to_the_console_if_its_address_is_known() -> None:
    chart = Rendered({"prometheusRule": {"enabled": True}, "web": {"consoleUrl": f"{CONSOLE}/"}})
    [group] = chart.one("PrometheusRule", "smartops-orchestrator")["spec"]["groups"]
    links = {one["alert"]: one["annotations"]["console"].removeprefix(f"{CONSOLE}/") for one in group["rules"]}

    assert links["SmartOpsReconcilerSilent"] == ""
    assert links["SmartOpsNeedsReview"] == "actions/?state=needs_review"
    assert {link for link in links.values() if link} == {
        "actions/?state=needs_review", "actions/?state=unsuccessful", "signals/?state=open", "signals/?state=waiting",
    }  # fmt: skip


def test_both_processes_know_the_address_of_the_console() -> None:
    pods = Rendered(VALUES["everything"]).pods()

    assert {variables(pods[one])["SMARTOPS_CONSOLE_URL"] for one in ("web", "reconciler")} == {CONSOLE}
    assert "SMARTOPS_CONSOLE_URL" not in variables(Rendered({}).pods()["reconciler"])


def test_the_notes_say_where_it_acts_and_what_comes_next() -> None:
    notes = render(VALUES["two target namespaces"])["NOTES.txt"]

    assert "It acts in shop, billing of the cluster default." in notes
    assert "helm test smartops --namespace smartops-dev" in notes
    assert "create_token detector --scope signals:write --namespace shop" in notes
    assert "admissionPolicy.enabled=true" in notes
    assert "https://smartops.example.com/console/" in render(VALUES["everything"])["NOTES.txt"]


def test_the_chart_has_the_products_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = (ROOT / "pyproject.toml").read_text()

    assert f'\nversion = "{chart["appVersion"]}"\n' in project
    assert chart["version"] == chart["appVersion"]
