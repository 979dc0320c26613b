"""Rolling back what a sync server holds: only while it is stopped."""

from __future__ import annotations

import signal

from tests.sync_server import USER, Client, SyncServer
from tests.typed_home import Home


def test_a_sync_servers_own_folder_waits_for_the_server_to_stop(tmp_path, run_ankibak):
    home = Home(tmp_path, run_ankibak)
    with SyncServer(tmp_path / "server") as server, Client(tmp_path / "phone", server.url) as phone:
        phone.add("one")
        phone.picture("cat.jpg", b"a cat")
        phone.upload()
        home.config.write_text(home.config.read_text().replace("User 1", f"server/{USER}"))
        first = home.back_up()
        phone.add("two")
        phone.sync()
        assert "sync server" in home.type("rollback", first, "--yes", code=7)
        server.restart()  # has opened nothing but its database of media
        assert "sync server" in home.type("rollback", first, "--yes", code=7)
        server.stop(signal.SIGTERM)
        told = run_ankibak("-c", home.config, "rollback", first, "--yes").stderr
        assert 'choose there "Download from AnkiWeb"' in told and "keeps this state" not in told
        server.start()
        phone.download()
        assert phone.col.note_count() == 1
