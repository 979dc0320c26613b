"""Every command of the program: which only read, which write, and where the writing ones are faulted.

A new command stands in one of these tables, or a test fails: so none is forgotten.
"""

from __future__ import annotations

# Word -> what is typed to see that it changes nothing below the folder of the repository.
READING = {
    "list": "list",
    "show": "show latest --media",
    "runs": "runs",
    "status": "status",
    "doctor": "doctor",
    "diff": "diff",
    "config": "config show",
    "schedule": "schedule show",
    "find": "find question",
    "history": "history Deck",
}
# Word -> the file with its scenario.
WRITING = {
    "run": "test_crash_run.py",
    "rollback": "sides.py",
    "import": "test_crash_import.py",
    "prune": "pruning.py",
    **dict.fromkeys(
        "pin unpin acknowledge catalog verify passwd token init restore-notes".split(), "test_crash_small.py"
    ),
    "login": "test_crash_account.py",
    "logout": "test_crash_account.py",
}
# Word -> why it writes nothing that a crash could harm.
APART = {
    "export": "writes a new file of the person's, whole or not at all: test_export.py",
    "notify": "sends, keeps nothing",
    "serve": "starts run, rollback and pin as processes of their own",
    "demo": "works on an account and a repository that it makes for itself",
}
