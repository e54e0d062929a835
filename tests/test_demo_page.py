"""The page of `tfhash demo` in a browser: what a person drops, sees and reads."""

import base64
import functools
import shutil

import numpy as np
import pytest
from demo_cases import BITS, COPIES, PHOTOS, SHAPE, app_of, write_index, write_photos
from serving_cases import file_of, photo, served

from tfhash.experiments import ImageIndex
from tfhash.experiments.demo_page.query import ByModel

playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium: apt install chromium"
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        # Its sandbox does not start as root, which tests in containers are.
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def model(make_model):
    return make_model(image_shape=SHAPE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("demo") / "photos")


@pytest.fixture(scope="module")
def index(folder, model):
    index = ImageIndex.load(write_index(folder, folder.parent / "photos.index", model))
    (folder / "trips" / "07.png").unlink()
    return index


@pytest.fixture(scope="module")
def url(index, model):
    with served(app_of(index, ByModel(model))) as url:
        yield url


@pytest.fixture
def open_page(browser, url):
    """Opens the page; at the end, nothing went wrong in it and it asked this server alone."""
    problems, contexts = [], []

    def open_page(url=url, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(120_000)  # machines that run tests are busy
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: check_address(request.url))
        page.goto(url)
        page.wait_for_selector("#examples li")
        return page

    def check_address(address):
        if not address.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:", "data:")):
            problems.append(address)

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def drop(page, name, contents):
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": contents})


def search(page, folder, name="copy 0.png"):
    drop(page, name, (folder / name).read_bytes())
    page.wait_for_selector("#neighbors li")


def shown(page):
    """Names and distances of the neighbors."""
    items = page.locator("#neighbors li").all()
    return [
        (item.locator(".name").text_content(), item.locator(".distance").text_content())
        for item in items
    ]


def wait_for_text(page, selector, text):
    page.locator(selector, has_text=text).wait_for()


def set_slider(page, name, value):
    page.locator(f"#{name}").fill(str(value))


def test_a_dropped_image_shows_its_code_and_its_nearest_images(open_page, index, folder):
    page = open_page()
    search(page, folder)
    code = index.index.codes[0]
    drawn = page.locator("#code svg")
    bits = drawn.get_attribute("aria-label").removeprefix("code ").replace(" ", "")
    assert bits == "".join(map(str, np.unpackbits(code, bitorder="little")[:BITS]))
    kinds = [square.get_attribute("class") for square in drawn.locator("rect:not(.paper)").all()]
    assert kinds == ["one" if bit == "1" else "zero" for bit in bits]
    distances, ids = index.index.search(code[None], 12)
    expected = [
        (name, f"{distance} bit{'s' * (distance != 1)}")
        for name, distance in zip(index.names_of(ids[0]), distances[0].tolist())
    ]
    assert shown(page) == expected
    # The frames of bits that differ are as many as the distance.
    frames = [len(item.locator(".differs").all()) for item in page.locator("#neighbors li").all()]
    assert frames == distances[0].tolist()


def test_an_image_dropped_by_the_mouse_is_searched_for(open_page, folder):
    page = open_page()
    contents = base64.b64encode((folder / "copy 0.png").read_bytes()).decode()
    page.evaluate(
        """(contents) => {
            const data = new DataTransfer();
            const bytes = Uint8Array.from(atob(contents), (character) => character.charCodeAt(0));
            data.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        }""",
        contents,
    )
    page.wait_for_selector("#neighbors li")
    assert page.locator("#query-name").text_content() == "dropped.png"


def test_a_broken_file_is_explained_and_the_next_one_is_searched_for(open_page, folder):
    page = open_page()
    search(page, folder)
    drop(page, "notes.png", b"hello, world")
    page.wait_for_selector("#error")
    assert "received 12 bytes, which start with hello" in page.locator("#error").text_content()
    assert page.locator("#error").get_attribute("role") == "alert"
    # Nothing is left of the search before.
    assert not page.locator("#query").is_visible()
    assert shown(page) == []
    search(page, folder)
    assert not page.locator("#error").is_visible()


def test_the_sliders_search_again(open_page, folder):
    page = open_page()
    search(page, folder)
    page.locator("#radius").focus()
    page.keyboard.press("Home")
    wait_for_text(page, "#radius-shown", "0 bits")
    wait_for_text(page, "#found", f"{COPIES + 1} images within 0 bits, which is all")
    assert {distance for _, distance in shown(page)} == {"0 bits"}
    set_slider(page, "k", 2)
    wait_for_text(page, "#found", "The 2 nearest images; more are within 0 bits; of equal")
    assert len(shown(page)) == 2
    set_slider(page, "radius", 12)
    set_slider(page, "k", 15)
    wait_for_text(page, "#found", f"{PHOTOS + COPIES} images within 12 bits, which is all")
    assert len(shown(page)) == PHOTOS + COPIES


def test_a_slider_that_moves_while_an_image_is_encoded_changes_its_search_alone(open_page, folder):
    page = open_page()
    search(page, folder)
    held, searched = [], []
    page.route("**/api/codes", lambda route: held.append(route))
    page.on("request", lambda request: searched.append(request.url))
    drop(page, "new.png", (folder / "trips" / "03.png").read_bytes())
    wait_for_text(page, "#found", "Encoding")
    set_slider(page, "k", 2)
    page.wait_for_timeout(300)  # longer than a slider waits
    assert not any("api/neighbors" in url for url in searched)
    held[0].continue_()
    wait_for_text(page, "#found", "The 2 nearest images")
    assert page.locator("#query-name").text_content() == "new.png"
    assert len(shown(page)) == 2


def test_duplicates_are_shown_in_groups(open_page):
    page = open_page()
    page.locator("#find").click()
    wait_for_text(page, "#groups-found", "1 group within 0 bits, with 4 of 15 images.")
    assert page.locator("#groups h3").all_text_contents() == ["Group 1: 4 images, 0 bits apart"]
    assert page.locator("#groups img").count() == 4
    set_slider(page, "group-radius", 9)
    page.locator("#find").click()
    wait_for_text(page, "#groups-found", "may not be copies")


def test_a_file_that_is_gone_is_said_to_be_missing(open_page, folder):
    page = open_page()
    search(page, folder)
    set_slider(page, "k", 15)
    wait_for_text(page, "#found", "1 file not shown: missing")
    missing = page.locator("#neighbors li", has_text="trips/07.png")
    assert missing.locator(".gone").text_content() == "missing"
    assert missing.locator("img").count() == 0


def test_the_keyboard_reaches_everything_in_order(open_page):
    page = open_page()
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert reached[0] == "file"
    assert reached[1:13] == ["BUTTON"] * 12
    assert reached[13:15] == ["group-radius", "find"]
    page.locator("#examples button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#neighbors li")
    assert page.locator("#query-name").text_content() == "copy 0.png"


def test_pictures_and_controls_have_names(open_page, folder):
    page = open_page()
    search(page, folder)
    page.locator("#find").click()
    page.wait_for_selector("#groups article")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("img, svg, button, input")].filter((each) =>
            !(each.alt || each.title || each.textContent.trim() || each.getAttribute("aria-label")
              || (each.labels && each.labels.length))).map((each) => each.outerHTML)"""
    )
    assert unnamed == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_themes(open_page, folder, scheme):
    page = open_page(color_scheme=scheme)
    colors = functools.partial(
        page.eval_on_selector,
        expression="e => { const s = getComputedStyle(e); return [s.color, s.backgroundColor]; }",
    )
    ink, paper = (luminance(color) for color in colors("body"))
    assert (paper < ink) == (scheme == "dark")
    drop(page, "notes.png", b"hello, world")
    page.wait_for_selector("#error")
    for selector in ("body", "#error", "#find"):
        dark, light = sorted(luminance(color) for color in colors(selector))
        assert (light + 0.05) / (dark + 0.05) > 4.5  # WCAG 2, level AA


def luminance(color):
    """Relative luminance of a color "rgb(r, g, b)", as WCAG 2 defines it."""
    values = [int(value) / 255 for value in color.strip("rgb()").split(",")]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear))


@pytest.mark.parametrize("width", [320, 390])
def test_the_page_fits_a_phone(open_page, folder, width):
    page = open_page(viewport={"width": width, "height": 800})
    search(page, folder)
    page.locator("#find").click()
    page.wait_for_selector("#groups article")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_a_model_the_page_says_what_is_missing(open_page, index, folder):
    with served(app_of(index)) as url:
        page = open_page(url)
        problem = page.locator("#problem").text_content()
        assert problem == "Only indexed images can be searched for: there is no model."
        search(page, folder)
        assert page.locator("#query-name").text_content() == "copy 0.png"
        drop(page, "other.png", file_of(photo(np.random.default_rng(9)), "PNG"))
        wait_for_text(page, "#error", "not one of the indexed files, and there is no model")


def test_a_server_that_was_stopped_is_said(open_page, index, folder):
    with served(app_of(index)) as url:
        page = open_page(url)
    drop(page, "copy 0.png", (folder / "copy 0.png").read_bytes())
    wait_for_text(page, "#error", "The server does not answer")
