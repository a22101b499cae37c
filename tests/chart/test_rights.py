"""The Role: what has been promised, what the product asks for, and nothing else; told in the docs as it is."""

import re

import pytest
import yaml

from orchestrator.k8s.permissions import PERMISSIONS
from tests.chart.rendering import CHART, VALUES, Rendered, Values
from tests.chart.rights import PROMISED, granted, needed, qualified, told
from tests.kit.pages import page, section

every_values = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


@every_values
def test_the_role_is_what_is_promised_and_what_is_needed(values: Values) -> None:
    chart = Rendered(values)
    roles = [*chart.all("Role"), *chart.all("ClusterRole")]
    wanted = {name: PROMISED.get(name, set()) | needed().get(name, set()) for name in PROMISED | needed()}

    assert roles
    assert all(granted(role["rules"]) == wanted for role in roles)


def test_each_right_beyond_the_promise_has_its_reason_beside_it() -> None:
    template = (CHART / "templates/orchestrator-rbac.yaml").read_text()
    beyond = {
        right.purpose
        for right in PERMISSIONS
        if set(right.verbs) - PROMISED.get(qualified(right.group, right.resource), set())
    }

    assert beyond
    for purpose in beyond:
        assert re.search(rf"# ([a-z ]+: )?{re.escape(purpose)}\.\n", template)


@every_values
def test_the_role_is_bound_to_the_reconcilers_account_alone(values: Values) -> None:
    chart = Rendered(values)
    account = chart.one("ServiceAccount", "smartops-orchestrator")["metadata"]
    bindings = [*chart.all("RoleBinding"), *chart.all("ClusterRoleBinding")]
    roles = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in chart.objects}

    assert bindings
    for binding in bindings:
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
        ]
        role = binding["roleRef"]
        assert (role["kind"], binding["metadata"].get("namespace"), role["name"]) in roles
    assert chart.pods()["reconciler"]["serviceAccountName"] == account["name"]


def test_the_docs_tell_the_rights_of_the_role() -> None:
    assert told() == granted(Rendered({}).one("Role", "smartops-orchestrator")["rules"])


def test_the_role_that_is_made_by_hand_has_what_is_needed() -> None:
    [role] = re.findall("```yaml\n(.*?kind: Role\n.*?)```", section(page("docs/operations.md"), "## Run it"), re.DOTALL)

    assert granted(yaml.safe_load(role)["rules"]) == needed()
