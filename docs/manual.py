"""Writes the manual pages, `docs/man/*.1`, from the commands themselves: `python docs/manual.py`.

The form is that of man-pages(7) and groff_man(7). A test holds the pages against what
this would write.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.main import get_command

from anki_backup import cli

FOLDER = Path(__file__).parent / "man"


def pages() -> dict[str, str]:
    """Return file name -> page: one for the program, one for each of its commands."""
    app = typer.Typer(cls=cli.Words, rich_markup_mode=None)
    app.callback()(cli._start)
    root: Any = get_command(app)
    made = {"ankibak.1": "".join(_program(root))}
    for word, help in cli.COMMANDS.items():
        made[f"ankibak-{word}.1"] = "".join(_command(word, help, root._load(word)))
    return made


def escaped(text: str) -> str:
    """Return text so that groff shows just that."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", plain, flags=re.MULTILINE)


def _head(name: str, help: str) -> Iterator[str]:
    yield f'.TH {name.upper()} 1 "" "ankibak" "User Commands"\n'
    yield f".SH NAME\n{escaped(name)} \\- {escaped(help)}\n"


def _program(root: Any) -> Iterator[str]:
    yield from _head("ankibak", "change-aware backups of Anki collections")
    yield ".SH SYNOPSIS\n.B ankibak\n[\\fIOPTION\\fR...] \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]\n"
    yield ".SH DESCRIPTION\n"
    yield escaped(
        "ankibak keeps a history of an Anki collection and its media, from a profile on this machine or an "
        "account on a sync server, and gives any moment of it back. Each command has a page of its own."
    )
    yield "\n.SH COMMANDS\n"
    for word, help in cli.COMMANDS.items():
        yield f".TP\n.BR ankibak\\-{escaped(word)} (1)\n{escaped(help)}\n"
    yield from _options("OPTIONS", root)
    yield ".SH EXIT STATUS\n"
    for code, meaning in sorted(_codes().items()):
        yield f".TP\n.B {code}\n{escaped(meaning)}\n"
    yield ".SH FILES\n"
    for path in ("~/.config/ankibak/config.toml", "/etc/ankibak/config.toml"):
        yield f".TP\n.I {escaped(path)}\nThe configuration; the first that is there.\n"


def _command(word: str, help: str, command: Any) -> Iterator[str]:
    yield from _head(f"ankibak-{word}", help[:1].lower() + help[1:])
    yield ".SH SYNOPSIS\n"
    parts = dict(getattr(command, "commands", {})) or {"": command}
    for inner, part in parts.items():
        words = f"{word} {inner}".strip()
        arguments = " ".join(_metavar(param) for param in part.params if param.param_type_name == "argument")
        yield f".B ankibak {escaped(words)}\n[\\fIOPTION\\fR...] {escaped(arguments)}\n.br\n"
    yield ".SH DESCRIPTION\n" + _text(command.help or help)
    for inner, part in parts.items():
        if inner:
            yield f".SS {escaped(inner)}\n" + _text(part.help or "")
        yield from _options("OPTIONS" if not inner else "", part)
    yield ".SH SEE ALSO\n.BR ankibak (1)\n"


def _options(title: str, command: Any) -> Iterator[str]:
    shown = [param for param in command.params if not getattr(param, "hidden", False) and _about(param)]
    if shown and title:
        yield f".SH {title}\n"
    for param in shown:
        if param.param_type_name == "argument":
            yield f".TP\n.I {escaped(_metavar(param))}\n"
        else:
            flag = getattr(param, "is_flag", False)
            name = ", ".join(f"\\fB{escaped(text)}\\fR" for text in [*param.opts, *param.secondary_opts])
            value = "" if flag else f" \\fI{escaped(_metavar(param))}\\fR"
            yield f".TP\n{name}{value}\n"
        yield escaped(_about(param)) + "\n"


def _about(param: Any) -> str:
    return " ".join((getattr(param, "help", None) or "").split())


def _metavar(param: Any) -> str:
    return param.metavar or (param.name or "").upper()


def _text(help: str) -> str:
    """Return paragraphs; what is indented or marked stays as it is."""
    paragraphs = [" ".join(part.split()) for part in help.replace("\b", "").split("\n\n")]
    return ".PP\n".join(escaped(part) + "\n" for part in paragraphs if part)


def _codes() -> dict[int, str]:
    """Return exit code -> meaning, as docs/COMMANDS.md has them."""
    table = (FOLDER.parent / "COMMANDS.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (\d+) \| (?:.*\| )?(.+?) \|$", table, re.MULTILINE)
    return {int(code): meaning.replace("`", "") for code, meaning in found}


def main() -> None:
    """Write the pages; those of commands that are gone are removed."""
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for path in FOLDER.glob("*.1"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)
    sys.stdout.write(f"{len(made)} pages in {FOLDER}\n")


if __name__ == "__main__":
    main()
