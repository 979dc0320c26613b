"""The login: where it leads, what it sets, and how long that holds."""

from __future__ import annotations

import pytest

from anki_backup.logins import Logins
from tests.web.conftest import PASSWORD, Served, csrf

JSON = {"Accept": "application/json"}


def test_a_page_without_a_session_leads_to_the_login_and_back(served: Served):
    with served.client(None) as client:
        answer = client.get("/backups?since=7d", headers={"Accept": "text/html"})
        assert answer.status_code == 303
        assert answer.headers["location"] == "/login?next=/backups%3Fsince%3D7d"
        form = client.get(answer.headers["location"])
        assert 'name="next" value="/backups?since=7d"' in form.text


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nX: 1"]
)
def test_the_login_leads_nowhere_else(served: Served, target: str):
    with served.client(None) as client:
        form = {"password": PASSWORD, "next": target}
        answer = client.post("/login", data=form, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.headers["location"] == "/"


def test_a_session_cookie_is_strict_and_outlives_the_server(serve):
    first = serve()
    with first.browser() as client:
        cookie = client.cookies["ankibak"]
        assert client.get("/").status_code == 200
    assert first.end() == 143
    second = serve(token=first.token)
    with second.client(None) as client:
        client.cookies.set("ankibak", cookie)
        assert client.get("/").status_code == 200
        page = client.get("/runs")
        client.post("/logout", data={"csrf": csrf(page)}, headers={"Sec-Fetch-Site": "same-origin"})
        client.cookies.set("ankibak", cookie)
        assert client.get("/", headers=JSON).status_code == 401


def test_how_the_cookie_is_set(served: Served):
    with served.client(None) as client:
        answer = client.post("/login", data={"password": PASSWORD})
    told = answer.headers["set-cookie"]
    assert "HttpOnly" in told and "samesite=strict" in told.lower() and "Path=/" in told
    assert "secure" not in told.lower()


def test_a_new_password_ends_every_session(serve):
    served = serve()
    with served.browser() as client:
        assert client.get("/").status_code == 200
        Logins(served.place / "repository").set_password("another password")
        assert client.get("/", headers=JSON).status_code == 401


def test_where_nobody_can_log_in_there_is_no_form_for_it(serve):
    served = serve(settings="[security]\nauth_enabled = false\npublic_read = true\n")
    with served.client(None) as client:
        answer = client.get("/login?next=/runs")
        assert (answer.status_code, answer.headers["location"]) == (303, "/runs")


def test_a_password_that_is_not_there_any_more_is_not_told_as_a_wrong_one(serve):
    served = serve()
    (served.place / "repository" / "state" / "secrets" / "web-password.json").unlink()
    with served.client(None) as client:
        text = client.post("/login", data={"password": PASSWORD}).text
    assert "No password is kept here any more" in text and "That is not" not in text
