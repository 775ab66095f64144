"""The quickstart's report and the page of compare_runs: readable for all, and what can be pressed or typed works."""

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.chromium import SCREENS

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(params=["quickstart", "comparison"])
def file(request):
    if request.param == "comparison":
        return request.getfixturevalue("comparison_page")
    return request.getfixturevalue("quickstart") / "report.html"


def unfold(page):
    page.run("document.querySelectorAll('details').forEach((part) => { part.open = true; })")


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_axe_finds_nothing_on_an_unfolded_page(page, file, width, scheme):
    page.screen(width, scheme)
    page.open(file)
    unfold(page)
    assert page.findings_of_axe() == [] and page.too_wide() <= 0
    assert page.complaints() == [] and page.left_the_machine() == []


def test_a_phone_shows_the_first_table_whole_and_signs_beside_their_words(page, quickstart):
    page.screen(390)
    page.open(quickstart / "report.html")
    over = "const box = document.querySelector('.first .scroll'); return box.scrollWidth - box.clientWidth"
    assert page.run(over) <= 0, "every column of the first table is on the screen"
    apart = """
      const folds = [...document.querySelectorAll("details.section > summary")];
      return folds.map((one) => one.querySelector("h2").offsetTop - one.offsetTop);
    """
    assert max(page.run(apart)) < 20, "the arrow of a section stands beside its title, not above it"
    tall = "return Math.max(...[...document.querySelectorAll('details.section h2')].map((one) => one.offsetHeight))"
    assert page.run(tall) <= 60, "a title takes two lines at most"
    unfold(page)
    lines = """
      const presses = [...document.querySelectorAll(".tabular:not(.first *) th button")];
      return presses.filter((press) => press.getClientRects().length > 1).map((press) => press.innerText);
    """
    assert page.run(lines) == [], "no sign for sorting stands on a line of its own"


def test_paper_holds_every_table(page, quickstart):
    page.screen(760)
    page.open(quickstart / "report.html")
    unfold(page)
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    wide = page.too_wide()
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert wide <= 0, "nothing of a printed page is cut off at its right"


def test_figures_of_one_panel_stand_side_by_side_on_a_wide_screen(page, quickstart):
    file = quickstart / "report.html"
    widths = {}
    for width in (390, 1280):
        page.screen(width)
        page.open(file)
        unfold(page)
        widths[width] = page.run(
            "return [...document.querySelectorAll('.body > figure.narrow')].map((one) => one.offsetWidth)"
        )
    assert widths[1280] and max(widths[1280]) < 600 and min(widths[390]) > 300
    page.screen(1280)
    page.open(file)
    unfold(page)
    page.run("location.hash = document.querySelector('.body > figure.narrow').id")
    assert page.run("return document.querySelector('figure:target').offsetWidth") == 1280, "opened it takes the screen"


def test_every_table_of_more_than_a_row_sorts_up_down_and_back(page, file):
    page.screen(1280)
    page.open(file)
    unfold(page)
    assert page.run("return document.querySelectorAll('th button').length") > 2
    wrong = page.run("""
      const wrong = [], value = (cell) => (cell.dataset.value === undefined ? null : Number(cell.dataset.value));
      for (const table of document.querySelectorAll("table.sortable")) {
        const body = table.tBodies[0], was = [...body.rows];
        if (was.length < 2) continue;
        [...table.tHead.rows[0].cells].forEach((head, place) => {
          const press = head.querySelector("button");
          if (!press) { wrong.push(`${head.textContent} has no button`); return; }
          for (const way of [1, -1]) {
            press.click();
            const found = [...body.rows].map((row) => value(row.cells[place])).filter((one) => one !== null);
            if (found.some((one, i) => i && way * (one - found[i - 1]) < 0)) wrong.push(`${head.textContent} ${way}`);
            const told = way > 0 ? "ascending" : "descending";
            if (head.ariaSort !== told) wrong.push(`${head.textContent} tells nothing`);
          }
          press.click();
          if (was.some((row, i) => row !== body.rows[i])) wrong.push(`${head.textContent} does not go back`);
        });
      }
      return wrong;
    """)
    assert wrong == [] and page.complaints() == []


def test_a_seed_is_brought_out_in_every_figure_by_keyboard_and_put_back(page, quickstart):
    page.screen(1280)
    page.open(quickstart / "report.html")
    unfold(page)
    page.run("document.querySelector('.seeds .seed:nth-child(2) button').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    seed = page.run("return document.querySelector('.seed:has([aria-pressed=true])').dataset.seed")
    marks = "return [...new Set([...document.querySelectorAll('svg [data-seed]%s')].map((m) => m.dataset.seed))]"
    assert seed not in page.run(marks % ".of-other-seed") and page.run(marks % ".of-other-seed")
    assert page.run(marks % ":not(.of-other-seed)") == [seed]
    assert "brought out" in page.texts(".told")[0]
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert page.run(marks % ".of-other-seed") == []
    assert page.complaints() == []


def test_a_report_is_read_by_keyboard_alone(page, quickstart):
    page.screen(1280)
    page.open(quickstart / "report.html")
    page.driver.find_element("css selector", "body").send_keys(Keys.TAB)
    first = page.driver.switch_to.active_element
    assert first.get_attribute("class") == "skip" and first.is_displayed()
    first.send_keys(Keys.ENTER)
    assert page.run("return location.hash") == "#main"
    page.run("document.querySelector('details.section:not([open]) > summary').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.run("return document.activeElement.parentNode.open")
    page.run("document.querySelector('details[open] a.panel').focus()")
    page.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert page.run("return document.querySelector('.pointed').hidden === false")
    outlined = page.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outlined != "none", "whoever types sees where the focus is"
    page.driver.switch_to.active_element.send_keys(Keys.ENTER)
    figure = page.run("return document.querySelector('figure:target') && document.querySelector('figure:target').id")
    assert figure, "a figure opens"
    page.click("figure:target a.close")
    assert not page.run("return document.querySelector('figure:target')") and page.complaints() == []


def test_its_commands_are_copied_and_its_files_are_there(page, quickstart):
    page.screen(390)
    page.open(quickstart / "report.html")
    unfold(page)
    links = page.run("return [...document.querySelectorAll('a[href]')].map((a) => a.getAttribute('href'))")
    beside = [link for link in links if not link.startswith(("#", "https:"))]
    assert len(beside) > 5 and not [link for link in beside if not (quickstart / link).exists()]
    page.run("document.querySelector('.commanded button').scrollIntoView({block: 'center'})")
    page.click(".commanded button")
    page.driver.execute_async_script("setTimeout(arguments[0], 200)")
    assert page.texts(".commanded button")[0] == "Copied" and page.complaints() == []
