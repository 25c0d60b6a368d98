"""Alerts that one can act on, and a dashboard: sound by themselves, and as the chart gives them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import alerting
from media_ingest.app import ENDPOINTS
from media_ingest.errors import Slug
from mediaasset.reasons import Reason
from rendered import Json, Render

ROOT = Path(__file__).parents[2]
RUNBOOKS = (ROOT / "docs/operations/alerts.md").read_text()
SERIES = Path(__file__).with_name("alerts.yaml")
TRIED = yaml.safe_load(SERIES.read_text())["tests"]
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


def test_alerts_sound_when_they_should_and_at_no_other_time() -> None:
    command = ["promtool", "test", "rules", str(SERIES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr


def test_each_alert_is_tried_with_series_of_which_it_sounds_and_others() -> None:
    tried = [(each["alertname"], "exp_alerts" in each) for test in TRIED for each in test["alert_rule_test"]]
    assert set(tried) == {(name, sounds) for name in RULES for sounds in (True, False)}


def test_what_is_tried_is_what_the_programs_say() -> None:
    asked = {name for _, expression, _ in alerting.expressions() for name, _ in alerting.selectors(expression)}
    for series in (each["series"] for test in TRIED for each in test["input_series"]):
        [(name, labels)] = alerting.selectors(series)
        assert name in asked
        # A reconcile also fails for what is no reason of an asset.
        errors = {"AssetsError", "JobsError"} if name == "media_operator_reconcile_errors_total" else set[str]()
        for label, value in labels.items():
            assert value in VALUES.get(label, {value}) | errors, series


def test_a_counter_whose_first_count_is_an_alert_is_there_from_the_start() -> None:
    # In a process of its own: the tests of this one have counted already.
    code = (
        "import media_ingest.errors, media_operator.metrics, prometheus_client;"
        "print(prometheus_client.generate_latest().decode())"
    )
    page = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    asked = [found for rule in RULES.values() for found in alerting.increases(rule["expr"])]
    assert len(asked) > 5
    for name, labels in asked:
        values = {(label, value) for label, values in labels.items() for value in values.split("|")}
        said = {pair for sample in samples if sample.name == name for pair in sample.labels.items()}
        assert said
        assert {pair for pair in values if pair != ("reason", "Ready")} <= said


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
