"""The page to try the API, in a real browser against a real standalone."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from standalone import Standalone, started

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


# Not for the session: while it is there its event loop counts as running, and tests with loops of their own follow.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is not in PATH: hack/setup.sh test installs it"
    with sync_playwright() as playwright:
        # In a container there is no user namespace for its sandbox; all that it loads is ours.
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with started(tmp_path_factory.mktemp("docs") / "data") as running:
        yield running


@pytest.fixture
def page(browser: Browser, server: Standalone) -> Iterator[Page]:
    complaints: list[str] = []
    asked: list[str] = []
    context = browser.new_context()
    opened = context.new_page()
    # A script that fails, and what the policy forbids, end here.
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda line: complaints.append(line.text) if "Security Policy" in line.text else None)
    opened.on("request", lambda request: asked.append(request.url))
    # Without the slash at its end too.
    opened.goto(f"{server.base_url}/api/docs")
    yield opened
    context.close()
    assert complaints == []
    assert all(url.startswith((server.base_url, "data:,")) for url in asked)


def test_every_operation_of_the_document_is_there(page: Page, server: Standalone) -> None:
    with server.client() as client:
        paths = client.get("/api/openapi.json").json()["paths"]
    operations = [item for path in paths.values() for item in path.values() if "operationId" in item]
    expect(page.locator("details")).to_have_count(len(operations))


def test_an_upload_and_a_list(page: Page, server: Standalone) -> None:
    page.fill("#token", server.token)
    upload = page.locator("#upload")
    upload.locator("summary").click()
    upload.locator("fieldset [data-name=file]").set_input_files(
        {"name": "apple.png", "mimeType": "image/png", "buffer": PNG}
    )
    upload.locator("fieldset [data-name=alt_text]").fill("An apple")
    upload.get_by_role("button", name="Send").click()
    expect(upload.locator(".status")).to_have_text("201 Created")
    listing = page.locator("#list")
    listing.locator("summary").click()
    listing.locator("[data-name=page_size]").fill("1")
    listing.get_by_role("button", name="Send").click()
    expect(listing.locator(".status")).to_have_text("200 OK")
    expect(listing.locator("pre").nth(1)).to_contain_text('"alt_text": "An apple"')


def test_a_problem_is_shown(page: Page) -> None:
    read = page.locator("#read")
    read.locator("summary").click()
    read.locator("[data-name=id]").fill("a b")
    read.get_by_role("button", name="Send").click()
    expect(read.locator(".status")).to_have_text("401 Unauthorized")
    expect(read.locator("pre").nth(1)).to_contain_text("urn:media-operator:problem:unauthorized")


def test_the_page_keeps_to_itself(server: Standalone) -> None:
    with server.client() as client:
        found = client.get("/api/docs/")
        policy = found.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert client.get("/api/docs/page.js").headers["Content-Type"].startswith("text/javascript")
        for name in ("index.htm", "..%2Fopenapi.yaml", "openapi.yaml", "%2e%2e"):
            assert client.get(f"/api/docs/{name}").status_code == 404
