"""Small things of the pages: what is quoted, who can log in where, what tells two backups apart."""

from __future__ import annotations

from tests.web.conftest import Served

PAGE = {"Accept": "text/html"}


def test_an_error_page_leaves_the_letters_of_what_it_quotes(served: Served):
    with served.client() as client:
        shown = client.get("/backups/2020-01-01T00-00-00Z", headers=PAGE)
    assert shown.status_code == 404 and "There is no backup 2020-01-01T00-00-00Z." in shown.text
