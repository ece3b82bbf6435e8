"""The page of scored images: what is written, and what a person sees of it in a real browser."""

import io
import json
import os
import re
import sys
import tracemalloc
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from PIL import Image

from models.errors import UserError
from utils.evaluation.inference import Score
from utils.report import page_parts, scores
from utils.report.scores import check_report, write_scores

MODEL = "released weights, <b>kadid10k</b>, crops of 224"
AMONG = "<i>mine</i>'s images, by their scores"
STRANGE = [
    "<script>document.title='broken'<script>.png",
    '"quotes\' & more".png',
    "=cmd().png",
    "a#b?c%20d.png",
    "javascript:alert(1).png",
    "line\nbreak.png",
    "ÜBER.png",
    "word" * 60 + ".png",
]
STRANGE += [os.fsdecode(b"not utf-8 \xff.png")] if sys.platform == "linux" else []
if sys.platform == "win32":
    STRANGE = ["=cmd().png", "a#b%20d & 'c'.png", "ÜBER.png", "word" * 30 + ".png"]


def photo(path: Path, seed: int, size: tuple[int, int] = (400, 300)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def gallery(folder: Path) -> list[Score]:
    """Images of many sizes and names, one whose file is gone, and three errors."""
    sizes = [(400, 300), (300, 400), (4000, 20), (1, 1), (20, 900)]
    names = [*STRANGE, *(f"sub/{i:02}.png" for i in range(30))]
    results = [
        Score(
            photo(folder / name, i, sizes[i % len(sizes)]),
            (7 * i % len(names)) / 40,
            percentile=None if i % 2 else i / 0.6,
        )
        for i, name in enumerate(names)
    ]
    results.append(Score(folder / "gone.png", 0.4321))
    for name in ("<i>broken</i>" if sys.platform != "win32" else "broken", "b" * 200, "c"):
        path = folder / f"{name}.jpg".replace("/", "")
        path.write_bytes(b"no image")
        results.append(Score(path, error=f"{path}: not a readable image (cannot identify <b>it</b>)"))
    return results


class Cards:
    """The address, the name and the thumbnail of each image on a page, errors first, and the names of all tags."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        errors = re.findall(r'<a class="name" href="(.*?)">(.*?)</a>', text, re.DOTALL)
        data = re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)
        images = json.loads(data[0])
        self.tags = re.findall(r"<(\w+)", text)
        self.links = [*(unescape(link) for link, _ in errors), *(link for _, link, *_ in images)]
        self.names = [*(unescape(name) for _, name in errors), *(name for name, *_ in images)]
        pictures = [picture.removeprefix("data:image/jpeg;base64,") for *_, picture in images if picture]
        self.thumbnails = [Image.open(io.BytesIO(b64decode(picture))) for picture in pictures]


def test_each_image_has_its_name_and_a_link_to_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = gallery(tmp_path / "photos")
    path = tmp_path / "out" / "scores.html"
    write_scores(path, results, MODEL, AMONG)
    found = Cards(path)
    by_score = sorted((r for r in results if r.value is not None), key=lambda r: r.value or 0)
    expected = [*(r for r in results if r.value is None), *by_score]
    targets = [Path(os.fsdecode(os.path.normpath(os.fsencode(path.parent) + b"/" + unquote_to_bytes(link))))
               for link in found.links]  # fmt: skip
    assert targets == [result.path for result in expected]
    shown = [r.path.relative_to(tmp_path / "photos").as_posix() for r in expected]
    assert found.names == [name.encode("utf-8", "backslashreplace").decode() for name in shown]
    assert found.tags.count("script") == 3 and "i" not in found.tags and "b" not in found.tags
    assert len(found.thumbnails) == len(by_score) - 1
    assert "1 without a picture" in capsys.readouterr().err
    assert list(path.parent.iterdir()) == [path]


def test_a_thumbnail_shows_its_image_and_is_smaller_on_a_page_of_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = [Score(photo(tmp_path / f"{i}.png", i, (900, 600)), i) for i in range(4)]
    for few, longest in ((4, 320), (3, 160)):
        monkeypatch.setattr(scores, "FEW", few)
        write_scores(tmp_path / "scores.html", results, MODEL, AMONG)
        thumbnails = Cards(tmp_path / "scores.html").thumbnails
        assert [thumbnail.size for thumbnail in thumbnails] == [(longest, round(longest * 2 / 3))] * 4
        for result, thumbnail in zip(results, thumbnails, strict=True):
            expected = Image.open(result.path).resize(thumbnail.size, Image.Resampling.BOX)
            difference = np.asarray(expected).astype(float) - np.asarray(thumbnail)
            assert np.abs(difference).mean() < 4


def test_no_more_than_a_few_thumbnails_are_held(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    path, results = tmp_path / "scores.html", [Score(tmp_path / "noise.png", i) for i in range(100)]
    write_scores(path, results[:1], MODEL, AMONG)
    tracemalloc.start()
    try:
        write_scores(path, results, MODEL, AMONG)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 5_000_000 > 2 * peak


def test_a_stop_leaves_the_page_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [Score(photo(tmp_path / "photos" / f"{i}.png", i), i) for i in range(4)]
    path = tmp_path / "out" / "scores.html"
    write_scores(path, results, MODEL, AMONG)
    before = path.read_bytes()

    def stopped(image: Path, longest: int) -> Image.Image:
        if image == results[2].path:
            raise KeyboardInterrupt
        return Image.new("RGB", (9, 9))

    monkeypatch.setattr(page_parts, "open_thumbnail", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_scores(path, results, MODEL, AMONG)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_what_cannot_become_the_page_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").touch()
    for name, message in (("folder.html", "is a folder"), ("file/scores.html", "cannot be written")):
        with pytest.raises(UserError, match=message) as error:
            check_report(tmp_path / name)
        assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    check_report(tmp_path / "new" / "scores.HTM")
    check_report(tmp_path / "scores.html")
    assert not (tmp_path / "scores.html").exists()


# What a browser shows; test_layout.py checks the layout.


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scores")
    write_scores(folder / "scores.html", gallery(folder / "photos"), MODEL, AMONG)
    return folder / "scores.html"


@contextmanager
def opened(browser: Any, path: Path, width: int = 1400, scheme: str = "light") -> Iterator[Any]:
    """A tab with the page. At the end: no error on the console, nothing asked for but the page."""
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    errors: list[str] = []
    tab.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
    tab.goto(path.as_uri())
    yield tab
    assert errors == []
    tab.close()


def names(tab: Any) -> list[str]:
    """The names of the scored images that are shown, in their order."""
    return tab.evaluate("[...document.querySelectorAll('.cards li:not([hidden]) .name')].map(name => name.textContent)")


def shown_scores(tab: Any) -> list[float]:
    return [float(text.split()[0]) for text in tab.locator(".cards .score").all_text_contents()]


def test_the_top_says_what_was_scored(browser: Any, page: Path) -> None:
    values = [result.value for result in gallery(page.parent / "photos") if result.value is not None]
    with opened(browser, page) as tab:
        top = tab.locator("header").inner_text()
        assert f"Scores of {len(values) + 3} images" in top and MODEL in top
        assert f"“Better than” is the percentile among {AMONG}." in top
        assert str(page.parent / "photos") in top and re.search(r"Written 20\d\d-\d\d-\d\d \d\d:\d\d", top)
        facts = dict(zip(tab.locator("dt").all_text_contents(), tab.locator("dd").all_text_contents(), strict=True))
        expected = {"median": np.median(values), "mean": np.mean(values), "worst": min(values), "best": max(values)}
        assert facts == {**{name: f"{value:.3f}" for name, value in expected.items()}, "errors": "3"}
        drawing = tab.get_by_role("img", name=re.compile("Histogram"))
        assert f"from {min(values):.3f} to {max(values):.3f}" in drawing.get_attribute("aria-label")
        assert tab.evaluate(
            "[...document.querySelectorAll('svg title')].every(t => / to .*: \\d+/.test(t.textContent))"
        )
        assert "not a readable image (cannot identify <b>it</b>)" in tab.locator("#errors").inner_text()


def test_search_and_order_by_keyboard(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        every, values = names(tab), shown_scores(tab)
        assert values == sorted(values)
        tab.keyboard.press("Tab")  # the link to the errors
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement === document.getElementById('search')")
        status = tab.get_by_role("status")
        for text, found in (
            ("ÜBer", ["ÜBER.png"]),
            ("U\u0308BER", ["ÜBER.png"]),  # as macOS writes it
            ("sub/0", [name for name in every if name.startswith("sub/0")]),
            ("no such", []),
            ("", every),
        ):
            tab.get_by_role("searchbox", name="Search").fill(text)
            assert names(tab) == found
            errors = 3 if text == "" else 0
            assert status.inner_text() == f"{len(found) + errors} of {len(every) + 3} shown"
            assert tab.locator("#errors").is_visible() is (errors > 0)
        tab.keyboard.type("C.JPG")
        assert status.inner_text() == f"1 of {len(every) + 3} shown"
        assert tab.locator("#errors li:visible .name").all_text_contents() == ["c.jpg"]
        tab.get_by_role("searchbox").fill("")
        tab.keyboard.press("Tab")
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.matches(':focus-visible') && document.activeElement.textContent"
                            " && getComputedStyle(document.activeElement).outlineStyle === 'solid'")  # fmt: skip
        assert tab.evaluate("document.activeElement.textContent") == "Best first"
        for _ in range(2):  # the second press changes nothing
            tab.keyboard.press("Enter")
            assert names(tab) == every[::-1] and shown_scores(tab) == sorted(values, reverse=True)
            assert tab.get_by_role("button", pressed=True).inner_text() == "Best first"
        tab.get_by_role("searchbox").fill("sub/1")
        tab.get_by_role("button", name="Worst first").click()
        assert names(tab) == [name for name in every if name.startswith("sub/1")]


def test_a_screen_reader_hears_lists_of_named_links(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        images = tab.get_by_role("list").and_(tab.locator("#cards"))
        assert images.count() == 1
        cards = images.get_by_role("listitem")
        assert cards.count() == len(STRANGE) + 31
        assert cards.nth(6).get_attribute("aria-posinset") == "7"
        assert cards.nth(6).get_attribute("aria-setsize") == str(cards.count())
        place = names(tab).index("sub/07.png")
        position = len(STRANGE) + 7
        place_of = f" better than {100 * position / 60:.0f} %" if position % 2 == 0 else ""
        name = f"{shown_scores(tab)[place]:.3f}{place_of} sub/07.png"
        assert images.get_by_role("link", name=name, exact=True).count() == 1
        assert tab.get_by_role("region", name="Without a score").get_by_role("listitem").count() == 3
        assert tab.get_by_role("group", name="Order").get_by_role("button").count() == 2
        assert tab.evaluate("[...document.images].every(image => image.hasAttribute('alt'))")


def test_a_click_opens_the_image(browser: Any, page: Path) -> None:
    wanted = STRANGE if sys.platform != "win32" else STRANGE[:1]
    for name in [*wanted[:3], wanted[-1]]:
        with opened(browser, page) as tab:
            shown = name.encode("utf-8", "backslashreplace").decode()
            place = names(tab).index(shown)
            tab.locator(".cards li").nth(place).locator("img").click()
            tab.wait_for_url(lambda url: url.endswith(".png"))
            assert tab.evaluate("document.images[0].naturalWidth") > 0


def test_printed_in_dark_it_has_every_image_on_white(browser: Any, page: Path, tmp_path: Path) -> None:
    with opened(browser, page, 1024, "dark") as tab:
        tab.pdf(path=str(tmp_path / "page.pdf"), format="A4")
        content = (tmp_path / "page.pdf").read_bytes()
        assert content.count(b"/Subtype /Image") == tab.locator(".cards img").count()
        tab.emulate_media(media="print", color_scheme="dark")
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not tab.get_by_role("searchbox").is_visible()


@pytest.fixture(scope="module")
def page_of_10000(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    image = Image.open(photo(folder / "photo.png", 0))
    image.thumbnail((160, 160))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_parts, "open_thumbnail", lambda path, longest: image)
        results = [Score(folder / f"{i:05}.png", i / 10_000) for i in range(10_000)]
        write_scores(folder / "scores.html", results, MODEL, AMONG)
    return folder / "scores.html"


def test_of_10000_images_only_a_few_are_drawn(browser: Any, page_of_10000: Path) -> None:
    with opened(browser, page_of_10000, 2560) as tab:
        cards, status = tab.locator(".cards li"), tab.get_by_role("status")
        assert 100 <= cards.count() <= 500
        last = "document.querySelector('.cards li:last-child').getBoundingClientRect().bottom"
        assert tab.evaluate(last) > tab.viewport_size["height"]  # the window is full
        assert shown_scores(tab)[:2] == [0, 0]
        tab.get_by_role("searchbox").fill("77")
        expected = [f"{i:05}.png" for i in range(10_000) if "77" in f"{i:05}"]
        assert len(expected) > 120 and status.inner_text() == f"{len(expected)} of 10000 shown"
        for _ in range(20):  # more come as one scrolls
            tab.evaluate("scrollTo(0, document.body.scrollHeight)")
            tab.evaluate("() => new Promise(done => setTimeout(done, 50))")
        assert names(tab) == expected
        tab.get_by_role("button", name="Best first").click()
        few = names(tab)
        assert few == expected[::-1][: len(few)]
        assert tab.locator(".cards li").first.bounding_box()["y"] > 0  # from the end of the page back to the first
        tab.pdf()
        assert names(tab) == expected[::-1]
        tab.get_by_role("searchbox").fill("")
        assert status.inner_text() == "10000 of 10000 shown"
        assert 100 <= cards.count() <= 500 and shown_scores(tab)[0] == 1
