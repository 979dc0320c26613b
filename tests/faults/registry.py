"""Every command of the program: which only read, which write, and where the writing ones are faulted.

A new command, or a command of a command, stands in one of these tables, or a test fails: so none is
forgotten.
"""

from __future__ import annotations

# Command -> what is typed to see that it changes nothing below the folder of the repository.
READING = {
    "list": "list",
    "show": "show latest --media",
    "runs": "runs",
    "status": "status",
    "doctor": "doctor",
    "diff": "diff",
    "find": "find question",
    "history": "history Deck",
    "config show": "config show",
    "config check": "config check",
    "config schema": "config schema",
    "schedule show": "schedule show",
    "token list": "token list",
}
# Command -> the file that faults it, and how it says so.
WRITING = {
    "run": ("conftest.py", 'command("run")'),
    "rollback": ("sides.py", 'command("rollback",'),
    "import": ("test_crash_import.py", 'command("import",'),
    "prune": ("pruning.py", 'PRUNE = "prune '),
    "init": ("test_crash_small.py", 'hold_all(base, trial, "init"'),
    "passwd": ("test_crash_small.py", 'hold_all(base, trial, "passwd"'),
    "login": ("test_crash_account.py", 'parametrize("word", ["login", "logout"])'),
    "logout": ("test_crash_account.py", 'parametrize("word", ["login", "logout"])'),
    **{
        word: ("test_crash_small.py", f'    "{word}": Scenario(')
        for word in [
            "pin",
            "unpin",
            "acknowledge",
            "verify",
            "export",
            "restore-notes",
            "catalog rebuild",
            "schedule install",
            "token add",
            "token revoke",
        ]
    },
}
# Command -> why a crash of it could harm nothing.
APART = {
    "schedule remove": "only deletes units that can be installed again",
    "notify test": "sends, keeps nothing",
    "notify failure": "sends, keeps nothing",
    "serve": "starts run, rollback and pin as processes of their own, and notes what came of them",
    "demo": "works on an account and a repository that it makes for itself",
}
