"""How answers look: escapes, fields, figures, colours, tables, and streams that fail."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anki_backup import figures, terminal
from anki_backup.model import Alarm, BackupStats
from anki_backup.terminal import Column

NOW = datetime(2026, 11, 20, 11, 5, 49, tzinfo=UTC)


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(code: str, environ: dict[str, str]) -> str:
    """Run a piece of Python with a terminal as its standard streams; return what was shown."""
    main, side = pty.openpty()
    keep = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=side,
        stdout=side,
        stderr=side,
        env={**keep, "PYTHONPATH": str(Path(terminal.__file__).parents[1]), "TERM": "xterm", **environ},
    )
    os.close(side)
    shown = b""
    while True:
        try:
            data = os.read(main, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(main)
    assert process.wait() == 0, shown.decode()
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Français::日本語 🎌", "Français::日本語 🎌"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("\x9b31m\x85", r"\x9b31m\x85"),
        ("nul\x00 del\x7f", r"nul\x00 del\x7f"),
        ("a\tb\nc\rd", r"a\tb\nc\rd"),
        ("\u202egpj.exe\u202c", r"\u202egpj.exe\u202c"),
        ("\u2066x\u2069\u200e\u200f\u061c", r"\u2066x\u2069\u200e\u200f\u061c"),
        ("\u2028\u2029", r"\u2028\u2029"),
        ("caf\udce9", r"caf\udce9"),
        ("<b>[bold]x[/bold]</b>", "<b>[bold]x[/bold]</b>"),
    ],
)
def test_nothing_from_outside_can_steer_a_terminal(text: str, shown: str) -> None:
    assert terminal.escape(text) == shown


@given(st.text(st.characters(categories=None)))
def test_a_field_is_one_printable_piece_and_can_be_had_back(text: str) -> None:
    field = terminal.cell(text)
    field.encode()
    assert not terminal.UNSAFE.search(field)
    words = field.split("\\\\")
    back = "\\".join(word.encode("latin-1", "backslashreplace").decode("unicode_escape") for word in words)
    plain = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert back.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") == plain


def test_fields_of_every_type() -> None:
    berlin = timezone(timedelta(hours=1))
    values = [None, True, False, 0, 12, NOW.astimezone(berlin), "a\\b", ""]
    fields = ["-", "yes", "no", "0", "12", "2026-11-20T11:05:49Z", r"a\\b", ""]
    assert [terminal.cell(value) for value in values] == fields


def test_times_for_programs_are_utc_and_for_people_in_their_zone() -> None:
    assert figures.utc(NOW.replace(microsecond=900_000)) == "2026-11-20T11:05:49Z"
    assert figures.local(NOW, ZoneInfo("Asia/Tokyo")) == "2026-11-20 20:05"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (59, "just now"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (47 * 3600, "47 h ago"),
        (48 * 3600, "2 days ago"),
        (60 * 86400, "2 months ago"),
        (800 * 86400, "2 years ago"),
        (-300, "in 5 min"),
    ],
)
def test_a_distance_in_time_has_one_unit(seconds: int, text: str) -> None:
    assert figures.ago(NOW - timedelta(seconds=seconds), NOW) == text


def test_sizes_counts_and_durations_are_short() -> None:
    sizes = [None, 0, 1023, 1024, 98_000_000, 150 << 20, 5 << 40, 5 << 60]
    texts = ["?", "0 B", "1023 B", "1.0 KiB", "93.5 MiB", "150 MiB", "5.0 TiB", "5242880 TiB"]
    assert [figures.size(number) for number in sizes] == texts
    assert [figures.duration(ms) for ms in (0, 350, 4200, 185_000, 7_380_000)] == [
        "0 ms",
        "350 ms",
        "4.2 s",
        "3 min 5 s",
        "2 h 3 min",
    ]
    assert figures.count(None) == "?"
    assert figures.count(1234567).split("\N{NARROW NO-BREAK SPACE}") == ["1", "234", "567"]


@pytest.mark.parametrize(
    ("stream", "option", "environ", "colored"),
    [
        (Screen(), "auto", {}, True),
        (io.StringIO(), "auto", {}, False),
        (io.StringIO(), "always", {"NO_COLOR": "1"}, True),
        (Screen(), "never", {"CLICOLOR_FORCE": "1"}, False),
        (Screen(), "auto", {"NO_COLOR": "1", "CLICOLOR_FORCE": "1"}, False),
        (Screen(), "auto", {"NO_COLOR": ""}, True),
        (io.StringIO(), "auto", {"CLICOLOR_FORCE": "1"}, True),
        (io.StringIO(), "auto", {"CLICOLOR_FORCE": "0"}, False),
        (Screen(), "auto", {"TERM": "dumb"}, False),
        (Screen(), "auto", {"CLICOLOR": "0"}, False),
    ],
)
def test_who_gets_colours(
    stream: io.StringIO, option: terminal.Color, environ: dict[str, str], colored: bool
) -> None:
    assert terminal.wants_color(stream, option, environ) is colored


def test_json_begins_with_the_schema_and_takes_structs_and_times(capsys: pytest.CaptureFixture[str]) -> None:
    alarm = Alarm(kind="notes", before=2, after=1, since=NOW)
    terminal.print_json({"stats": BackupStats(cards=1), "alarm": alarm, "name": "caf\udce9\x9b"})
    text = capsys.readouterr().out
    assert text.isascii() and text.endswith("}\n") and "\x9b" not in text
    document = json.loads(text)
    assert list(document) == ["schema", "stats", "alarm", "name"]
    assert document["schema"] == 1
    assert document["alarm"]["since"] == "2026-11-20T11:05:49Z"
    assert document["name"] == "caf\udce9\x9b"


def test_a_struct_becomes_the_document_itself(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_json(BackupStats(notes=3))
    assert json.loads(capsys.readouterr().out) == {"schema": 1} | dict.fromkeys(
        ("cards", "decks", "revlog", "notetypes", "tags")
    ) | {"notes": 3}


def test_lines_have_tabs_and_no_header(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.print_rows([["a\tb", 1, None, ("-", "dim")], ["c", 2, NOW, ("x", "red")]])
    assert capsys.readouterr().out == "a\\tb\t1\t-\t-\nc\t2\t2026-11-20T11:05:49Z\tx\n"
    terminal.print_rows([["a", ("x", "red")]], "always")
    assert capsys.readouterr().out == "a\t\x1b[31mx\x1b[0m\n"


def test_a_table_is_escaped_and_leaves_out_what_is_too_wide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    columns = (Column("Name", wraps=True), Column("N", right=True), Column("Wide", above=61))
    terminal.print_table(columns, [["[bold]\x1b[31m\u202e:smile:", "7", "gone"], ["x" * 5000, "8", ""]])
    text = capsys.readouterr().out
    assert r"[bold]\x1b[31m\u202e:smile:" in text
    assert "gone" not in text and "Wide" not in text
    assert text.count("x") < 400 and "…" in text


def test_talk_is_a_line_a_json_line_or_one_with_a_priority(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.talk("no\x1b", "error", hint="Do that.")
    assert capsys.readouterr().err == "ankibak: no\\x1b\nhint: Do that.\n"
    terminal.talk("odd", "warning", "journal", hint="Do that.")
    assert capsys.readouterr().err == "<4>warning: odd\n<4>hint: Do that.\n"
    terminal.talk("fine", "info", "json")
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["message"], "hint" in line) == ("info", "fine", False)


def test_progress_without_a_terminal_is_silent_and_loads_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress("Reading", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


BAR = """
import sys
from anki_backup import terminal
with terminal.progress("Reading \\x07", 3, quiet=len(sys.argv) > 1) as advance:
    advance(3)
"""


def test_progress_on_a_terminal_is_a_bar_with_escapes() -> None:
    assert r"Reading \x07" in on_a_terminal(BAR, {})
    assert on_a_terminal(BAR, {"TERM": "dumb"}) == ""
    assert on_a_terminal(BAR.replace("len(sys.argv) > 1", "True"), {}) == ""


TABLE = """
from anki_backup import terminal
terminal.print_table([terminal.Column("Name", style="cyan")], [["x"]])
"""


def test_a_table_on_a_terminal_has_colours_unless_told_not_to() -> None:
    assert "\x1b[36mx" in on_a_terminal(TABLE, {})
    for environ in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_a_terminal(TABLE, environ)


def started(code: str, **streams: int) -> subprocess.CompletedProcess[str]:
    """Run a piece of Python that has `terminal`, and return how it ended."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys\nfrom anki_backup import terminal\nterminal.prepare()\n{code}"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(terminal.__file__).parents[1]),
            "PYTHONIOENCODING": "ascii",
        },
        **streams,
    )


def test_text_that_the_encoding_lacks_is_shown_as_escapes() -> None:
    done = started(r"terminal.write('é\udce9\n')", stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\xe9\\udce9\n", "")


def test_a_full_disk_behind_stdout_is_an_error_of_ours() -> None:
    code = (
        "try:\n    terminal.write('x' * 100)\n"
        "except terminal.StorageError as error:\n    print(error, file=sys.stderr)"
    )
    full = os.open("/dev/full", os.O_WRONLY)
    done = started(code, stdout=full)
    os.close(full)
    assert (done.returncode, done.stderr) == (
        0,
        "standard output could not be written: No space left on device\n",
    )


def test_a_reader_that_left_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = started("terminal.write('x' * 100_000)\nterminal.write('y')\nprint('z')", stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_is_taken_in_part_is_an_error(
    tmp_path: Path, unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    code = (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    terminal.write('x' * 50_000)\nexcept terminal.StorageError:\n    sys.exit(8)"
    )
    with open(tmp_path / "small", "w") as file:
        assert started(code, stdout=file.fileno()).returncode == 8


def test_closed_streams_become_the_null_device(tmp_path: Path) -> None:
    code = (
        "import os, sys\nos.close(1)\nos.close(0)\nsys.stdout = None\n"
        "from anki_backup import terminal\nterminal.prepare()\nterminal.write('lost')\n"
        f"assert os.open({str(tmp_path / 'file')!r}, os.O_CREAT | os.O_WRONLY) > 2"
    )
    done = started(code)
    assert (done.returncode, done.stderr) == (0, "")
