"""The page over a store: filled cells, and a served page that follows a training while somebody looks at it."""

import contextlib
import shutil
import threading
import time

import pytest

from pipeline.browse.contents import contents_of
from pipeline.browse.rows import rows_of
from pipeline.browse.server import Answer, Fresh, Server
from pipeline.engine.artifacts import Store, lock_of
from pipeline.machine.owner_lock import owner_lock
from tests.browser.chromium import SCREENS, choose
from tests.pipeline.toy_stages import install

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300), pytest.mark.enable_socket]
TRAINING = "toy-mlp-s0-aaaaaaaaaaaa"


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_cells_of_a_study_have_a_row_each_and_how_far_each_stage_is(page, store_page, width, scheme):
    page.screen(width, scheme)
    page.open(store_page)
    page.click("[role=tab]", "Cells")
    heads = [text.split()[0] for text in page.texts("#view thead th")]
    assert heads[:4] == ["study", "model", "seed", "kernel"] and {"train", "kernel", "surrogate"} <= set(heads[4:])
    rows = "return [...document.querySelectorAll('#view tbody tr')]"
    cells = page.run(f"{rows}.map((row) => [...row.cells].map((cell) => cell.innerText.trim()))")
    grid = {("mlp", seed, kernel) for seed in ("0", "1") for kernel in ("pntk", "conjugate")}
    assert {tuple(row[1:4]) for row in cells} == grid and len(cells) == 4
    for place, stage in enumerate(heads[4:], start=4):
        assert {row[place].split(" +")[0] for row in cells} == {"done"}, stage
    assert page.findings_of_axe() == [] and page.too_wide() <= 0
    page.click("#view td button.done")
    assert page.findings_of_axe() == [] and "python run.py experiment=quickstart" in page.texts("#detail pre")[0]
    page.click("#detail .close")
    for tab in ("Studies", "Runs", "Groups", "Curves"):
        page.click("[role=tab]", tab)
        assert page.findings_of_axe() == [] and page.too_wide() <= 0, tab
    assert page.complaints() == [] and page.left_the_machine() == []


def test_a_report_and_two_trainings_are_reached_from_the_page(page, store_page, quickstart):
    page.screen(1280)
    page.open(store_page)
    page.click("#view td a")
    assert page.run("return decodeURI(location.pathname)") == str(quickstart / "report.html")
    page.open(store_page)
    page.click("[role=tab]", "Groups")
    assert page.texts("#view tbody td:nth-child(3)")[0] == "2", "both seeds are one group"
    page.click("[role=tab]", "Runs")
    choose(page, "stage", "train")
    for box in (0, 1):
        page.all("#view input[aria-label^=Compare]")[box].click()
    page.click("#view button.strong")
    assert "seeds.init" in page.texts("#view tbody td:nth-child(2)") and page.complaints() == []


@pytest.mark.parametrize("width", [390, 1280])
def test_what_is_asked_for_stands_on_the_first_screen(page, store_page, width):
    page.screen(width)
    page.open(store_page)
    page.click("[role=tab]", "Groups")
    places = """
      const name = (head) => head.innerText.split(/[ \u00a0]/)[0];
      return [...document.querySelectorAll("#view thead th")].map((head) => [name(head), head.offsetLeft]);
    """
    heads = dict(page.run(places))
    assert heads["n"] < width and (width < 500 or heads["95"] < width), "the numbers come before the settings"
    page.click("[role=tab]", "Runs")
    choose(page, "stage", "train")
    heads = dict(page.run(places))
    assert heads["test_accuracy"] < min([1280, *(heads[name] for name in ("model", "made") if name in heads)])


def test_a_search_without_a_hit_says_so_and_can_be_undone(page, store_page):
    page.screen(390)
    page.open(store_page)
    for tab in ("Studies", "Runs", "Cells", "Groups", "Curves"):
        page.click("[role=tab]", tab)
        page.run(
            "const box = document.querySelector('#filters input'); box.value = 'no-such'; box.form.requestSubmit()"
        )
        assert page.texts("#view") == ["No artifact fits these filters. Clear filters"], tab
        assert page.findings_of_axe() == []
        page.click("#view button", "Clear filters")
        assert (
            not page.texts("#view")[0].startswith("No artifact")
            and page.run("return document.querySelector('#filters input').value") == ""
        )
    page.click("[role=tab]", "Compare")
    assert not page.run("return document.querySelector('#filters').checkVisibility()"), "any two are compared"
    assert page.complaints() == []


@pytest.fixture
def served(browser_page, tmp_path, monkeypatch):
    """A copy of the toy store, on its server."""
    install(monkeypatch)
    monkeypatch.setattr(Answer, "protocol_version", "HTTP/1.0")  # no connection outlives the server, as in a command
    store = Store(shutil.copytree(browser_page.parent, tmp_path / "a store"))
    look = Fresh(lambda: contents_of(rows_of(store), store.root, None))
    with Server(store, look, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def wait_for(condition, what, seconds=20):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def test_an_open_page_follows_a_training_and_says_when_its_server_has_ended(page, served):
    page.screen(1280)
    folder = served.store.root / "train" / "aa" / TRAINING
    history = folder.with_name(f"{TRAINING}.partial") / "scratch" / "history.csv"
    with contextlib.ExitStack() as held:
        held.enter_context(owner_lock(lock_of(folder), print))
        page.open(f"http://127.0.0.1:{served.port}/#tab=curves")
        page.run("window.opened = true")
        row = "#view tbody td"
        assert page.texts(row)[-3:] == ["running", "2", "0.25"]
        assert "1 of them under way" in page.texts("figcaption")[0]
        with history.open("a") as stream:
            stream.write("3,15,0.1,0.125\n")
        wait_for(lambda: page.texts(row)[-3:] == ["running", "3", "0.125"], "the third epoch")
    wait_for(lambda: page.texts(row)[-3] == "stopped", "the end of the training")
    assert page.run("return window.opened"), "the page itself stayed as it was opened"
    page.click("[role=tab]", "Runs")
    page.run("const box = document.querySelector('#filters input'); box.value = 's0-aaa'; box.form.requestSubmit()")
    assert page.texts("#told") == ["1 of 18 artifacts"]
    (served.store.root / "draw" / "ff" / "toy-none-s9-ffffffffffff.partial").rename(
        served.store.root / "draw" / "ff" / "toy-none-s8-eeeeeeeeeeee.partial"
    )
    shutil.rmtree(history.parents[1])
    wait_for(lambda: page.texts("#told") == ["0 of 17 artifacts"], "what was removed is gone, and the filter stays")
    assert page.complaints() == [] and page.left_the_machine() == []
    served.shutdown()
    served.server_close()
    wait_for(lambda: "has ended" in page.texts("#fresh")[0], "the end of the server is told")
    page.open("about:blank")
    page.complaints()  # of the server that is away, as they should be
