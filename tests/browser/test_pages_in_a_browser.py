"""In Debian's chromium: axe-core finds nothing, nothing is loaded, and what can be pressed works."""

import statistics

import pytest

from pipeline.browse.page import render
from tests.browser.chromium import SCREENS, choose

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
TABS = ("Studies", "Runs", "Cells", "Groups", "Curves", "Compare")


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_axe_finds_nothing_on_a_report(page, report_page, width, scheme):
    page.screen(width, scheme)
    page.open(report_page)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.findings_of_axe() == [] and page.too_wide() <= 0
    assert page.complaints() == [] and page.left_the_machine() == []


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_axe_finds_nothing_in_any_tab_of_the_browser(page, browser_page, width, scheme):
    page.screen(width, scheme)
    page.open(browser_page)
    for tab in TABS:
        page.click("[role=tab]", tab)
        assert page.findings_of_axe() == [] and page.too_wide() <= 0, tab
    page.click("[role=tab]", "Runs")
    page.click("#view tbody th button")
    assert page.findings_of_axe() == []
    assert page.complaints() == [] and page.left_the_machine() == []


def test_a_report_sorts_brings_out_a_seed_shows_a_value_and_copies(page, report_page):
    page.screen(1280)
    page.open(report_page)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    first = "table.sortable tbody tr > :first-child"
    page.click("th:nth-child(2) button")
    assert page.texts(first) == ["seed 10", "seed 2", "seed 1"]
    page.run("document.querySelectorAll('th button')[1].click()")
    assert page.texts(first) == ["seed 2", "seed 10", "seed 1"]
    assert page.run("return document.querySelectorAll('th')[1].ariaSort") == "descending"
    page.run("document.querySelectorAll('th button')[1].click(); document.querySelectorAll('th button')[0].click()")
    assert page.texts(first) == ["seed 1", "seed 2", "seed 10"], "words with numbers in the order of these"
    page.click(".seed button", "seed 1")
    lit = "return [...document.querySelectorAll('svg [data-seed]')].filter((m) => !m.matches('.of-other-seed'))"
    assert set(page.run(f"{lit}.map((m) => m.dataset.seed)")) == {"1"}
    assert page.run("return document.querySelectorAll('svg .of-other-seed').length") > 0
    page.run("document.querySelector('a.panel').focus()")
    from selenium.webdriver.common.keys import Keys

    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert page.texts(".pointed") == ["seed 0: epoch 1, loss 1"]
    page.click(".commanded button")
    page.driver.execute_async_script("setTimeout(arguments[0], 200)")
    assert page.texts(".commanded button") == ["Copied"] and page.complaints() == []


def test_the_browser_filters_sorts_compares_and_shows_hostile_text_as_text(page, browser_page):
    page.screen(1280)
    page.open(browser_page)
    page.click("[role=tab]", "Runs")
    choose(page, "stage", "square")
    assert page.texts("#told") == ["8 of 18 artifacts"]
    page.click("[data-focus='runs sum']")
    place = [text.split()[0] for text in page.texts("#view thead th")].index("sum") + 1
    values = [float(text) for text in page.texts(f"#view tbody tr > :nth-child({place})")]
    assert values == sorted(values) and len(values) == 8
    for box in (0, 7):
        page.all("#view input[aria-label^=Compare]")[box].click()
    page.click("#view button.strong")
    assert {"setting", "number"} <= set(page.texts("#view tbody th"))
    page.click("[role=tab]", "Groups")
    assert page.texts("#view tbody td:nth-child(3)") == ["4", "4"]
    page.click("button", "Clear filters")
    choose(page, "state", "failed")
    page.click("[role=tab]", "Runs")
    page.click("#view tbody th button")
    assert "<img src=x onerror=alert(1)>" in page.texts("#detail")[0] and page.run("return document.images.length") == 0
    page.click("#detail .copy")
    page.driver.execute_async_script("setTimeout(arguments[0], 200)")
    assert page.texts("#detail .copy") == ["Copied"]
    assert page.complaints() == []


def test_ten_thousand_runs_open_within_a_second(page, browser_page, tmp_path):
    from benchmarks.browse import many

    file = tmp_path / "many.html"
    file.write_text(render(many(10_000)), encoding="utf-8")
    page.screen(1280)
    seconds = []
    for _ in range(3):
        page.open(file)
        seconds.append(page.run("return performance.getEntriesByName('ready')[0].startTime") / 1000)
        page.click("[role=tab]", "Runs")
        assert page.run("return document.querySelectorAll('*').length") < 5000
    assert statistics.median(seconds) < 1, seconds
