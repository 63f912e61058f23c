"""Scripts and styles of the page: browsers keep those of a version, and never mix two versions."""

import re

import pytest
from starlette.testclient import TestClient

from longview.ui.bundle import bundle
from longview.ui.page_head import ASSETS_ROUTE, Assets, asset_contents, page_head


def test_a_page_names_its_scripts_by_version_and_browsers_keep_them() -> None:
    client = TestClient(Assets(), root_path=ASSETS_ROUTE)
    addresses = re.findall(rf'"({ASSETS_ROUTE}/[^"]+)"', page_head("/watch"))
    assert {address.rsplit("/", 1)[1] for address in addresses} == {
        "idle_frames.js",
        "base.css",
        "components.css",
        "watch.css",
        "watch_bundle.js",
    }
    for address in addresses:
        response = client.get(address)
        name = address.split("/", 3)[3]
        assert response.content == asset_contents()[name] and "immutable" in response.headers["cache-control"]
        assert response.headers["content-type"].startswith("text/css" if name.endswith(".css") else "text/javascript")
    assert "/watch" not in page_head("/")


def test_a_page_of_an_older_version_gets_none_of_this_one() -> None:
    client = TestClient(Assets(), root_path=ASSETS_ROUTE)
    assert client.get(f"{ASSETS_ROUTE}/0123456789abcdef/main.js").status_code == 404
    for path in ("..%2fpage_head.py", "../page_head.py", "main.js/", "", "%00"):
        assert client.get(f"{ASSETS_ROUTE}/{path}").status_code == 404
    # Without a version browsers ask each time.
    response = client.get(f"{ASSETS_ROUTE}/main.js")
    assert response.headers["cache-control"] == "no-cache"
    again = client.get(f"{ASSETS_ROUTE}/main.js", headers={"If-None-Match": response.headers["etag"]})
    assert again.status_code == 304 and not again.content
    assert client.post(f"{ASSETS_ROUTE}/main.js").status_code in (404, 405)


def test_a_bundle_runs_each_module_once_after_what_it_imports() -> None:
    modules = {
        "main.js": "import { word as noun } from './parts/word.js';\nimport './parts/side.js';\nlet own = noun();",
        "parts/word.js": "import { own } from '../base.js';\nexport function word() { return own; }",
        "parts/side.js": "import { own } from '../base.js';",
        "base.js": "export const own = 1;\nexport async function more() {}\nexport class Kind {}",
    }
    joined = bundle(modules, ["main.js", "base.js"])
    assert re.findall(r"^// (.*)$", joined, re.MULTILINE) == ["base.js", "parts/word.js", "parts/side.js", "main.js"]
    assert "const { word: noun } = modules['parts/word.js'];" in joined and "return { own, more, Kind };" in joined
    assert not re.search(r"^(import|export)\b", joined, re.MULTILINE)
    assert "bundle.js" in page_head("/") and b"modules['library.js']" in asset_contents()["bundle.js"]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import all from './b.js';", "cannot be joined: import all"),
        ("export default 1;", "cannot be joined: export default"),
        ("import './a.js';", "a.js imports itself, by way of: a.js"),
        ("import './c.js';", "There is no module c.js"),
    ],
)
def test_what_cannot_be_joined_is_an_error(source: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        bundle({"a.js": source, "b.js": ""}, ["a.js"])
