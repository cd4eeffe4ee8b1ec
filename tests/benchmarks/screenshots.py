"""Take the pictures of the page that the README shows, in Chromium.

    python -m tests.benchmarks.screenshots LIBRARY OUT QUERY QUERY_OF_THE_ITEM

Serves the library and writes ``results.webp``, what a query gives, and ``item.webp``, the best hit
of another query with what answers it.
"""

import argparse
import io
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from searchx.search import Library
from tests.pages.browsing import ARGUMENTS, CHROMIUM, serving
from web.app import create_app

SIZE = {"width": 1280, "height": 800}
LOADED = "() => [...document.images].every((one) => one.complete || one.loading === 'lazy')"


def take(browser: Browser, address: str, file: Path, scheme: str) -> None:
    context = browser.new_context(viewport=SIZE, color_scheme=scheme, device_scale_factor=1)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.wait_for_function(LOADED)
    page.mouse.move(5, 400)  # over nothing
    Image.open(io.BytesIO(page.screenshot())).save(file, quality=82, method=6)
    print(f"{file}: {file.stat().st_size / 1000:.0f} kB")
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("library", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("query")
    parser.add_argument("item")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with (
        Library.open(asked.library) as library,
        serving(create_app(library)) as address,
        sync_playwright() as playwright,
    ):
        best = library.search(asked.item, 1)[0].id
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        results = f"{address}/?{urlencode({'q': asked.query})}"
        item = f"{address}/items/{best}?{urlencode({'q': asked.item, 'why': 1})}"
        take(browser, results, asked.out / "results.webp", "light")
        take(browser, item, asked.out / "item.webp", "dark")
        browser.close()


if __name__ == "__main__":
    main()
