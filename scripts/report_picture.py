"""Take the picture of a report's first screen that the README and the tutorial show.

``python -m scripts.report_picture FOLDER`` opens the page of a finished report in Debian's chromium, 1,100 points wide,
and writes ``docs/report.png``.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser.chromium import start

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "report.png"
WIDTH, MOST = 1100, 1000


def first_screen(page: Path) -> bytes:
    """Draw a page down to its sections, in light colors, as a PNG of at most 256 colors.

    Parameters
    ----------
    page : Path
        A report's ``report.html``.
    """
    with tempfile.TemporaryDirectory() as folder:
        browser = start(Path(folder) / "chromium")
        browser.screen(WIDTH)
        browser.open(page)
        end = browser.run("return document.querySelector('nav').getBoundingClientRect().top")
        browser.shoot(Path(folder) / "page.png")
        browser.driver.quit()
        with Image.open(Path(folder) / "page.png") as image:
            cut = image.crop((0, 0, image.width, min(int(end), MOST))).convert("RGB").quantize(256, dither=0)
    stream = io.BytesIO()
    cut.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the folder of a finished report")
    page = parser.parse_args().folder / "report.html"
    if not page.is_file():
        raise SystemExit(f"There is no {page}; give the folder that a study's last line names.")
    PICTURE.write_bytes(first_screen(page))
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
