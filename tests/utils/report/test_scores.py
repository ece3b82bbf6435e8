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
OF_ONE = (["<i>mine</i>"], ["by their scores"])
RATED = ["live", "csiq", "tid2013", "kadid10k", "flive", "spaq"]
SEVERAL = [*RATED, "<i>mine</i>", "koniq10k"]
OF_SEVERAL = (
    SEVERAL,
    ["by their scores" if name == "<i>mine</i>" else "by its ratings" for name in SEVERAL],
)
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
            (7 * i % len(names) / 40,),
            (None if i % 2 else i / 0.6,),
        )
        for i, name in enumerate(names)
    ]
    results.append(Score(folder / "gone.png", (0.4321,), (None,)))
    for name in ("<i>broken</i>" if sys.platform != "win32" else "broken", "b" * 200, "c"):
        path = folder / f"{name}.jpg".replace("/", "")
        path.write_bytes(b"no image")
        results.append(Score(path, error=f"{path}: not a readable image (cannot identify <b>it</b>)"))
    return results


def scored_by_several(results: list[Score]) -> list[Score]:
    """The images with scores of `SEVERAL`. Percentiles are not known for the last one, nor for every ninth image."""
    generator = np.random.default_rng(0)
    found = []
    for i, result in enumerate(results):
        values, percentiles = generator.normal(0.5, 0.4, 8), generator.uniform(0, 100, 7)
        known = [None] * 8 if i % 9 == 4 else [*percentiles.tolist(), None]
        found.append(result if result.error else Score(result.path, tuple(values.tolist()), tuple(known)))
    return found


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
    write_scores(path, results, MODEL, *OF_ONE)
    found = Cards(path)
    by_score = sorted((r for r in results if not r.error), key=lambda r: r.values)
    expected = [*(r for r in results if r.error), *by_score]
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
    results = [Score(photo(tmp_path / f"{i}.png", i, (900, 600)), (i,), (None,)) for i in range(4)]
    for few, longest in ((4, 320), (3, 160)):
        monkeypatch.setattr(scores, "FEW", few)
        write_scores(tmp_path / "scores.html", results, MODEL, *OF_ONE)
        thumbnails = Cards(tmp_path / "scores.html").thumbnails
        assert [thumbnail.size for thumbnail in thumbnails] == [(longest, round(longest * 2 / 3))] * 4
        for result, thumbnail in zip(results, thumbnails, strict=True):
            expected = Image.open(result.path).resize(thumbnail.size, Image.Resampling.BOX)
            difference = np.asarray(expected).astype(float) - np.asarray(thumbnail)
            assert np.abs(difference).mean() < 4


def test_no_more_than_a_few_thumbnails_are_held(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    path, results = tmp_path / "scores.html", [Score(tmp_path / "noise.png", (i,), (None,)) for i in range(100)]
    write_scores(path, results[:1], MODEL, *OF_ONE)
    tracemalloc.start()
    try:
        write_scores(path, results, MODEL, *OF_ONE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 5_000_000 > 2 * peak


def test_a_stop_leaves_the_page_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = [Score(photo(tmp_path / "photos" / f"{i}.png", i), (i,), (None,)) for i in range(4)]
    path = tmp_path / "out" / "scores.html"
    write_scores(path, results, MODEL, *OF_ONE)
    before = path.read_bytes()

    def stopped(image: Path, longest: int) -> Image.Image:
        if image == results[2].path:
            raise KeyboardInterrupt
        return Image.new("RGB", (9, 9))

    monkeypatch.setattr(page_parts, "open_thumbnail", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_scores(path, results, MODEL, *OF_ONE)
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
    write_scores(folder / "scores.html", gallery(folder / "photos"), MODEL, *OF_ONE)
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


def summary(tab: Any) -> dict[str, str]:
    return dict(zip(tab.locator("dt").all_text_contents(), tab.locator("dd").all_text_contents(), strict=True))


def shown_scores(tab: Any) -> list[float]:
    return [float(text.split()[0]) for text in tab.locator(".cards .score").all_text_contents()]


def test_the_top_says_what_was_scored(browser: Any, page: Path) -> None:
    values = [result.values[0] for result in gallery(page.parent / "photos") if not result.error]
    with opened(browser, page) as tab:
        top = tab.locator("header").inner_text()
        assert f"Scores of {len(values) + 3} images" in top and MODEL in top
        assert "“Better than” is the percentile among <i>mine</i>'s images, by their scores." in top
        assert not tab.get_by_role("combobox").is_visible()
        assert str(page.parent / "photos") in top and re.search(r"Written 20\d\d-\d\d-\d\d \d\d:\d\d", top)
        facts = summary(tab)
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
def several(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Score]]:
    """The page of several regressors, and its images with a score."""
    folder = tmp_path_factory.mktemp("several")
    results = scored_by_several(gallery(folder / "photos"))
    write_scores(folder / "scores.html", results, MODEL, *OF_SEVERAL)
    return folder / "scores.html", [result for result in results if not result.error]


def percentiles_of(results: list[Score]) -> np.ndarray:
    """Images x regressors with a percentile; NaN if it is not known."""
    return np.array([result.percentiles[:-1] for result in results], dtype=float)


def test_several_regressors_can_each_give_the_order(browser: Any, several: tuple[Path, list[Score]]) -> None:
    path, results = several
    shown = [r.path.relative_to(path.parent / "photos").as_posix() for r in results]
    shown = [name.encode("utf-8", "backslashreplace").decode() for name in shown]
    percentiles = percentiles_of(results)
    keys = {"mean percentile": percentiles.mean(axis=1)}
    keys.update((f"score of {dataset}", np.array([r.values[i] for r in results])) for i, dataset in enumerate(SEVERAL))
    keys["disagreement"] = np.ptp(percentiles, axis=1)
    assert np.isnan(keys["disagreement"]).sum() == 4

    def check(tab: Any, option: str, sign: int) -> None:
        key = sign * keys[option]
        known = np.isfinite(key).sum()
        order = [shown[i] for i in np.argsort(key)]  # NaN last
        found = names(tab)
        assert found[:known] == order[:known] and sorted(found) == sorted(order)

    with opened(browser, path) as tab:
        sort, order = tab.get_by_role("combobox", name="Sort by"), tab.get_by_role("group", name="Order")
        assert sort.locator("option").all_text_contents() == list(keys)
        check(tab, "mean percentile", 1)
        assert tab.locator("tr.key").count() == 0
        tab.get_by_role("searchbox").focus()
        for key in ("Tab", "ArrowDown"):
            tab.keyboard.press(key)
        check(tab, "score of live", 1)
        for option in keys:
            sort.select_option(label=option)
            assert order.is_visible() is (option != "disagreement")
            if option == "disagreement":
                check(tab, option, -1)
                continue
            for button, sign in (("Best first", -1), ("Worst first", 1)):
                order.get_by_role("button", name=button).click()
                check(tab, option, sign)
        sort.select_option(label="score of spaq")
        assert tab.locator("tr.key th").all_text_contents() == ["spaq"] * len(results)
        every = names(tab)
        tab.get_by_role("searchbox").fill("sub/1")
        assert names(tab) == [name for name in every if name.startswith("sub/1")]
        assert tab.get_by_role("status").inner_text() == f"10 of {len(results) + 3} shown"


def test_a_card_of_several_regressors(browser: Any, several: tuple[Path, list[Score]]) -> None:
    path, results = several
    with opened(browser, path) as tab:
        unknown = 0
        for result in (result for result in results if result.path.parent.name == "sub"):
            card = tab.locator(".cards li").filter(has=tab.get_by_text(f"sub/{result.path.name}", exact=True))
            rows = [row.split("\t") for row in card.get_by_role("row").all_inner_texts()]
            known = [percentile for percentile in result.percentiles if percentile is not None]
            assert rows == [
                [dataset, f"{value:.3f}", "" if percentile is None else f"{percentile:.0f} %"]
                for dataset, value, percentile in zip(SEVERAL, result.values, result.percentiles, strict=True)
            ]
            head = f"{np.mean(known):.0f} % mean, {min(known):.0f}–{max(known):.0f} % " if known else ""
            assert card.get_by_role("link", name=f"{head}sub/{result.path.name}", exact=True).count() == 1
            assert card.get_by_role("rowheader").count() == len(SEVERAL)
            unknown += not known
        assert unknown == 3


def test_the_top_of_several_regressors_is_about_their_mean_percentile(
    browser: Any, several: tuple[Path, list[Score]]
) -> None:
    path, results = several
    percentiles = percentiles_of(results)
    means = percentiles[np.isfinite(percentiles).all(axis=1)].mean(axis=1)
    with opened(browser, path) as tab:
        assert tab.locator("header p").last.inner_text() == (
            "“40 %” after a score means better than 40 % of that dataset's images, by its ratings "
            f"({', '.join(RATED)}); by their scores (<i>mine</i>). The first line of a card is the mean and the range "
            "of its percentiles; disagreement is the highest minus the lowest."
        )
        expected = {"median": np.median(means), "mean": means.mean(), "worst": means.min(), "best": means.max()}
        assert summary(tab) == {**{name: f"{value:.0f} %" for name, value in expected.items()}, "errors": "3"}
        assert "Mean percentile of an image:" in tab.locator(".summary").inner_text()
        drawing = tab.get_by_role("img", name=re.compile("Histogram of the mean percentiles"))
        assert f"from {means.min():.0f} % to {means.max():.0f} %" in drawing.get_attribute("aria-label")
        assert drawing.get_by_text("mean percentile", exact=True).count() == 1
        counts = tab.evaluate("[...document.querySelectorAll('svg title')].map(t => +t.textContent.split(': ')[1])")
        assert sum(counts) == len(means)


def test_several_regressors_without_percentiles_show_scores_only(browser: Any, tmp_path: Path) -> None:
    values = [(0.2, 0.7), (0.1, 0.8), (0.3, -0.9)]
    results = [Score(photo(tmp_path / f"{i}.png", i), scores, (None, None)) for i, scores in enumerate(values)]
    results.append(Score(tmp_path / "broken.png", error="broken"))
    kinds = ["by their scores", "by its ratings"]
    write_scores(tmp_path / "scores.html", results, MODEL, ["mine", "koniq10k"], kinds)
    with opened(browser, tmp_path / "scores.html") as tab:
        options = tab.get_by_role("combobox", name="Sort by").locator("option")
        assert options.all_text_contents() == ["score of mine", "score of koniq10k"]
        assert names(tab) == ["1.png", "0.png", "2.png"]
        assert tab.locator(".cards li").first.inner_text().split() == ["1.png", "mine", "0.100", "koniq10k", "0.800"]
        assert summary(tab) == {"errors": "1"} and tab.locator("svg").count() == 0
        text = tab.locator("body").inner_text()
        assert "%" not in text and "ercentile" not in text and "isagreement" not in text


@pytest.fixture(scope="module")
def page_of_10000(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    image = Image.open(photo(folder / "photo.png", 0))
    image.thumbnail((160, 160))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_parts, "open_thumbnail", lambda path, longest: image)
        results = [Score(folder / f"{i:05}.png", (i / 10_000,), (None,)) for i in range(10_000)]
        write_scores(folder / "scores.html", results, MODEL, *OF_ONE)
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
