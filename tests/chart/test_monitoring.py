"""Alerts that one can act on, and a dashboard: sound by themselves, and as the chart gives them."""

import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml

import alerting
from media_ingest.app import ENDPOINTS
from media_ingest.errors import Slug
from mediaasset.reasons import Reason
from rendered import Json, Render

ROOT = Path(__file__).parents[2]
RUNBOOKS = (ROOT / "docs/operations/alerts.md").read_text()
RULES = {rule["alert"]: rule for rule in alerting.rules()}
EXPRESSIONS = [(expression, text) for _, expression, text in alerting.expressions()]
OURS = ("media_operator_", "media_ingest_", "media_gateway_")
#: What the values of a label may be, where that is a closed set.
VALUES: dict[str, set[str]] = {
    "reason": {reason.value for reason in Reason},
    "problem": {slug.value for slug in Slug},
    "route": set(ENDPOINTS),
    "queue": {"reconcile", "Interactive", "Batch"},
    "phase": {"Pending", "Running", "Failed"},
    "cache": {"HIT", "MISS", "STALE", "UPDATING", "REVALIDATED", "EXPIRED", "BYPASS", "NONE"},
    "result": {"counted", "deleted", "refused", "failed"},
}


def test_what_the_parser_refuses_would_be_found() -> None:
    for wrong in ("sum(", "rate(media_ingest_requests_total)", "sum(media_operator_jobs[5m])", "none_of(it)"):
        with pytest.raises(ValueError, match=r"."):
            alerting.selectors(wrong)


@pytest.mark.parametrize(("expression", "text"), EXPRESSIONS, ids=[owner for owner, *_ in alerting.expressions()])
def test_expression_is_sound_and_says_nothing_that_is_never_said(expression: str, text: str) -> None:
    found = alerting.selectors(expression)
    assert found
    for name, asked in found:
        assert name.startswith(OURS)
        for label, value in asked.items():
            named = set(value.split("|"))
            assert named <= VALUES.get(label, named)
            if label in ("status", "code"):
                assert all(re.fullmatch(r"0|000|\d(\d\d|\.\.)", each) for each in named)
    # What a text names must be left by the expression.
    assert set(re.findall(r"\$labels\.(\w+)|{{(\w+)}}", text)) <= {
        pair for label in alerting.grouped(expression) for pair in ((label, ""), ("", label))
    }


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_alert_says_how_bad_it_is_and_has_a_runbook(rule: Json) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    promql_parser.parse_duration(rule.get("for", "1m"))
    _, found, section = RUNBOOKS.partition(f"\n### {rule['alert']}\n")
    assert found, "docs/operations/alerts.md has no such section"
    text = section.partition("\n##")[0]
    assert "\n- **Look**" in text
    assert "\n- **Do**" in text


def test_runbooks_are_of_alerts_that_exist() -> None:
    assert re.findall(r"^### (\w+)$", RUNBOOKS, re.MULTILINE) == list(RULES)


def test_rules_are_made_for_who_asks(render: Render) -> None:
    assert not [body for body in render("minimal") if body["kind"] == "PrometheusRule"]
    [rule] = [body for body in render("everything") if body["kind"] == "PrometheusRule"]
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    made = {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"]}
    assert set(made) == set(RULES) - {"MediaCacheCold"}
    for name, each in made.items():
        assert {key: value for key, value in each.items() if key not in ("labels", "annotations")} == {
            key: value for key, value in RULES[name].items() if key not in ("labels", "annotations")
        }
        assert each["labels"] == {"team": "media", **RULES[name]["labels"]}
        url = f"https://wiki.example.org/media-alerts#{name.lower()}"
        assert each["annotations"] == {**RULES[name]["annotations"], "runbook_url": url}


def test_dashboard_is_made_for_who_asks(render: Render) -> None:
    def boards(name: str) -> list[Json]:
        return [body for body in render(name) if body["metadata"]["name"].endswith("-dashboard")]

    assert not boards("minimal")
    [board] = boards("everything")
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert board["metadata"]["annotations"] == {"grafana_folder": "Media"}
    [text] = board["data"].values()
    assert json.loads(text) == alerting.dashboard()


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    panels = alerting.dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_documentation_names_every_metric_of_the_rules() -> None:
    pages = "".join((ROOT / f"docs/operations/{name}.md").read_text() for name in ("monitoring", "ingest"))
    pages += (ROOT / "docs/gateway.md").read_text()
    for _, expression, _ in alerting.expressions():
        for name, _ in alerting.selectors(expression):
            assert name in pages or re.sub("_(bucket|sum|count)$", "", name) in pages, name


def test_the_rules_are_one_file_that_prometheus_takes_by_itself() -> None:
    body = yaml.safe_load((ROOT / "charts/media-operator/files/alerts.yaml").read_text())
    assert set(body) == {"groups"}
    assert all(set(group) == {"name", "rules"} for group in body["groups"])
