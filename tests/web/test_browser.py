"""In a real browser: every page in both lights, on a phone and on a desk, with and without JavaScript.

Set ANKIBAK_SCREENSHOTS to a folder to keep a picture of each.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from anki_backup import library
from tests.web.conftest import PASSWORD, Served
from tests.web.lively import after

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed: apt-get install chromium"),
    pytest.mark.slow,
]

PAGES = {
    "home": "/",
    "backups": "/backups",
    "backup": "/backups/latest",
    "cards": "/backups/latest/cards",
    "media": "/backups/latest/media",
    "rollback": "/backups/latest/rollback",
    "compare": "/compare",
    "lost": "/lost",
    "lost-word": "/lost?q=aorta",
    "lost-deck": "/lost?what=deck",
    "lost-cards": "/lost?what=cards",
    "lost-media": "/lost?what=media",
    "lost-all": "/lost?what=all",
    "runs": "/runs",
    "config": "/config",
    "nothing": "/nothing-here",
}
# Read here: each test has a clean environment.
SHOTS = os.environ.get("ANKIBAK_SCREENSHOTS")
LIGHTS = ("light", "dark")
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def entered(chromium, served: Served, **more):
    """Return a page that has logged in, and what its console complains of."""
    context = chromium.new_context(base_url=served.origin, **more)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto("/backups")
    page.fill("#password", PASSWORD)
    page.click("main button")
    assert page.url.endswith("/backups")
    return page, complaints


def keep(page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def test_every_page_fits_and_no_console_complains(chromium, served):
    page, complaints = entered(chromium, served)
    for name, path in PAGES.items():
        complaints.clear()
        answer = page.goto(path)
        wanted = 404 if name == "nothing" else 200
        assert answer.status == wanted, name
        for light in LIGHTS:
            page.emulate_media(color_scheme=light)
            for width in (1280, 360):
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is too wide"
                keep(page, f"{name}-{light}-{width}")
        assert wanted == 404 or complaints == [], name
    page.context.close()


@pytest.fixture
def look_closely(chromium):
    """Return what shows pages of a server to axe in both lights, and wants nothing serious to be found."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def look(served: Served, pages: dict[str, str], wanted: str = "main") -> None:
        # The test's own script, not the page's, is what the policy would refuse.
        page, _ = entered(chromium, served, bypass_csp=True)
        for name, path in pages.items():
            page.goto(path)
            assert page.locator(wanted).count(), f"{name} is not in the state that was to be looked at"
            for light in LIGHTS:
                page.emulate_media(color_scheme=light)
                # All that the dark changes are the colours.
                options = {"resultTypes": ["violations"], "preload": False}
                options |= {"runOnly": ["color-contrast"]} if light == "dark" else {}
                for width in (360, 1280):
                    page.set_viewport_size({"width": width, "height": 800})
                    if (light, width) != ("dark", 360):
                        answer = axe.run(page, options=options).response
                        found = [each for each in answer["violations"] if each["impact"] in SERIOUS]
                        told = [
                            (each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found
                        ]
                        assert told == [], f"{name}, {light}, {width}"
                    if pages is not PAGES:
                        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                        keep(page, f"{name}-{light}-{width}")
        page.context.close()

    return look


def test_axe_finds_nothing_serious(served, look_closely):
    look_closely(served, PAGES)


def test_axe_finds_nothing_serious_whatever_colour_home_has(serve, look_closely):
    served = serve()
    look_closely(served, {"home-red": "/"}, ".verdict.unsafe")
    with served.repository.writing("test"):
        for backup in served.repository.backups():
            if backup.alarm:
                served.repository.record("acknowledge", backup=backup.id)
    look_closely(served, {"home-green": "/"}, ".verdict.safe")
    media = served.place / "profile" / "collection.media"
    after(served.place, "UPDATE notes SET flds = flds || ' x' WHERE id % 2")
    (media / "picture 3.png").rename(media / "another.png")
    after(served.place)
    look_closely(
        served, {"lost-media-exchanged": "/lost?what=media"}, "text=As many as before, but other ones"
    )
    shutil.rmtree(media)
    after(served.place)
    look_closely(served, {"home-amber": "/"}, ".verdict.careful")
    look_closely(served, {"runs-amber": "/runs"}, "text=Incomplete")


def test_everything_is_there_without_javascript(chromium, served):
    page, _ = entered(chromium, served, java_script_enabled=False)
    for name, path in PAGES.items():
        page.goto(path)
        assert page.locator("h1").count() == 1, name
    page.goto("/backups/latest/cards")
    page.fill("#q", "deck:Medicine heart")
    page.click("main button")
    page.click("main table a >> nth=0")
    front = page.frame_locator("iframe >> nth=0")
    assert front.locator("body").inner_text().strip()
    page.context.close()


def test_pages_do_not_shift_while_they_load(chromium, served):
    page, _ = entered(chromium, served)
    for path in ("/", "/backups/latest", "/runs"):
        page.goto(path)
        shift = page.evaluate(
            "new Promise(done => { let sum = 0; new PerformanceObserver(list => list.getEntries()"
            ".forEach(entry => sum += entry.value)).observe({type: 'layout-shift', buffered: true});"
            " setTimeout(() => done(sum), 300); })"
        )
        assert shift < 0.01, path
    page.context.close()


def test_a_download_brings_the_bytes_that_were_backed_up(chromium, served):
    page, _ = entered(chromium, served)
    page.goto("/backups/latest")
    with page.expect_download() as waiting:
        page.click("text=anki2")
    data = Path(waiting.value.path()).read_bytes()
    newest = served.repository.backups(limit=1)[0]
    assert hashlib.sha256(data).hexdigest() == newest.collection_sha256
    assert waiting.value.suggested_filename == f"desktop-{newest.id}.anki2"
    page.context.close()


def test_a_card_shows_its_picture_and_runs_no_script(chromium, served):
    page, _ = entered(chromium, served)
    page.goto("/backups/latest/cards?q=note:Cloze")
    page.click("main table a >> nth=0")
    image = page.frame_locator("iframe >> nth=0").locator("img")
    assert image.get_attribute("src").startswith("data:image/png;base64,")
    frame = page.request.get(page.locator("iframe").first.get_attribute("src"))
    assert "sandbox" in frame.headers["content-security-policy"]
    page.context.close()


def test_a_rollback_is_confirmed_followed_and_undone(chromium, serve):
    served = serve(settings='[security]\nrollback_cooldown = "1s"\n')
    page, _ = entered(chromium, served)
    target = served.repository.backups()[3]
    newest = served.repository.backups(limit=1)[0]
    page.goto(f"/backups/{target.id}/rollback")
    page.fill("#word", "something else")
    page.click("text='Roll back' >> nth=-1")
    assert "Nothing was changed" in page.inner_text("main")
    page.fill("#word", "desktop")
    page.click("form.confirm button")
    page.wait_for_selector("h2:text-is('Done')", timeout=60_000)
    keep(page, "job-light-1280")
    assert served.repository.pointers()["desktop"] == target.id
    page.click("text=Undo this rollback")
    page.wait_for_selector("h2:text-is('Done')", timeout=60_000)
    active = served.repository.find(served.repository.pointers()["desktop"])
    assert active.content_hash == newest.content_hash != target.content_hash
    page.context.close()


def test_a_lost_deck_is_found_downloaded_and_imported(chromium, serve, tmp_path):
    served = serve()
    page, _ = entered(chromium, served)
    page.goto("/lost")
    page.click("text=A deck")
    entry = page.locator("li.entry").first
    with page.expect_download() as waiting:
        entry.locator("text=Download the deck").click()
    package = tmp_path / "deck.apkg"
    waiting.value.save_as(package)
    from anki.collection import Collection, ImportAnkiPackageOptions, ImportAnkiPackageRequest

    with library.opened(_empty(tmp_path)) as collection:
        assert isinstance(collection, Collection)
        options = ImportAnkiPackageOptions(with_scheduling=True, with_deck_configs=True)
        request = ImportAnkiPackageRequest(package_path=str(package), options=options)
        collection.import_anki_package(request)
        assert collection.card_count() > 20
    page.context.close()


def _empty(folder: Path) -> Path:
    from anki.collection import Collection

    path = folder / "empty.anki2"
    Collection(str(path)).close()
    return path
