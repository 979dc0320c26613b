"""The web view: in a process of its own, asked over a real socket."""
