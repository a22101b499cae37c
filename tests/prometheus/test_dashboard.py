"""The dashboard: Grafana's sidecar takes the file as it is, and a person finds their way in it."""

import re

import pytest

from tests.prometheus.files import ROOT, dashboard, metric_names, panels


def test_the_dashboard_has_the_uid_that_others_link_to() -> None:
    assert (dashboard()["uid"], dashboard()["title"]) == ("smartops-system-dashboard", "smartops-system-dashboard")


def test_the_dashboard_asks_for_its_data_sources() -> None:
    variables = {one["name"]: one for one in dashboard()["templating"]["list"]}

    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    assert (variables["tempo"]["type"], variables["tempo"]["query"]) == ("datasource", "tempo")
    assert {panel["datasource"]["uid"] for panel in panels()} == {"${datasource}"}
    assert '"datasource":"${tempo}"' in dashboard()["links"][0]["url"]


def test_each_panel_has_a_description_and_a_unit() -> None:
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_panel_ids_and_query_letters_are_unique() -> None:
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters), panel["title"]


def test_the_panels_fill_each_line_and_none_covers_another() -> None:
    covered: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & covered, panel["title"]
        covered |= cells
    assert covered == {(x, y) for x in range(24) for y in range(max(y for _, y in covered) + 1)}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ('sum by (a, b) (rate(x_total{c="d or e"}[5m])) / on (a) y > 0.5', {"x_total", "y"}),
        ("time() - max(z) > 60 or absent_over_time(z[1h])", {"z"}),
        ("histogram_quantile(0.95, sum by (le) (increase(h_bucket[$__range])))", {"h_bucket"}),
        ("sum without(pod)(up) and vector(1)", {"up"}),
    ],
)
def test_the_names_of_metrics_are_found_in_a_query(query: str, names: set[str]) -> None:
    assert metric_names(query) == names


def test_the_panels_that_the_docs_name_exist() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    named = {" ".join(title.split()) for title in re.findall(r"panel\s+\*([^*]+)\*", text)}

    assert named
    assert named <= {panel["title"] for panel in panels()}
