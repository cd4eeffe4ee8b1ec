"""Who may ask: tokens and how often they may be guessed, sessions, origins, names, proxies."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from searchx.catalog import Catalog
from searchx.errors import BadInput
from searchx.search import Library
from tests.colour import ColourEncoder
from tests.served import served
from web.access import Access, is_this_machine
from web.app import create_app
from web.guard import HEADERS, MAX_OPEN
from web.sessions import COOKIE, SECONDS, is_session, session_of
from web.tries import AT_ONCE, SECONDS_EACH, Tries

TOKEN = "open-sesame-open-sesame"
BEARER = {"authorization": f"Bearer {TOKEN}"}
FRIEND = "https://friend.example"


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Library]:
    with closing(Catalog.open(tmp_path / "library", create=True)) as catalog:
        yield Library(catalog, ColourEncoder())


def client_for(app: FastAPI, base_url: str = "http://localhost") -> TestClient:
    return TestClient(app, base_url=base_url, follow_redirects=False)


@pytest.fixture
def closed(empty: Library) -> TestClient:
    """A server that asks for a token."""
    return client_for(create_app(empty, token=TOKEN))


@pytest.fixture
def shared(empty: Library) -> TestClient:
    """A server whose answers the pages of one other website may read."""
    return client_for(create_app(empty, token=TOKEN, allowed_origins=[FRIEND]))


# tokens


def test_every_route_but_the_few_that_are_open_asks_for_the_token(closed: TestClient) -> None:
    app = closed.app
    assert isinstance(app, FastAPI)
    asked = {path.replace("{id}", "1") for path in app.openapi()["paths"]}
    assert {"/api/search", "/items/1/file", "/healthz"} <= asked
    asked |= {"/", "/docs", "/openapi.json", "/items/1", "/pictures/x", "/skipped", "/login"}
    asked |= {"/logout", "/nothing", "/mcp", "/metrics"}
    passed = {path for path in asked if closed.get(path).status_code != 401}
    passed |= {path for path in asked if closed.post(path).status_code != 401}
    assert passed == {"/login", "/healthz", "/readyz"}


@pytest.mark.parametrize(
    "path", ["//", "/login/", "/static", "/%2e/api/search", "/staticx", "/LOGIN"]
)
def test_odd_spellings_of_open_paths_are_not_open(closed: TestClient, path: str) -> None:
    assert closed.get(path).status_code == 401


def test_static_files_lead_nowhere_else(closed: TestClient) -> None:
    for path in ("/static/../guard.py", "/static/%2e%2e/guard.py", "/static/..%2fguard.py"):
        answer = closed.get(path)
        assert answer.status_code in (401, 404)
    for path in ("/static/%00", "/static/" + "x/" * 2000, "/static//etc/passwd"):
        assert closed.get(path).status_code in (404, 405)


def test_wrong_tokens_are_slowed_by_address(closed: TestClient) -> None:
    wrong = {"authorization": "Bearer wrong"}
    for _ in range(AT_ONCE):
        assert closed.get("/", headers=wrong).status_code == 401
    answer = closed.get("/", headers=wrong)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= SECONDS_EACH + 1
    assert closed.get("/api/search", headers=BEARER).status_code == 429  # it may be a guess too
    assert closed.post("/login", data={"token": TOKEN}).status_code == 429
    cookie = {"cookie": f"{COOKIE}={session_of(TOKEN)}"}
    assert closed.get("/docs", headers=cookie).status_code == 200  # who is in stays in


def test_wrong_logins_are_slowed(closed: TestClient) -> None:
    codes = [closed.post("/login", data={"token": "x"}).status_code for _ in range(AT_ONCE + 1)]
    assert codes == [401] * AT_ONCE + [429]


def test_tries_come_back_with_time_and_are_counted_by_network() -> None:
    now = [0.0]
    tries = Tries(lambda: now[0])
    for _ in range(AT_ONCE):
        assert tries.wait("2001:db8::1") == 0
        tries.failed("2001:db8::1")
    assert tries.wait("2001:db8::ffff") == SECONDS_EACH  # of the same customer
    assert tries.wait("2001:db8:0:1::1") == tries.wait("10.0.0.1") == tries.wait("") == 0
    now[0] += SECONDS_EACH
    assert tries.wait("2001:db8::1") == 0
    tries.failed("2001:db8::1")
    assert tries.wait("2001:db8::1") == SECONDS_EACH
    now[0] += AT_ONCE * SECONDS_EACH
    for _ in range(AT_ONCE):
        assert tries.wait("2001:db8::1") == 0
        tries.failed("2001:db8::1")


def test_many_addresses_take_bounded_memory() -> None:
    tries = Tries(lambda: 0.0)
    for number in range(20_000):
        tries.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(tries._until) == 10_000


# sessions


def test_a_session_ends_and_belongs_to_its_token() -> None:
    made = session_of(TOKEN, now=1000)
    assert is_session(made, TOKEN, now=1000 + SECONDS - 1)
    assert not is_session(made, TOKEN, now=1000 + SECONDS)
    assert not is_session(made, "another", now=1000)
    until, _, signature = made.partition(".")
    for forged in (
        f"{int(until) + 1}.{signature}",
        f"0{until}.{signature[:-1]}",
        ".",
        "",
        "9" * 99,
    ):
        assert not is_session(forged, TOKEN, now=1000)
    assert not is_session("\u0661." + signature, TOKEN, now=0)


def test_logging_out_takes_the_cookie_away(closed: TestClient) -> None:
    entered = closed.post("/login", data={"token": f" {TOKEN} "})
    assert entered.status_code == 303
    assert f"max-age={SECONDS}" in entered.headers["set-cookie"].lower()
    assert 'action="/logout"' in closed.get("/docs").text
    known = closed.get("/login?next=/docs").text
    assert 'href="/docs"' in known and "password" not in known
    left = closed.post("/logout")
    assert left.headers["location"] == "/login"
    assert left.headers["clear-site-data"] == '"cache", "storage"'
    assert closed.get("/docs").status_code == 401
    assert 'action="/logout"' not in closed.get("/login").text


def test_who_has_no_token_can_send_a_small_form_only(closed: TestClient) -> None:
    large = {"token": "x" * MAX_OPEN}

    def dripping() -> Iterator[bytes]:
        yield b"token="
        for _ in range(MAX_OPEN // 1024 + 1):
            yield b"x" * 1024

    form = {"content-type": "application/x-www-form-urlencoded"}
    for path in ("/login", "/language"):
        answer = closed.post(path, data=large)
        assert answer.status_code == 413 and "64 KiB" in answer.json()["detail"]
        assert closed.post(path, content=dripping(), headers=form).status_code == 413
    assert closed.post("/login", data={"token": TOKEN}).status_code == 303


def test_the_cookie_is_secure_where_the_page_is(closed: TestClient, empty: Library) -> None:
    assert (
        "secure" not in closed.post("/login", data={"token": TOKEN}).headers["set-cookie"].lower()
    )
    secured = client_for(create_app(empty, token=TOKEN), "https://localhost")
    assert "; secure" in secured.post("/login", data={"token": TOKEN}).headers["set-cookie"].lower()


# other websites


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"origin": "http://localhost"}, 200),
        ({"origin": "http://localhost", "sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": FRIEND, "sec-fetch-site": "cross-site"}, 200),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://localhost", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://localhost:81"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"origin": "https://friend.example.evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": ""}, 403),
    ],
)
def test_other_websites_cannot_send_anything(
    shared: TestClient, headers: dict[str, str], status: int
) -> None:
    answer = shared.post("/api/search", json={"text": "x"}, headers=BEARER | headers)
    assert answer.status_code == (503 if status == 200 else status)  # nothing is indexed
    assert shared.get("/docs", headers=BEARER | headers).status_code == 200


def test_nobody_elsewhere_reads_anything_unless_named(closed: TestClient) -> None:
    answer = closed.get("/openapi.json", headers=BEARER | {"origin": FRIEND})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    asked = {"origin": FRIEND, "access-control-request-method": "POST"}
    assert not [
        name for name in closed.options("/api/search", headers=asked).headers if "control-a" in name
    ]


def test_pages_of_a_named_website_may_read_the_answers(shared: TestClient) -> None:
    asked = {
        "origin": FRIEND,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
    }
    before = shared.options("/api/search", headers=asked)
    assert before.status_code == 200
    assert before.headers["access-control-allow-origin"] == FRIEND
    assert "POST" in before.headers["access-control-allow-methods"]
    assert "Authorization" in before.headers["access-control-allow-headers"]
    for headers in ({"origin": FRIEND} | BEARER, {"origin": FRIEND}):
        answer = shared.get("/openapi.json", headers=headers)
        assert answer.headers["access-control-allow-origin"] == FRIEND
        assert "access-control-allow-credentials" not in answer.headers
        assert "Origin" in answer.headers["vary"]
    other = {**asked, "origin": "https://evil.example"}
    assert "access-control-allow-origin" not in shared.options("/api/search", headers=other).headers
    refused = shared.get("/openapi.json", headers=BEARER | {"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in refused.headers


def test_all_websites_never_come_with_cookies(empty: Library) -> None:
    client = client_for(create_app(empty, allowed_origins=["*"]))
    for headers in ({"origin": FRIEND}, {"origin": FRIEND, "cookie": f"{COOKIE}=x"}):
        answer = client.get("/openapi.json", headers=headers)
        assert answer.headers["access-control-allow-origin"] in ("*", FRIEND)
        assert "access-control-allow-credentials" not in answer.headers


def test_the_headers_leave_nothing_to_strangers() -> None:
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert HEADERS["referrer-policy"] == "no-referrer"
    assert "geolocation=()" in HEADERS["permissions-policy"]


# proxies, for which a real server is needed


def scheme_seen(address: tuple[str, int], **headers: str) -> bool:
    """Log in, and tell whether the server took the connection for HTTPS."""
    answer = httpx2.post(
        f"http://{address[0]}:{address[1]}/login", data={"token": TOKEN}, headers=headers
    )
    return "; secure" in answer.headers["set-cookie"].lower()


def test_forwarded_headers_are_believed_of_named_proxies_only(empty: Library) -> None:
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"}
    with served(create_app(empty, token=TOKEN)) as address:
        assert not scheme_seen(address, **forwarded)
    with served(create_app(empty, token=TOKEN), proxies=("10.0.0.0/8",)) as address:
        assert not scheme_seen(address, **forwarded)
    with served(create_app(empty, token=TOKEN), proxies=("127.0.0.0/8",)) as address:
        assert scheme_seen(address, **forwarded)
        assert not scheme_seen(address)
        there = f"http://{address[0]}:{address[1]}/docs"
        wrong = {"authorization": "Bearer wrong", "x-forwarded-for": "203.0.113.9"}
        codes = [httpx2.get(there, headers=wrong).status_code for _ in range(AT_ONCE + 1)]
        assert codes[-2:] == [401, 429]
        assert httpx2.get(there, headers=BEARER).status_code == 200  # from another address


def test_a_server_does_not_name_its_software(empty: Library) -> None:
    with served(create_app(empty)) as (host, port):
        assert "server" not in httpx2.get(f"http://{host}:{port}/healthz").headers


# the command


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"hosts": ["http://x"]}, "--allow-host"),
        ({"hosts": ["x:80"]}, "--allow-host"),
        ({"hosts": [""]}, "--allow-host"),
        ({"hosts": ["*"]}, "--allow-host"),
        ({"origins": ["friend.example"]}, "--allow-origin"),
        ({"origins": ["https://friend.example/"]}, "--allow-origin"),
        ({"origins": ["https://a@friend.example"]}, "--allow-origin"),
        ({"origins": ["null"]}, "--allow-origin"),
        ({"proxies": ["localhost"]}, "--trust-proxy"),
        ({"proxies": ["10.0.0.1/8"]}, "--trust-proxy"),
        ({"proxies": ["*"]}, "--trust-proxy"),
    ],
)
def test_what_is_no_name_origin_or_address_is_refused(
    given: dict[str, list[str]], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        Access(**given)  # type: ignore[arg-type]


def test_what_is_one_is_taken() -> None:
    Access(hosts=["photos.example", "nas"], origins=[FRIEND, "http://x:81", "*"])
    Access(proxies=["127.0.0.1", "10.0.0.0/8", "::1", "fd00::/8"])
    assert Access(TOKEN).names == ("*",)
    assert Access(TOKEN, ["nas"]).names == ["nas"]
    assert Access().names == ()
    assert is_this_machine("::1") and is_this_machine("localhost")
    assert not is_this_machine("0.0.0.0") and not is_this_machine("nas")
