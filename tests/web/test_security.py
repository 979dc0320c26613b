"""Who may pass: rows 63 to 73 of what servers were seen to get wrong, each a test."""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path

import pytest

from anki_backup.logins import Logins
from tests.web.conftest import PASSWORD, Served, csrf

JSON = {"Accept": "application/json"}


def test_without_a_token_or_with_a_wrong_one_nothing_is_told(served: Served):
    wrong = [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer " + "x" * 43},
        {"Authorization": f"Bearer {served.token[:-1]}"},
        {"Authorization": f"Basic {served.token}"},
    ]
    with served.client(None) as client:
        answers = [client.get("/api/v1/backups", headers=headers) for headers in wrong]
        answers.append(client.get("/api/v1/backups", params={"token": served.token}))
        answers.append(client.get("/api/v1/backups", headers={b"Authorization": b"Bearer \xe9\xff"}))
        answers += [client.get("/api/v1/backups", headers=twice) for twice in two_of(served.token)]
        answers += [client.post("/api/v1/runs", headers=headers) for headers in wrong]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {'Bearer realm="ankibak"'}


def two_of(token: str) -> list[list[tuple[str, str]]]:
    """Return headers that hold a token, and another one or none beside it."""
    right = ("Authorization", f"Bearer {token}")
    others = [("Authorization", "Bearer x"), ("authorization", "")]
    return [pair for other in (right, *others) for pair in ([right, other], [other, right])]


def test_a_program_is_never_led_to_a_form(served: Served):
    with served.client(None) as client:
        for path in ("/api/v1/backups", "/api/v1/nowhere"):
            answer = client.get(path, headers={"Accept": "text/html"})
            assert answer.status_code == 401 and answer.headers["content-type"] == "application/json"


def test_only_hashes_of_tokens_and_passwords_are_kept_and_only_for_their_owner(served: Served):
    folder = served.place / "repository" / "state" / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert served.token not in path.read_text() and PASSWORD not in path.read_text()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_post_from_another_site_is_refused(served: Served, headers: dict[str, str]):
    with served.browser() as client:
        mark = csrf(client.get("/runs"))
        del client.headers["Origin"], client.headers["Sec-Fetch-Site"]
        assert client.post("/runs", data={"csrf": mark}, headers=headers | JSON).status_code == 403
    with served.client() as client:
        answer = client.post("/api/v1/runs", headers=headers)
    assert answer.status_code == 403


def test_a_post_without_the_mark_of_its_session_is_refused(served: Served):
    with served.browser() as client, served.browser() as other:
        for form in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": csrf(other.get("/runs"))}):
            assert client.post("/runs", data=form, headers=JSON).status_code == 403
        assert client.post("/api/v1/runs", headers=JSON).status_code == 403


def test_nothing_is_changed_by_a_get_or_in_disguise(served: Served):
    with served.client() as client:
        newest = client.get("/api/v1/backups/latest").json()["id"]
        path = f"/api/v1/backups/{newest}/rollback"
        assert client.get(path).status_code == 405
        assert client.get(path, headers={"X-HTTP-Method-Override": "POST"}).status_code == 405
        assert client.get(path + "?_method=POST").status_code == 405
        for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"):
            assert client.request(method, path).status_code == 405


def test_a_method_that_is_refused_comes_with_those_that_are_not(served: Served):
    can = {"/api/v1/backups": "GET, HEAD", "/api/v1/runs": "GET, HEAD, POST", "/undo": "POST"}
    with served.client() as client:
        for path, allowed in can.items():
            for method in ("DELETE", "OPTIONS", "GET" if "GET" not in allowed else "PUT"):
                for wants in ("application/json", "text/html"):
                    answer = client.request(method, path, headers={"Accept": wants})
                    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert client.post("/api/v1/status").headers["allow"] == "GET, HEAD"
    with served.client(None) as client:
        assert client.put("/api/v1/runs").status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "", "[::2]"])
def test_a_foreign_host_is_refused_before_anything_else(served: Served, host: str):
    with served.client() as client:
        answer = client.get("/api/v1/healthz", headers={"Host": host})
    assert answer.status_code in (400, 421)


def test_hosts_that_were_named_are_ours(serve):
    served = serve(settings='[server]\ntrusted_hosts = ["anki.example.org"]\n')
    with served.client() as client:
        assert client.get("/", headers={"Host": "anki.example.org"}).status_code == 200
        assert client.get("/", headers={"Host": "other.example.org"}).status_code == 421


def test_behind_a_proxy_cookies_are_secure_and_paths_have_their_base(serve):
    served = serve(
        settings='[server]\ntrusted_hosts = ["anki.example.org"]\ntrusted_proxies = ["127.0.0.1"]\n'
        'base_path = "/anki"\n'
    )
    proxy = {"Host": "anki.example.org", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    with served.client(None) as client:
        client.headers.update(proxy)
        page = client.get("/anki/", headers={"Accept": "text/html"})
        assert page.status_code == 303 and page.headers["location"].startswith("/anki/login?next=/")
        headers = {"Origin": "https://anki.example.org", "Sec-Fetch-Site": "same-origin"}
        answer = client.post("/anki/login", data={"password": PASSWORD}, headers=headers)
        assert "secure" in answer.headers["set-cookie"].lower()
        assert "Path=/anki" in answer.headers["set-cookie"]
        secret = (
            answer.cookies.get("ankibak") or re.search("ankibak=([^;]+)", answer.headers["set-cookie"])[1]
        )
        home = client.get("/anki/", headers={"Cookie": f"ankibak={secret}"})
        assert 'href="/anki/backups"' in home.text and 'href="/backups"' not in home.text
        # A proxy that takes the path away is served too.
        assert client.get("/", headers={"Cookie": f"ankibak={secret}"}).status_code == 200


@pytest.mark.parametrize("base", ["/anki", "anki/"])
def test_programs_are_told_the_base_too(serve, base: str):
    served = serve(settings=f'[server]\nbase_path = "{base}"\n')
    with served.client() as client:
        assert client.get("/anki/schema/openapi.json").json()["servers"] == [{"url": "/anki"}]
        for nothing in ("x", "2026-01-01T00-00-00Z"):
            told = client.get(f"/anki/api/v1/backups/{nothing}").json()["error"]
            assert told["hint"] == "See them all at /anki/backups."
        event = client.post("/anki/api/v1/runs").json()["event"]
        assert event.startswith("/anki/api/v1/jobs/")
        assert client.get(event).status_code == 200
        while client.get(event).json()["state"] == "running":
            time.sleep(0.1)
        event = client.post("/anki/api/v1/backups/latest/rollback").json()["event"]
        assert client.get(event).json()["words"][0] == "rollback"


def test_every_answer_has_the_strict_headers(served: Served):
    with served.client() as client:
        for path in ("/", "/api/v1/backups", "/nowhere", "/login", "/backups/latest/download?format=anki2"):
            headers = client.get(path).headers
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "server" not in headers


def test_names_from_a_collection_are_escaped_everywhere(served: Served):
    with served.client() as client:
        newest = client.get("/api/v1/backups/latest").json()["id"]
        for path in ("/", f"/backups/{newest}", "/lost?what=deck", f"/backups/{newest}/cards?q=<script>x"):
            text = client.get(path, headers={"Accept": "text/html"}).text
            assert '<b>"theory"' not in text and "<script" not in text
        assert "Music &lt;b&gt;" in client.get(f"/backups/{newest}?all=1").text


def test_there_is_no_script_and_no_style_in_any_page(served: Served):
    with served.client() as client:
        for path in ("/", "/backups", "/backups/latest", "/runs", "/config", "/lost", "/compare", "/login"):
            text = client.get(path).text
            assert "<script" not in text and " style=" not in text and not re.search(r"\son\w+=", text)


def test_a_thousand_wrong_tokens_are_slowed_and_others_are_served(serve):
    served = serve()
    with served.client("x" * 43) as client:
        codes = [client.get("/api/v1/backups").status_code for _ in range(60)]
        assert codes[:20] == [401] * 20 and codes[-1] == 429
        assert int(client.get("/api/v1/backups").headers["retry-after"]) > 0
    with served.client() as client:
        assert client.get("/api/v1/backups?limit=1").status_code == 200


def test_guessing_passwords_is_slowed(serve):
    served = serve()
    with served.client(None) as client:
        codes = [client.post("/login", data={"password": f"guess {n}"}).status_code for n in range(7)]
        assert codes[:5] == [401] * 5 and codes[5:] == [429, 429]
        assert client.post("/login", data={"password": PASSWORD}).status_code == 429


def test_a_mistake_within_tells_nothing_to_the_client(serve):
    served = serve()
    (served.place / "repository" / "state" / "jobs").mkdir()
    path = served.place / "repository" / "state" / "jobs" / "2026-01-01T00-00-00Z-00000000.json"
    path.write_text("[1, 2]")
    with served.client() as client:
        answer = client.get("/api/v1/jobs/2026-01-01T00-00-00Z-00000000?secret=1")
    assert answer.status_code in (404, 500)
    assert str(served.place) not in answer.text and "Traceback" not in answer.text


def test_the_configuration_page_shows_no_secret(serve):
    served = serve(
        settings='[sources.other]\nkind = "ankiweb"\nusername = "ada"\npassword_command = "echo hunter2"\n'
    )
    with served.client() as client:
        text = client.get("/config").text
    assert "hunter2" not in text and "********" in text and "ada" in text


def test_public_read_shows_pages_and_changes_nothing(serve):
    served = serve(settings="[security]\npublic_read = true\n")
    with served.client(None) as client:
        assert client.get("/").status_code == 200
        assert client.get("/api/v1/status").status_code == 200
        assert client.post("/runs", headers=JSON).status_code == 401
        assert client.post("/api/v1/runs").status_code == 401
        wrong = client.get("/api/v1/status", headers={"Authorization": "Bearer wrong"})
        assert wrong.status_code == 401


def test_the_secrets_of_others_are_not_believed(made: Path, tmp_path: Path):
    logins = Logins(tmp_path / "r")
    (tmp_path / "r" / "state").mkdir(parents=True)
    logins.set_password(PASSWORD)
    os.chmod(tmp_path / "r" / "state" / "secrets" / "web-password.json", 0o644)
    with pytest.raises(Exception, match="others can read it"):
        logins.is_password(PASSWORD)
