"""ankibak: change-aware backups of Anki collections."""

__version__ = "0.1.0"
