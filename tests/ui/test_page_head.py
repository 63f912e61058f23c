"""Scripts and styles of the page: browsers keep those of a version, and never mix two versions."""

import re

from starlette.testclient import TestClient

from longview.ui.page_head import ASSETS, ASSETS_ROUTE, Assets, page_head


def test_a_page_names_its_scripts_by_version_and_browsers_keep_them() -> None:
    client = TestClient(Assets(), root_path=ASSETS_ROUTE)
    addresses = re.findall(rf'"({ASSETS_ROUTE}/[^"]+)"', page_head("/watch"))
    assert {address.rsplit("/", 1)[1] for address in addresses} >= {"main.js", "idle_frames.js", "strip.js", "watch.css"}
    for address in addresses:
        response = client.get(address)
        name = address.split("/", 3)[3]
        assert response.content == (ASSETS / name).read_bytes() and "immutable" in response.headers["cache-control"]
        assert response.headers["content-type"].startswith("text/css" if name.endswith(".css") else "text/javascript")
    assert not [address for address in re.findall(r'"([^"]+)"', page_head("/")) if "/watch/" in address]


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
