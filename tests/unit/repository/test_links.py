"""The links between documents: each leads to a file of the repository, and to a heading that it has."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: The target of `[text](target)`, with or without a title, and of `[label]: target`.
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+[^)]*)?\)|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)


def _prose(document: Path) -> str:
    """Return a document without its blocks of code, in which nothing is a link or a heading."""
    return re.sub(r"^(```|~~~).*?^\1", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def _links(document: Path) -> list[str]:
    text = re.sub(r"`[^`\n]*`(?!\]\()", "", _prose(document))
    return [unquote(first or second) for first, second in LINK.findall(text)]


def _anchors(document: Path) -> set[str]:
    """Return the names of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", _prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for link in _links(document):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in _anchors(target), link


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs/README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in _links(index)}
    missing = {page for page in DOCUMENTS[1:] if page.parent.name != "decisions"} - linked - {index}
    assert not missing


def test_links_are_found_wherever_they_stand(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    text = """# A `thing`, and more

[one](one.md) and [`two`](two.md#top "title"), | [three](<three.md>) |

```
[no](link.md)
# no heading
```
`[nor](this.md)`

[label]: four%20.md
"""
    document.write_text(text)
    assert _links(document) == ["one.md", "two.md#top", "three.md", "four .md"]
    assert _anchors(document) == {"a-thing-and-more"}
