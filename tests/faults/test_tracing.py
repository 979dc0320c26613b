"""What strace says is read right, also where it had to split a call between two lines."""

from __future__ import annotations

from tests.faults.tracing import Call, parse

LOG = """\
11 rename("\\x61", "\\x62" <unfinished ...>
12 fsync(3</x>) = 0
11 <... rename resumed>) = 0
12 unlink("\\x61" <unfinished ...>
"""


def test_a_call_that_was_split_is_whole_and_one_that_never_came_back_is_last():
    calls = [
        Call("12", "fsync", "3</x>) = 0"),
        Call("11", "rename", '"\\x61", "\\x62") = 0'),
        Call("12", "unlink", '"\\x61"'),
    ]
    assert list(parse(LOG)) == calls
