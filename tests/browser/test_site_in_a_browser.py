"""The documentation site, opened as files: axe-core finds nothing, nothing is loaded, and its tools work."""

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.chromium import ROOT, SCREENS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PAGES = ["index", "tutorial", "api/kernels", "studies/trimming", "gallery", "coverage", "glossary"]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_axe_finds_nothing_on_a_page(page, site, name, width, scheme):
    page.screen(width, scheme)
    page.open(site / f"{name}.html")
    assert page.run("return document.documentElement.dataset.theme") == scheme, "the site follows the reader's choice"
    assert page.findings_of_axe() == [] and page.too_wide() <= 0
    assert page.complaints() == [] and page.left_the_machine() == []


def test_a_command_is_copied_a_word_is_found_and_pages_follow_each_other(page, site):
    page.screen(1280)
    page.open(site / "tutorial.html")
    page.run("document.querySelector('button.copybtn').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.driver.execute_async_script("setTimeout(arguments[0], 300)")
    assert page.run("return document.querySelector('button.copybtn').dataset.tooltip") == "Copied!"
    page.open(f"{(site / 'search.html').as_uri()}?q=churn")
    page.driver.execute_async_script("setTimeout(arguments[0], 1500)")
    assert any("Words of this project" in text for text in page.texts("ul.search li")), page.texts("#search-results")
    page.open(site / "index.html")
    page.click("a.right-next")
    assert page.run("return location.pathname").endswith("tutorial.html")
    assert page.complaints() == [] and page.left_the_machine() == []


@pytest.mark.parametrize("name", ["glossary", "own_networks", "studies/trimming", "index"])
def test_nothing_that_is_to_be_read_is_cut_off_on_a_phone(page, site, name):
    page.screen(390)
    page.open(site / f"{name}.html")
    cut = """
      const read = [...document.querySelectorAll("article :is(p, li, h1, h2, h3, code, table.sentences td)")];
      const over = (one) => one.getBoundingClientRect().right > innerWidth + 1;
      const scrolls = (one) => one.closest("pre, table:not(.sentences)");
      return read.filter((one) => over(one) && !scrolls(one)).map((one) => one.innerText.slice(0, 60));
    """
    assert page.run(cut) == []
    tables = """
      const tables = [...document.querySelectorAll("article table.sentences")];
      return tables.map((one) => getComputedStyle(one.rows[1].cells[0]).display);
    """
    assert {*page.run(tables)} == {"block"}, "cells of sentences stand one below the other"


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "docs" / "reports").glob("*.html")))
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_axe_finds_nothing_on_a_kept_report(page, name, width, scheme):
    page.screen(width, scheme)
    page.open(ROOT / "docs" / "reports" / name)
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.findings_of_axe() == [] and page.too_wide() <= 0
    assert page.complaints() == [] and page.left_the_machine() == []


def test_kept_reports_open_from_the_card_of_their_study(page, site):
    page.screen(1280)
    page.open(site / "studies" / "trimming.html")
    page.click("td a[href*='reports/']")
    assert page.run("return location.pathname").endswith("reports/trimming_fmnist.html")
    assert page.findings_of_axe() == [] and page.complaints() == [] and page.left_the_machine() == []
