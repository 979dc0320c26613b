"""Compare: everything that changed can be seen, what was removed with its text."""

from __future__ import annotations

import re

from tests.web.conftest import Served
from tests.web.lively import after

PAGE = {"Accept": "text/html"}


def test_each_removed_note_is_shown_with_its_text_on_one_page_or_the_next(serve):
    served: Served = serve()
    gone = "SELECT id FROM notes ORDER BY id LIMIT 130"
    backup = after(
        served.place,
        "UPDATE notes SET flds = 'first ' || id || char(31) || 'the back of ' || id || '.' WHERE id IN"
        f" ({gone})",
    )
    last = after(served.place, f"DELETE FROM notes WHERE id IN ({gone})")
    seen: list[str] = []
    with served.client() as client:
        for page in (1, 2, 3):
            answer = client.get(f"/compare?from={backup.id}&to={last.id}&page={page}", headers=PAGE)
            seen += re.findall(r"<del>the back of (\d+)\.</del>", answer.text)
            assert f"ankibak diff {backup.id} {last.id} --notes" in answer.text
            assert (f"page={page + 1}" in answer.text) == (page < 3)
            assert ("130, these are 61 to 120" in answer.text) == (page == 2)
    assert len(seen) == len(set(seen)) == 130
