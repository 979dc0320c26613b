"""Which names a media file may have: as a file in a folder, and in a package of Anki's.

Names are bytes, and were written by others. Anki takes only names that it would
have given itself: NFC, no character that some system refuses, at most 120 bytes,
no letter that its tables don't have. The plain ones are told here; for all others
Anki's library is asked, so its rules are never repeated wrongly.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import NamedTuple

from anki_backup.model import MediaFile, file_name_text

LONGEST = 255
ANKIS_LONGEST = 120
SYNCED_BYTES = 100 << 20
# As Anki's `media/files.rs` and `sync/media/changes.rs` have it.
LEFT_ALONE = re.compile(r"thumbs.db|.ds_store", re.I)
PLAIN_LONGEST = 100
ODD = re.compile(r'[\x00-\x1f\x7f\[\]<>:"/?*^\\|\xa0]|[ .]$|^(con|prn|aux|nul|com[1-9]|lpt[1-9])(\.|$)', re.I)

Ask = Callable[[list[str]], list[str | None]]


class Named(NamedTuple):
    """Files under names that Anki takes, and what is to be told of the others."""

    files: list[tuple[str, MediaFile]]
    warnings: list[str]


def is_file_name(name: bytes) -> bool:
    """Say whether a name names one file in a folder and nothing else."""
    return name not in (b"", b".", b"..") and b"/" not in name and b"\0" not in name and len(name) <= LONGEST


def is_plain(name: str) -> bool:
    """Say whether Anki surely takes a name as it is; False means only that it has to be asked."""
    if name.isascii():
        return 0 < len(name) <= PLAIN_LONGEST and not ODD.search(name)
    return (
        len(name.encode()) <= PLAIN_LONGEST
        and not ODD.search(name)
        and unicodedata.is_normalized("NFC", name)
        and all(unicodedata.ucd_3_2_0.category(letter) != "Cn" for letter in name)
    )


def why_not_synced(name: bytes, size: int) -> str | None:
    """Return why Anki surely never sends such a media file to another device; None where it may."""
    text = file_name_text(name)
    if size == 0:
        return "it is empty"
    if size > SYNCED_BYTES:
        return "it is larger than 100 MiB"
    if LEFT_ALONE.fullmatch(text):
        return "Anki passes over such files"
    if len(name) > ANKIS_LONGEST:
        return f"its name has more than {ANKIS_LONGEST} bytes"
    odd = not is_utf8(name) or ODD.search(text) or not unicodedata.is_normalized("NFC", text)
    return "Anki has no such names" if odd else None


def named(files: Iterable[MediaFile], ask: Ask) -> Named:
    """Give each file the name that Anki knows it by; `ask` tells the names of those that aren't plain.

    A file that has no such name, or whose name is another's, is left out. Both
    are told, for notes that refer to the old name won't find the file.
    """
    plain: list[tuple[str, MediaFile]] = []
    odd: list[tuple[str, MediaFile]] = []
    warnings = []
    for file in files:
        text = file_name_text(file.name)
        if not is_file_name(file.name) or not is_utf8(file.name):
            warnings.append(f"media file {text!r} has a name that Anki can't have: left out")
        else:
            (plain if is_plain(text) else odd).append((text, file))
    taken = {name for name, _ in plain}
    answers = ask([text for text, _ in odd]) if odd else []
    # Those that keep their names go first: nobody else may take one.
    for (text, file), name in sorted(zip(odd, answers, strict=True), key=lambda pair: pair[0][0] != pair[1]):
        if not name:
            warnings.append(f"media file {text!r} has a name that Anki can't have: left out")
        elif name in taken:
            warnings.append(f"media file {text!r} would be {name!r} in Anki, which is another: left out")
        else:
            taken.add(name)
            plain.append((name, file))
            if name != text:
                warnings.append(f"media file {text!r} is named {name!r}, as Anki names it")
    return Named(sorted(plain, key=lambda pair: pair[0]), warnings)


def is_utf8(name: bytes) -> bool:
    """Say whether a name is text that every program reads alike."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
