"""The API under a path prefix, behind a proxy that strips it and behind one that does not."""

import pytest

from tests.http.asgi import AsgiCaller

BASE = "/api/v3/organizations/demo/ai/sessions"
PREFIXES = ["/api", "api/", "/api/v3", "//api/v3/organizations/", "/health", "/a/b%20c"]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("given_as", ["path_prefix", "root_path"])
async def test_the_api_is_served_under_any_prefix_whether_a_proxy_strips_it_or_not(prefix: str, given_as: str) -> None:
    outer = "/" + prefix.strip("/")
    async with AsgiCaller(prefix, as_root_path=given_as == "root_path") as app:
        created = await app.send("POST", f"{outer}{BASE}", b'{"userId":"a"}', {"idempotency-key": "one"})
        assert created.status == 201
        again = await app.send("POST", BASE, b'{"userId":"a"}', {"idempotency-key": "one"})
        assert (again.status, again.json) == (201, created.json)
        await app.send("POST", BASE, b'{"userId":"a"}')
        session = f"{BASE}/{created.json['sessionId']}"
        for before in ("", outer, f"/{outer}//"):
            assert (await app.send("GET", f"{before}{session}")).json["id"] == created.json["sessionId"]
            assert (await app.send("PUT", f"{before}{session}", b"{}")).status == 200
            assert (await app.send("PUT", f"{before}{session}/extend")).status == 200
            assert (await app.send("GET", f"{before}/health/live")).status == 200
            assert (await app.send("GET", f"{before}/openapi.json")).json["servers"] == [{"url": outer}]
            page = await app.send("GET", f"{before}{BASE}", query=b"limit=1")
            assert page.headers["link"].startswith(f"<{outer}{BASE}?")
            missing = await app.send("GET", f"{before}/nowhere")
            assert missing.status == 404
        assert (await app.send("GET", f"{outer}x{BASE}")).status == 404
