"""The scripts that the fuzz target `sync` begins with, and how others are made of them."""

from __future__ import annotations

import random

from tests.fuzz.spoiled import INSIDE, OUTSIDE, PATHS

BEGINNINGS = "news news news quiet fresh logout schema media foresee".split()
STATUS = """100 200 201 204 206 301 302 304 307 308 400 401 403 404 407 408 409 413 418 429
500 501 502 503 504 599 999""".split()
HEADERS = """location {proxy}
location {proxy}sync/
location http://127.0.0.1:9/
location \xff
location
content-type text/html; charset=utf-8
content-encoding gzip
content-encoding zstd
transfer-encoding chunked
anki-original-size 5
anki-original-size -1
connection close
set-cookie a=b
retry-after 3600""".split("\n")
HEADERS += ["x " + "a" * 9000, "content-length 7", "proxy-authenticate Basic"]
SIZES = "0 1 5 65536 4294967295 4294967296 -1 99999999999999999999 five".split()
TEXTS = ["", "{}", "[]", "null", "0", '"', '{"data":null,"err":"no"}', '{"err":"no"}', "a" * 300]
TEXTS += [
    "<html>Room number?</html>",
    "[" * 3000,
    '{"a":' * 3000,
    "\0",
    "\ud800",
    "\u202e\x1b[31m",
    "PK\x05\x06" + "\0" * 18,
]
TEXTS += ["SQLite format 3\0"]
VALUES = """null
true
false
[]
{}
""
0
-1
1.5
1e999
NaN
18446744073709551616
-9223372036854775808
9223372036854775807
2147483648
"\\ud800"
"\\u0000"
"../x"
-0""".split("\n")
VALUES += ['"/x"', '"' + "a" * 999 + '"', '"' + "b" * 200 + '.jpg"', '"\\u001f"']
VALUES += ["1" * 400, "[[[[[[[]]]]]]]", '"a?b.jpg"', '"con.jpg"']
AMOUNTS = "1 -1 2 1000 -1000 100000 1000000000 -1000000000 86400000 -86400000 4294967296".split()
STATEMENTS = """delete from cards
delete from notes
delete from notes where id % 3 = 0
delete from col
drop table graves
update col set mod = mod + 9
update col set scm = scm + 1
update col set usn = -1
update col set ver = 19
update col set ver = 11
update notes set usn = -1
update cards set usn = 999999
update notes set flds = 'x'
update col set crt = 'x'
update col set mod = 'x', ls = null
update notetypes set config = x'ff'
vacuum
update decks set kind = x''
update decks set name = 'a' where id > 1
update config set val = x'00'
create trigger t after update on col begin delete from notes; end
create view v as select 1
drop table revlog
update sqlite_master set sql = 'create table notes (id)' where name = 'notes'
update notes set mid = 1
update sqlite_master set rootpage = 3 where name = 'cards'
alter table cards add column x
pragma user_version = 9
pragma application_id = 9
update notes set guid = 'a'
insert into graves values (1, 1, -1)
pragma encoding
update tags set tag = 'x'
update notes set flds = cast(x'ff00' as text)
update cards set did = 9, nid = 9""".split("\n")
NAMES = ["a.jpg", "../x", "/tmp/x", "a/b", "a?b.jpg", "con.jpg", "b" * 200 + ".jpg", "A\u0301.jpg"]
NAMES += [
    "a.jpg.",
    ".",
    "..",
    "",
    "a\0b",
    "\u202e.jpg",
    "_meta",
    "collection.anki2",
    "pic 0.jpg",
    " lead.jpg",
    "x" * 300,
    "\ud800.jpg",
]

SEEDS = tuple(
    text.encode("utf-8", "surrogatepass")
    for text in (
        "begin news",
        "begin quiet",
        "begin fresh\n/sync/download 1 in flip 500 3",
        "begin fresh\n/sync/download 1 short 700",
        "begin fresh\n/sync/download 1 in sql update notes set flds = 'x'",
        "begin fresh\n/msync/downloadFiles 1 in zip 0 data other bytes",
        'begin fresh\n/msync/mediaChanges 1 in json 2 "../x"',
        'begin logout\n/sync/hostKey 1 in json 1 "another key"',
        "begin logout\n/sync/hostKey 1 status 403",
        "begin schema\n/sync/download 1 in over 300 ffffffff",
        "begin media\n/msync/downloadFiles 1 cut 500",
        "begin foresee\n/sync/meta 1 in more 0 1000",
        "begin news\n/sync/meta 1 in json 3 7",
        "begin news\n/sync/meta 1 status 500",
        "begin news\n/sync/meta 1 status 308\n/sync/meta 1 header location {proxy}",
        "begin news\n/sync/meta 1 in more 2 1000000",
        "begin news\n/sync/start 1 in json 1 [1, 2, 3]",
        "begin news\n/sync/applyChanges 1 in drop 4",
        "begin news\n/sync/chunk 1 flip 600 2",
        'begin news\n/sync/chunk 1 in json 5 "x"',
        "begin news\n/sync/chunk 1 twice 0 500",
        "begin news\n/sync/chunk 1 length 7",
        'begin news\n/sync/sanityCheck2 1 in json 1 "bad"',
        "begin news\n/sync/finish 1 from /sync/meta",
        "begin news\n/sync/chunk 1 old 2",
        "begin news\n/msync/begin 1 in more 0 100",
        'begin news\n/msync/mediaSanity 1 in json 1 "bad"',
        "begin news\n/sync/meta 1 size 4294967295\n/sync/chunk 1 without anki-original-size",
    )
)


def mangle(rnd: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Return a script with some of its lines changed, left out, made anew, or taken from another."""
    lines = data.decode("utf-8", "surrogatepass").split("\n")
    for _ in range(rnd.choice((1, 1, 2, 3))):
        match rnd.randrange(8):
            case 0:
                lines[0] = f"begin {rnd.choice(BEGINNINGS)}"
            case 1 if len(lines) > 1:
                del lines[rnd.randrange(1, len(lines))]
            case 2:
                lines += rnd.choice(others).decode("utf-8", "surrogatepass").split("\n")[1:]
            case 3 if len(lines) > 1:
                at = rnd.randrange(1, len(lines))
                words = lines[at].split(" ")
                words[0] = rnd.choice(PATHS)
                lines[at] = " ".join(words)
            case 4 if len(lines) > 1:
                at = rnd.randrange(1, len(lines))
                words = lines[at].split(" ")
                words[1] = rnd.choice("*123")
                lines[at] = " ".join(words)
            case _:
                lines.append(line(rnd))
    return "\n".join(lines[:7]).encode("utf-8", "surrogatepass")


def line(rnd: random.Random) -> str:
    """Return one thing that may happen to an answer."""
    path = rnd.choice(PATHS)
    which = rnd.choice("11112*")
    way = rnd.randrange(20)
    if way < 4:
        return f"{path} {which} {_bytes(rnd, rnd.choice(sorted(OUTSIDE)))}"
    if way < 11:
        word = rnd.choice("json json json more more drop double".split())
        number = rnd.randrange(99)
        more = {"json": rnd.choice(VALUES), "more": rnd.choice(AMOUNTS)}.get(word, "")
        return f"{path} {which} in {word} {number} {more}".rstrip(" ")
    match way:
        case 11:
            return f"/sync/download {which} in sql {rnd.choice(STATEMENTS)}"
        case 12 | 13:
            what = rnd.choice("name name data drop more none unnamed".split())
            return f"/msync/downloadFiles {which} in zip {rnd.randrange(9)} {what} {rnd.choice(NAMES)}"
        case 14 | 15:
            word = rnd.choice(sorted(OUTSIDE & INSIDE.keys()))
            return f"{path} {which} in {_bytes(rnd, word)}"
        case 16:
            return f"{path} {which} status {rnd.choice(STATUS)}"
        case 17:
            return f"{path} {which} header {rnd.choice(HEADERS)}"
        case 18:
            return f"{path} {which} {rnd.choice(('from ' + rnd.choice(PATHS), f'old {rnd.randrange(9)}'))}"
    return f"{path} {which} " + rnd.choice(
        (
            f"cut {rnd.randrange(1000)}",
            f"length {rnd.choice((1, -1, 9, -9, 999))}",
            "without anki-original-size",
            f"size {rnd.choice(SIZES)}",
        )
    )


def _bytes(rnd: random.Random, word: str) -> str:
    place = rnd.randrange(1000)
    return (
        f"{word} "
        + {
            "flip": f"{place} {rnd.randrange(8)}",
            "short": f"{place}",
            "twice": f"{place} {rnd.choice((1, 4, 30, 500, 9999))} {rnd.choice((0, 2, 3, 50))}",
            "put": f"{place} {rnd.choice(('00', 'ff' * 8, rnd.randbytes(5).hex()))}",
            "over": f"{place} {rnd.choice(('00', '00' * 99, 'ff' * 9, rnd.randbytes(30).hex()))}",
            "is": rnd.choice(TEXTS).replace("\n", " "),
        }[word]
    )
