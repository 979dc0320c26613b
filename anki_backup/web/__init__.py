"""The web view and its JSON API: `ankibak serve`.

`door` listens and ends, `gate` says who may pass, `desk` looks things up, `api` and
`pages` answer, `charts` draws, `jobs` starts the program's own commands as
processes that outlive this one. Nothing but `serve` imports any of it.
"""
