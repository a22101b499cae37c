"""The chart, rendered by Helm's own library; no cluster, no `helm`."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

CHART = Path(__file__).resolve().parents[2] / "helm" / "smartops"
RELEASE, NAMESPACE = "smartops", "smartops-dev"
Object = dict[str, Any]
Values = Mapping[str, Any]

# What people set, from nothing to everything.
VALUES: dict[str, Values] = {
    "defaults": {},
    "two target namespaces": {"targets": {"namespaces": ["shop", "billing"]}},
    "the whole cluster": {"targets": {"allNamespaces": True}, "admissionPolicy": {"enabled": True}},
    "nothing that can be switched off": {
        "dashboard": {"enabled": False},
        "migrate": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "telemetry": {"endpoint": ""},
    },
    "everything": {
        "global": {"smartops": {"namespace": "automation"}},
        "image": {"repository": "registry.example.com/smartops", "tag": "0.1.0-1", "pullSecrets": ["registry"]},
        "targets": {
            "cluster": "production",
            "clusterNote": "live",
            "namespaces": ["shop", "billing"],
            "allowedOwnWorkloads": ["automation/smartops-orchestrator-web"],
            "allowedPatchPrefixes": ["example.com/"],
        },
        "database": {
            "ca": {"secret": "database-ca"},
            "listen": {"secret": "database-direct"},
            "reconciler": {"secret": "database-reconciler", "key": "uri"},
            "owner": {"secret": "database-owner", "key": "uri"},
        },
        "pods": {
            "annotations": {"example.com/team": "sre"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
        },
        "web": {
            "replicas": 3,
            "hosts": ["smartops.internal"],
            "trustedOrigins": ["https://smartops.internal"],
            "trustedProxies": ["10.244.0.0/16", "fd00:10:244::/56"],
            "requireMfa": True,
            "consoleUrl": "https://smartops.example.com/console",
        },
        "reconciler": {
            "replicas": 1,
            "workers": 4,
        },
        "retention": {"enabled": True, "claim": "smartops-exports", "days": {"actions": 800}},
        "env": {"SMARTOPS_LOG_LEVEL": "WARNING"},
        "oidc": {
            "issuer": "https://id.example.com:8443/realms/acme",
            "secret": {"name": "smartops-oidc"},
            "displayName": "Acme",
            "roles": {"sre": ["operator@production", "viewer"], "platform": ["admin", "staff"]},
        },
        "policy": {"url": "https://opa.example.com/v1/data/smartops/decision", "timeoutSeconds": 0.5},
        "admissionPolicy": {"enabled": True},
        "dashboard": {"annotations": {"grafana_folder": "SmartOps"}},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "ingress": {
            "enabled": True,
            "className": "traefik",
            "host": "smartops.example.com",
            "tlsSecret": "smartops-tls",
            "annotations": {"example.com/read-timeout": "310s"},
        },
        "networkPolicy": {
            "database": {"port": 6432, "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]},
            "apiServer": {"ports": [6443], "to": [{"ipBlock": {"cidr": "10.2.0.1/32"}}]},
            "collector": {"to": [{"podSelector": {"matchLabels": {"app": "otelcol"}}}]},
            "policyEngine": {"to": [{"namespaceSelector": {"matchLabels": {"name": "opa"}}}]},
            "openidProvider": {"to": [{"ipBlock": {"cidr": "10.3.0.0/16"}}]},
        },
    },
}


def render(values: Values, release: str = RELEASE, namespace: str = NAMESPACE) -> dict[str, str]:
    """The text of each template by its file's name. As with `helm install`, values that the schema refuses are a
    HelmValuesError."""
    given = dict(values)
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(given)
        texts = chart.render(given, name=release, namespace=namespace)
    return {path.removeprefix("smartops/templates/"): text for path, text in texts.items()}


def objects(values: Values) -> list[Object]:
    """Of one's own: they may be changed."""
    made: list[Object] = json.loads(_as_json(json.dumps(values)))
    return made


@cache
def _as_json(values: str) -> str:
    """Rendered once: dozens of tests ask for the same values."""
    texts = (text for path, text in render(json.loads(values)).items() if path.endswith(".yaml"))
    return json.dumps([one for text in texts for one in yaml.safe_load_all(text) if one is not None])


class Rendered:
    """Objects of one rendering, found by kind and name."""

    def __init__(self, values: Values) -> None:
        self.objects = objects(values)

    def all(self, kind: str) -> list[Object]:
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind: str, name: str, namespace: str | None = None) -> Object:
        """Raises ValueError unless there is exactly one."""
        [found] = [
            one
            for one in self.all(kind)
            if one["metadata"]["name"] == name and namespace in (None, one["metadata"].get("namespace"))
        ]
        return found

    def pods(self) -> dict[str, Object]:
        """The spec of each kind of pod, by its component."""
        with_templates = [*self.all("Deployment"), *self.all("Job")]
        pods = [one["spec"]["template"] for one in with_templates] + self.all("Pod")
        pods += [one["spec"]["jobTemplate"]["spec"]["template"] for one in self.all("CronJob")]
        return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"] for one in pods}


def variables(pod: Object) -> dict[str, str]:
    """The environment of its only container."""
    [container] = pod["containers"]
    return {one["name"]: one["value"] for one in container.get("env", [])}
