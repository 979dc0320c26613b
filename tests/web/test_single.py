"""The page before a rollback: what will happen, and what the devices will have to choose then."""

from __future__ import annotations

from tests.web.conftest import Served


def test_it_says_what_each_device_has_to_choose(serve):
    served: Served = serve()
    with served.client() as client:

        def told() -> str:
            return client.get("/backups/latest/rollback", headers={"Accept": "text/html"}).text

        assert "<b>Upload to AnkiWeb</b> to keep" in (page := told())
        assert "<b>Download from AnkiWeb</b> on each other device" in page
        # As the folder of a user of a sync server is.
        profile = served.place / "profile"
        (profile / "collection.media").rename(profile / "media")
        assert "<b>Download from AnkiWeb</b>" in (page := told())
        assert "an upload would undo" in page and "<b>Upload to AnkiWeb</b> to keep" not in page


def test_it_compares_with_what_was_gone_back_to(serve, run_ankibak):
    served: Served = serve()
    target = served.repository.backups()[3]
    ankibak = ("-c", served.place / "config.toml", "rollback", target.id, "--yes")
    assert run_ankibak(*ankibak).returncode == 0
    with served.client() as client:
        page = client.get(f"/backups/{target.id}/rollback", headers={"Accept": "text/html"}).text
    assert "is the active state already" in page and "/compare?from=" not in page
