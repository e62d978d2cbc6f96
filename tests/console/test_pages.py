"""Every page in a real browser, in both languages, at every width: no error, no foreign request, no serious fault."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.console.house import PATIENT, House, wait_for

PAGES = ["/", "/bundles", "/bundles/{id}", "/attention", "/proof", "/doctor", "/settings", "/log", "/history"]
SIZES = [(1366, 768), (1920, 1080), (390, 844)]
WORDS = {
    "en": ["Overview", "Bundles", "Needs attention", "Proof", "Doctor", "Settings", "Log", "History"],
    "zh": ["总览", "检查", "需处理", "对账", "体检", "设置", "日志", "操作记录"],
}


@contextmanager
def looking(
    browser: Browser, house: House, locale: str = "en-US", width: int = 1366, height: int = 768, **more: object
) -> Iterator[Page]:
    """A page that complains about everything that a browser complains about, and may go nowhere else."""
    context = browser.new_context(locale=locale, viewport={"width": width, "height": height}, **more)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(15_000)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if not _is_here(request.url, house) else None)
    try:
        yield page
        assert wrong == []
    finally:
        context.close()


def _is_here(url: str, house: House) -> bool:
    return urlsplit(url).netloc == urlsplit(house.url).netloc or url.startswith(("data:", "blob:"))


def refused(house: House) -> int:
    found = house.bundle("too-many")
    assert found is not None
    return found.id


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_in_every_language_and_width(browser: Browser, filled: House, path: str, language: str) -> None:
    place = path.format(id=refused(filled))
    with looking(browser, filled, {"en": "en-US", "zh": "zh-CN"}[language]) as page:
        page.goto(filled.url + place)
        assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-CN"}[language]
        for width, height in SIZES:
            page.set_viewport_size({"width": width, "height": height})
            assert page.locator("nav a").all_inner_texts() == WORDS[language]
            assert page.locator("h1").count() == 1
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert PATIENT not in page.content()
        assert page.locator("text=/undefined|None|\\bnan\\b/").count() == 0


@pytest.mark.parametrize(
    ("path", "scheme"),
    [*((path, "light") for path in PAGES), *((path, "dark") for path in ("/", "/bundles/{id}", "/proof"))],
)
def test_axe_finds_no_serious_fault(browser: Browser, filled: House, path: str, scheme: str) -> None:
    with looking(browser, filled, color_scheme=scheme, bypass_csp=True) as page:
        page.goto(filled.url + path.format(id=refused(filled)))
        found = Axe().run(page).response["violations"]
    serious = [
        (one["id"], [node["html"] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_a_phone_shows_the_state_of_an_exam_and_the_names_of_its_files(browser: Browser, filled: House) -> None:
    with looking(browser, filled, width=390, height=844) as page:
        page.goto(f"{filled.url}/bundles")
        state = page.locator("tbody .state").first.bounding_box()
        assert state is not None
        assert state["x"] + state["width"] <= 390
        page.goto(f"{filled.url}/bundles/{refused(filled)}")
        path = page.locator("tbody td.value").first.bounding_box()
        assert path is not None
        assert path["width"] >= 140


def test_the_overview_says_how_things_are_in_one_sentence(browser: Browser, filled: House) -> None:
    with looking(browser, filled) as page:
        page.goto(filled.url)
        sentence = page.locator("h1").inner_text()
        assert "delivered today" in sentence
        assert "failed" in sentence
        assert page.locator("svg.chart rect.bar").count() >= 4


def test_the_language_can_be_switched_and_stays(browser: Browser, filled: House) -> None:
    with looking(browser, filled, "zh-CN") as page:
        page.goto(f"{filled.url}/bundles")
        page.click("text=English")
        assert page.locator("h1").inner_text() == "Bundles"
        page.goto(f"{filled.url}/attention")
        assert page.locator("h1").inner_text() == "Needs attention"
        page.click("text=Dark")
        assert page.locator("html.theme-dark").count() == 1
    with looking(browser, filled, color_scheme="dark") as page:
        page.goto(filled.url)
        page.click("text=Light")  # what it is not
        assert page.locator("html.theme-light").count() == 1


def test_search_finds_by_name_start_accession_number_and_study_id(browser: Browser, filled: House) -> None:
    with looking(browser, filled) as page:
        for text, name in (
            ("too-m", "too-many"),
            ("ACC-waits-for-im", "waits-for-images"),
            ("CT20260301-001", "CT20260301-001"),
        ):
            page.goto(f"{filled.url}/bundles")
            page.fill("#q", text)
            page.click("#show")
            assert name in page.locator("td.name a").all_inner_texts()
        page.goto(f"{filled.url}/bundles")
        page.select_option("#state", "REFUSED")
        page.select_option("#drop", "mr")
        page.fill("#day", time.strftime("%Y-%m-%d"))
        page.click("#show")
        assert page.locator("td.name a").all_inner_texts() == ["too-many"]


def test_a_bundles_page_tells_its_files_and_what_happened(browser: Browser, filled: House) -> None:
    with looking(browser, filled) as page:
        page.goto(f"{filled.url}/bundles/{refused(filled)}")
        text = page.locator("main").inner_text()
        for word in (
            "more files than declared",
            "FA-TOO-MANY",
            "IM0.dcm",
            "first seen",
            "moved to its place",
            "Try again",
        ):
            assert word in text


def test_attention_groups_by_cause(browser: Browser, filled: House) -> None:
    with looking(browser, filled) as page:
        page.goto(f"{filled.url}/attention")
        codes = page.locator(".cause h2 code").all_inner_texts()
    assert {"FA-TOO-MANY", "FA-FIELD-MISSING", "FA-MISMATCH"} <= set(codes)
    assert len(codes) == len(set(codes))


def test_the_calendar_is_coloured_by_the_ledger_before_anything_was_compared(browser: Browser, own: House) -> None:
    today = time.strftime("%Y-%m-%d")
    with looking(browser, own) as page:
        own.drop("delivered")
        own.until("delivered", "DONE")
        page.goto(f"{own.url}/proof")
        page.wait_for_selector("td.well.unproven >> text=1")
        own.drop("wrong", images=2, declared=1)
        own.drop("waiting", declared=2)
        own.until("wrong", "REFUSED")
        page.wait_for_selector("td.watch.unproven >> text=3")
        assert page.locator(".calendar td:not(.outside)").count() == 35
        page.click("td.watch a")
        page.wait_for_url(f"**day={today}")
        row = page.locator("table.numbers tbody tr", has_text="ct").locator("td").all_inner_texts()
        assert row == ["3", "1", "1", "1", "0"]
        page.click("table.numbers a >> text=ct")
        assert page.locator("td.name a").count() == 3
    assert own.console.context.proof.result is None


def test_proof_shows_the_days_and_what_differs(browser: Browser, filled: House) -> None:
    with looking(browser, filled) as page:
        page.goto(f"{filled.url}/proof")
        page.click("#compare")
        wait_for(lambda: filled.console.context.proof.result, 30)
        today = time.strftime("%Y-%m-%d")
        page.goto(f"{filled.url}/proof?day={today}")
        assert page.locator("td.watch.chosen").count() == 1
        assert page.locator("td.unproven").count() == 0
        assert page.locator("table.numbers tbody tr").count() == 2
    with filled.client() as client:
        lines = client.get("/proof.csv").text.splitlines()
    assert lines[0].startswith("\ufeffday,drop,exams_dropped")
    assert any(line.startswith(f"{today},ct,") for line in lines)


def test_the_doctor_is_asked_and_answers(browser: Browser, filled: House) -> None:
    with looking(browser, filled) as page:
        page.goto(f"{filled.url}/doctor")
        page.click("#examine")
        page.wait_for_selector("main .health li", timeout=40_000)
        assert page.locator("main .health li").count() > 5
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_gateway_that_is_slow_is_shown_as_such(own: House) -> None:
    own.drop("slow")
    own.until("slow", "DONE")
    with own.client() as client:
        assert "requests at once" not in client.get("/").text
        own.assembly.gateway._link.lanes.troubled(time.monotonic())
        wait_for(lambda: "it is slow: 2 of 4 requests at once" in client.get("/").text)


def test_settings_show_where_values_come_from_and_no_secret(filled: House) -> None:
    with filled.client() as client:
        text = client.get("/settings").text
    assert "0123456789abcdef" not in text
    assert "******" in text
    assert "the file" in text
    assert "default" in text


def test_a_bundles_life_is_seen_live(browser: Browser, own: House) -> None:
    with looking(browser, own) as page:
        page.goto(f"{own.url}/bundles")
        assert "No bundle" in page.locator("main").inner_text()
        own.drop("alive", images=1, declared=2)
        page.wait_for_selector("td.name >> text=alive")
        page.wait_for_selector(".s-gathering")
        page.click("text=alive")
        own.drop("alive", images=2, declared=2)
        page.wait_for_selector(".lead .s-done")
        assert "receipt.json" in page.locator("main").inner_text()


def test_what_is_being_sent_has_a_bar(browser: Browser, own: House) -> None:
    own.site.gateway.misbehave(do="delay", match="/ris/study/add", seconds=8)
    own.drop("under-way", images=2)
    own.until("under-way", "SENDING")
    with looking(browser, own) as page:
        page.goto(f"{own.url}/bundles")
        page.wait_for_selector("progress[data-bundle]")
        assert page.locator("span[data-share]").inner_text() == "100 %"


def test_everything_can_be_reached_by_keyboard(browser: Browser, filled: House) -> None:
    with looking(browser, filled) as page:
        page.goto(f"{filled.url}/bundles")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        seen = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            seen.add(page.evaluate("(document.activeElement.id || document.activeElement.textContent).trim()"))
        assert {"Overview", "q", "state", "drop", "day", "sort", "order", "show", "too-many"} <= seen
        page.focus("#q")
        page.keyboard.type("too-many")
        page.keyboard.press("Enter")
        page.wait_for_url("**q=too-many**")
        page.focus("td.name a")
        page.keyboard.press("Enter")
        page.wait_for_selector("#act-again")
        page.focus("#act-again")
        page.keyboard.press("Enter")
        page.wait_for_selector("#yes")
        assert "Try it again?" in page.locator("h1").inner_text()
