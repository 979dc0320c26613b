"""The judges of conversations: what they have to notice, they notice."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from tests.fuzz.http import SEALED, Answer, filled, judge, understood
from tests.fuzz.spoiled import spoil, steps
from tests.fuzz.spoilt_account import Told
from tests.sync_proxy import Answer as SyncAnswer

THERE = SimpleNamespace(secrets=[b"a-secret"], path=b"/srv/place")
HEADERS = dict.fromkeys(SEALED, b"x") | {b"content-type": b"application/json"}
ERROR = json.dumps({"error": {"code": "no", "message": "no", "hint": None}}).encode()


@pytest.mark.parametrize(
    ("who", "status", "headers", "body"),
    [
        ("owner", 500, HEADERS, ERROR),
        ("owner", 200, {b"content-type": b"text/html"}, b""),
        ("owner", 404, HEADERS, b'{"error": {"code": "no"}}'),
        ("owner", 404, HEADERS, ERROR.replace(b"no", b"a-secret")),
        ("owner", 404, HEADERS, ERROR.replace(b"no", b"/srv/place/x")),
        ("stranger", 202, HEADERS, b"{}"),
        ("stranger", 200, HEADERS, b'{"backups": []}'),
        ("stranger", 303, HEADERS | {b"location": b"/jobs/1"}, b""),
    ],
)
def test_an_answer_that_may_not_be_given_is_noticed(who, status, headers, body):
    judge(Answer(404, HEADERS, ERROR), b"", who, THERE)
    with pytest.raises((AssertionError, KeyError)):
        judge(Answer(status, headers, body), b"", who, THERE)


def test_as_many_answers_are_due_as_whole_requests_were_sent():
    one = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    form = filled(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\na={word}", {"word": "long"})
    assert understood(one + form + one[:20]).methods == [b"GET", b"POST"]
    assert understood(form[:-1]) == ([], False, b"POST")
    assert understood(b"nonsense\r\n\r\n").is_broken


def _told(line, message, path="/sync/meta"):
    answer = SyncAnswer(200, [], b"").of(message)
    (step,) = steps(f"begin news\n{line}")
    made = spoil(step, answer, {}, "")
    return Told(path, answer.message, made.message)


def test_a_lie_is_told_from_a_wreck_and_from_what_says_the_same():
    message = b'{"usn": 1, "msg": ""}'
    wreck = _told("/sync/meta 1 flip 500 3", message)
    assert (wreck.is_lie, wreck.is_harmless) == (False, False)
    lie = _told("/sync/meta 1 in more 0 5", message)
    assert json.loads(lie.became) == {"usn": 6, "msg": ""}
    assert (lie.is_lie, lie.is_harmless, lie.counts_one_too_many) == (True, False, False)
    assert _told("/sync/meta 1 in more 0 1", message).counts_one_too_many
    same = _told("/sync/meta 1 in json 1 1", message)
    assert (same.is_lie, same.is_harmless) == (False, True)
    assert _told("/sync/meta 1 in json 1 true", message).is_lie
    assert not _told("/sync/meta 1 in put 0 00", message).is_lie


def test_a_line_that_does_not_fit_leaves_an_answer_as_it_was():
    assert _told("/sync/meta 1 in zip 0 data x", b"{}").is_harmless
    assert list(steps("begin news\n/sync/nothing 1 flip 1 1\n\n/sync/meta 1 unknown")) == []
