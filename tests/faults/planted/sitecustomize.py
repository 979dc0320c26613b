"""A fault for the tests to find: in PYTHONPATH, with `PLANTED_FAULT=no-sync`, no file is synced any more."""

import os

if os.environ.get("PLANTED_FAULT") == "no-sync":
    os.fsync = lambda fd: None
