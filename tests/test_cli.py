"""The command line: words loaded late, options anywhere, and errors in one shape."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import ModuleType
from typing import Annotated, Any

import pytest
import typer

from anki_backup import __version__, cli, errors
from tests.conftest import ROOT

# Runs `ankibak` with another command behind the word `list`.
PROGRAM = """
import sys, types
module = sys.modules["anki_backup.commands.list"] = types.ModuleType("list")
exec({body!r}, module.__dict__)
from anki_backup.cli import main
sys.exit(main())
"""
SEEN = """
import json, typer
from typing import Annotated
Out = Annotated[str, typer.Option("-o")]
def command(ctx: typer.Context, words: list[str] | None = typer.Argument(None), out: Out = ""):
    context = ctx.obj
    seen = [context.config_path, context.repository_path]
    print(json.dumps([seen[0] and str(seen[0]), seen[1] and str(seen[1]), context.quiet, context.verbose,
                      context.color, context.log_format, out, words]))
"""
CHATTERER = """
from anki_backup import terminal
def command():
    terminal.write("line\\n" * 100_000)
    return 4
"""
LOADED = """
import sys
def command():
    names = {name.split(".")[0] for name in sys.modules}
    print(*sorted(names & {"anki", "rich", "pydantic", "peewee", "litestar", "apsw", "zstandard"}))
"""


def start(body: str, *args: str, **more: Any) -> subprocess.Popen[str]:
    """Start the program with `body` as the source of its command `list`."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body), *args],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
    )


def run(body: str, *args: str) -> tuple[int, str, str]:
    process = start(body, *args)
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that lets `list` raise an error, and gives exit code, stdout and stderr."""

    def fail(error: BaseException, *args: str) -> tuple[int, str, str]:
        def command(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
            raise error

        module = ModuleType("list")
        module.command = command  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "anki_backup.commands.list", module)
        code = cli.answer(["list", *args])
        return code, *capsys.readouterr()

    return fail


def test_the_version_is_told_by_the_program_and_by_every_command(run_ankibak):
    for args in (["--version"], ["list", "--version"], ["--quiet", "--version"]):
        done = run_ankibak(*args)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"ankibak {__version__}\n", "")


def test_the_page_of_all_commands_names_each_and_loads_none(run_ankibak):
    page = run_ankibak("--help")
    assert page.returncode == 0
    for word, line in cli.COMMANDS.items():
        assert f"  {word} " in page.stdout
        assert line in page.stdout
    code = (
        "import sys; from anki_backup import cli; cli.answer(['--help']);"
        "sys.exit(sum(name.startswith('anki_backup.commands.') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)


def test_a_command_in_a_pipe_loads_nothing_that_it_does_not_use():
    assert run(LOADED, "list", "--color", "always", "-c", "file", "--repository", "folder") == (0, "\n", "")


def test_every_command_has_a_page(run_ankibak):
    for word in cli.COMMANDS:
        page = run_ankibak(word, "--help")
        assert page.returncode == 0, page.stderr
        assert page.stdout.startswith(f"Usage: ankibak {word} ")


@pytest.mark.parametrize(
    ("args", "seen"),
    [
        ([], [None, None, False, False, "auto", "text", "", None]),
        (["-c", "a", "-q", "list"], ["a", None, True, False, "auto", "text", "", None]),
        (["list", "-c", "a", "-q"], ["a", None, True, False, "auto", "text", "", None]),
        (["list", "--config=a", "-vq"], ["a", None, True, True, "auto", "text", "", None]),
        (["-ca", "list", "-cb"], ["b", None, False, False, "auto", "text", "", None]),
        (["list", "--repository", "r", "x"], [None, "r", False, False, "auto", "text", "", ["x"]]),
        (
            ["--color", "never", "list", "--log-format=json"],
            [None, None, False, False, "never", "json", "", None],
        ),
        (
            ["list", "--", "-q", "--config"],
            [None, None, False, False, "auto", "text", "", ["-q", "--config"]],
        ),
        (["list", "-o", "-q", "-v"], [None, None, False, True, "auto", "text", "-q", None]),
        (["list", "-vo-q"], [None, None, False, True, "auto", "text", "-q", None]),
    ],
)
def test_global_options_stand_before_or_after_the_command(args, seen):
    code, stdout, stderr = run(SEEN, *(args if "list" in args else ["list", *args]))
    assert (code, stderr) == (0, "")
    assert json.loads(stdout) == seen


def test_a_home_in_a_path_is_expanded():
    assert json.loads(run(SEEN, "list", "--config=~/x")[1])[0] == os.path.expanduser("~/x")


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["lst"], "there is no command 'lst'", "Did you mean this? ankibak list"),
        (["qqqq"], "there is no command 'qqqq'", "See them all: ankibak --help"),
        ([], "no command was given", "See them all: ankibak --help"),
        (["list", "--jsn"], "no such option: --jsn", "Did you mean --json?"),
        (["--verbos", "list"], "no such option: --verbos", "Did you mean --verbose?"),
        (["list", "x"], "got unexpected extra argument(s) (x)", "See what it takes: ankibak list --help"),
        (["show"], "missing argument 'ID'", "See what it takes: ankibak show --help"),
        (
            ["list", "--limit", "0"],
            "invalid value for '--limit': '0' is no whole number from 1 on",
            "See what it takes: ankibak list --help",
        ),
        (
            ["--color", "pink", "list"],
            "invalid value for '--color': 'pink' is none of auto, always, never",
            "See what it takes: ankibak --help",
        ),
        (
            ["list", "--since"],
            "option '--since' requires an argument",
            "See what it takes: ankibak list --help",
        ),
    ],
)
def test_what_was_typed_wrongly_is_told_in_one_shape(args, message, hint, capsys):
    assert cli.answer(args) == 2
    assert capsys.readouterr() == ("", f"ankibak: {message}\nhint: {hint}\n")
    if args:
        assert (
            cli.answer([args[0], "--json", *args[1:]] if args[0] in cli.COMMANDS else [*args, "--json"]) == 2
        )
        error = json.loads(capsys.readouterr().err)
        assert error == {"error": {"code": "usage", "message": message, "hint": hint}}


def test_a_group_without_a_word_says_where_its_words_are(capsys):
    assert cli.answer(["catalog"]) == 2
    hint = "See what it takes: ankibak catalog --help"
    assert capsys.readouterr().err == f"ankibak: missing command\nhint: {hint}\n"
    assert cli.answer(["catalog", "rebuld"]) == 2
    assert capsys.readouterr().err == "ankibak: no such command 'rebuld'\nhint: Did you mean 'rebuild'?\n"


def test_an_error_of_ours_is_told_with_its_hint_and_code(failing):
    error = errors.BusyError("x\x1b is in use", hint="Wait for it.")
    assert failing(error) == (75, "", "ankibak: x\\x1b is in use\nhint: Wait for it.\n")
    assert failing(errors.NotFoundError("no")) == (5, "", "ankibak: no\n")


def test_an_error_as_json_is_one_line_on_stderr(failing):
    code, stdout, stderr = failing(errors.DamageError("caf\udce9\x9b"), "--json")
    assert (code, stdout, stderr.count("\n"), stderr.isascii()) == (6, "", 1, True)
    hint = "See what else is damaged: ankibak verify"
    assert json.loads(stderr) == {"error": {"code": "damaged", "message": "caf\udce9\x9b", "hint": hint}}


def test_json_behind_two_dashes_is_no_option(capsys):
    assert cli.answer(["list", "--", "--json"]) == 2
    assert capsys.readouterr().err.startswith("ankibak: ")


def test_an_error_in_the_journal_carries_its_priority(failing):
    assert failing(errors.SourceError("gone"), "--log-format", "journal")[2] == "<3>ankibak: gone\n"


@pytest.mark.parametrize("error", [KeyError("secret"), RecursionError(), AssertionError("secret\x1b")])
def test_a_bug_is_one_line_and_a_trace_only_when_asked(failing, error):
    code, stdout, stderr = failing(error)
    assert (code, stdout) == (1, "")
    assert stderr.startswith(f"ankibak: this is a bug: {type(error).__name__} in test_cli.py, line ")
    assert "Traceback" not in stderr and "secret" not in stderr
    code, _, stderr = failing(error, "-v")
    assert "Traceback" in stderr and "\x1b" not in stderr
    assert json.loads(failing(error, "--json")[2])["error"]["code"] == "bug"


def test_a_signal_that_a_library_swallowed_is_a_signal_still(failing):
    error = TypeError("string argument without an encoding")
    error.__context__ = errors.Terminated("stopped by SIGTERM")
    for args in ((), ("--verbose",)):
        assert failing(error, *args) == (143, "", "ankibak: stopped by SIGTERM\n")


def test_no_memory_is_told_as_such(failing):
    assert failing(MemoryError())[0::2] == (
        1,
        "ankibak: there is not enough memory\n"
        "hint: Close other programs, or raise the limit that it runs under.\n",
    )


def test_no_thread_is_told_as_such(failing):
    assert failing(RuntimeError("can't start new thread"))[2].startswith(
        "ankibak: no thread can be started\n"
    )


def test_an_error_of_the_system_names_its_file_and_a_disk_that_refuses_its_code(failing):
    assert failing(PermissionError(13, "Permission denied", "/x"))[2].startswith(
        "ankibak: permission denied: /x\n"
    )
    assert failing(OSError(28, "No space left on device"))[0] == 8
    assert failing(OSError(5, "Input/output error"))[0] == 8
    assert failing(OSError(24, "Too many open files"))[0] == 1


def test_an_exit_code_may_simply_be_returned():
    assert run("def command() -> int:\n    return 6\n", "list")[0] == 6
    assert run("import typer\ndef command():\n    raise typer.Exit(4)\n", "list")[0] == 4


def test_a_reader_that_leaves_is_no_error():
    process = start(CHATTERER, "list")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "line\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 4


@pytest.mark.parametrize("write", ["print('x' * 99, flush=True)", "print('x')", "terminal.write('x')"])
def test_a_reader_that_is_gone_is_no_error_however_it_is_written_to(write):
    reader, writer = os.pipe()
    os.close(reader)
    process = start(f"from anki_backup import terminal\ndef command():\n    {write}\n", "list", stdout=writer)
    os.close(writer)
    assert process.communicate()[1] == ""
    assert process.returncode == 0


@pytest.mark.parametrize("args", [["list"], ["--version"], ["--help"], ["list", "--help"]])
def test_a_full_disk_behind_stdout_is_an_error(args):
    with open("/dev/full", "w") as full:
        process = start("def command():\n    print('x')\n", *args, stdout=full)
        stderr = process.communicate()[1]
    assert process.returncode == 8
    assert "no space left on device" in stderr.lower() and stderr.startswith("ankibak: ")


def test_closed_streams_are_no_error():
    body = "import os\ndef command():\n    print('x')\n    assert os.open('/dev/null', os.O_RDONLY) > 2\n"
    command = f'exec {sys.executable} -c "$1" list >&- 2>&- <&-'
    program = PROGRAM.format(body=body)
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(["sh", "-c", command, "sh", program], env=environ, check=True)
