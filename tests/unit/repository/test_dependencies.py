"""What a component imports, directly or by others and at whatever moment, its image has: the extra of its name."""

import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "media-operator"
PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
#: The packages of each image, as its Dockerfile copies them; the image has the extra of this name.
IMAGES = {
    "operator": ("media_operator",),
    "ingest": ("media_ingest", "media_cli"),
    "transcoder": ("media_transcoder",),
}
#: What one module imports of another only in a call that just these components make.
ONLY_FOR = {("mediaasset.s3", "mediaasset.s3stream"): {"ingest"}}


@cache
def required(name: str, extras: frozenset[str]) -> tuple[Requirement, ...]:
    if name == PROJECT:
        project = tomllib.loads(PYPROJECT.read_text())["project"]
        own = [*project.get("dependencies", ())]
        own += [each for extra in extras for each in project["optional-dependencies"][extra]]
        return tuple(map(Requirement, own))
    return tuple(map(Requirement, requires(name) or ()))


def closure(name: str, extras: Iterable[str] = ()) -> Iterator[str]:
    """Yield the distributions that are installed with one and its extras."""
    seen, pending = set(), [(name, frozenset(extras))]
    while pending:
        one = pending.pop()
        if one in seen:
            continue
        seen.add(one)
        yield one[0]
        needed = [each for each in required(*one) if _is_for(each, one[1] or {""})]
        pending += [(canonicalize_name(each.name), frozenset(each.extras)) for each in needed]


def _is_for(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


@pytest.mark.parametrize("component", IMAGES)
def test_image_has_what_its_programs_import(component: str) -> None:
    packages = IMAGES[component]
    graph = grimp.build_graph(*packages, "mediaasset", include_external_packages=True)
    for (by, what), components in ONLY_FOR.items():
        if component not in components:
            graph.remove_import(importer=by, imported=what)
    reached = {each for package in packages for each in graph.find_upstream_modules(package, as_package=True)}
    imported = {each for package in packages for each in graph.find_descendants(package)} | reached
    names = {each.partition(".")[0] for each in imported} - sys.stdlib_module_names - {*packages, "mediaasset"}
    installed = set(closure(PROJECT, [component]))
    known = packages_distributions()
    lacking = {name for name in names if not {canonicalize_name(each) for each in known.get(name, ())} & installed}
    assert lacking == set()
