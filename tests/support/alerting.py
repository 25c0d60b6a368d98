"""The alerts and the dashboard of the chart, held to what the programs say of themselves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client.parser import text_string_to_metric_families

_FILES = Path(__file__).parents[2] / "charts/media-operator/files"
#: What Prometheus puts on every series itself.
_ADDED = frozenset({"namespace", "pod"})
Json = dict[str, Any]


def rules() -> list[Json]:
    """Return the rules, as Prometheus takes them."""
    groups = yaml.safe_load((_FILES / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> Json:
    """Return the dashboard, as Grafana takes it."""
    body: Json = json.loads((_FILES / "dashboard.json").read_text(encoding="utf-8"))
    return body


def expressions() -> list[tuple[str, str, str]]:
    """Return all expressions: whose it is, the expression, and what is written of its labels as {{label}}."""
    found = [(rule["alert"], rule["expr"], rule["annotations"]["summary"]) for rule in rules()]
    for panel in dashboard()["panels"]:
        found += [(panel["title"], each["expr"], each["legendFormat"]) for each in panel.get("targets", ())]
    return found


def selectors(expression: str) -> list[tuple[str, dict[str, str]]]:
    """Return what an expression selects: each metric, with the labels and values that it asks for.

    Raises ValueError where it is no PromQL, or its types do not fit.
    """
    found: list[promql_parser.VectorSelector] = []

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(expression), pre_visit=visit)
    return [(each.name or "", {pair.name: pair.value for pair in each.matchers.matchers}) for each in found]


def increases(expression: str) -> list[tuple[str, dict[str, str]]]:
    """Return those of the selectors whose increase an expression asks for."""
    found: list[tuple[str, dict[str, str]]] = []

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.Call) and node.func.name == "increase":
            found.extend(pair for each in node.args for pair in selectors(str(each)))

    promql_parser.walk(promql_parser.parse(expression), pre_visit=visit)
    return found


def grouped(expression: str) -> set[str]:
    """Return the labels that the aggregations of an expression leave."""
    found: set[str] = set()

    def visit(node: object) -> None:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            found.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(expression), pre_visit=visit)
    return found


def unknown(page: str, prefix: str) -> Iterator[str]:
    """Yield what is said of metrics with this prefix, and is not on a page of Prometheus' text format.

    Labels can only be missed where the page has a sample of the metric.
    """
    families = list(text_string_to_metric_families(page))
    names: dict[str, set[str]] = {}
    for family in families:
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}.get(family.type, [""])
        names |= {family.name + suffix: set() for suffix in suffixes}
        for sample in family.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
    for owner, expression, _ in expressions():
        for name, asked in selectors(expression):
            if name.startswith(prefix) and name not in names:
                yield f"{owner}: {name}"
            elif known := names.get(name):
                yield from (f"{owner}: {name}{{{label}}}" for label in sorted(asked.keys() - known - _ADDED))
