"""The report: missing files, damaged files, and the report of a small real run in a real browser."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data.photo_set import TEST_SET, make
from models.errors import UserError
from models.experiment import Experiment
from models.regressor import SCORE_KINDS
from tests.contract.runs import quick
from tests.utils.evaluation.test_comparison import frame
from tests.utils.experiment.test_wandb import history, summary
from utils.distortions import DISTORTIONS
from utils.evaluation.manifold import Manifold
from utils.evaluation.protocol import DatasetResult, Prediction
from utils.evaluation.results import CrossResult, Results, write_results
from utils.report.page import write_report

NASTY = "<img src=x onerror=document.title='broken'>&\"'"


def results(name: str = "kadid10k", **more: Any) -> Results:
    scores = {"global": {metric: np.array([0.5, 0.7]) for metric in ("srocc", "plcc", "krocc", "rmse", "mae")}}
    scores[NASTY] = scores["global"]
    predictions = [Prediction(f"nowhere/{NASTY}{i}.png", i / 10, i / 8, NASTY, NASTY) for i in range(20)]
    return Results(
        [DatasetResult(name, 0.1, 1.0, np.ones((2, 100)), scores, predictions, [], False, "own", "hash of rows")],
        "0" * 16,
        **more,
    )


def page(folder: Path) -> str:
    return write_report(Experiment(folder, "title")).read_text(encoding="utf-8")


def test_the_cross_dataset_matrix_has_rows_fitted_on_and_columns_tested_on(tmp_path: Path) -> None:
    cross = [CrossResult("live", "csiq", 0.8, 0.7), CrossResult("csiq", "live", 0.6, 0.5)]
    write_results(results(cross=cross), Experiment(tmp_path, "title"))
    text = page(tmp_path)
    assert "SROCC across datasets: fitted on the row, tested on the column" in text
    (matrix,) = re.findall(r'<table[^>]*matrix">.*?</table>', text, re.DOTALL)
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in matrix.split("</tr>")[:-1]]
    assert rows == [["", "csiq", "live"], ["csiq", "–", "0.600"], ["live", "0.800", "–"]]


HEADER = "step,epoch,loss,learning_rate,images_per_second,srocc,plcc"


def test_the_report_of_an_empty_experiment_lists_what_is_missing(tmp_path: Path) -> None:
    text = page(tmp_path)
    for line in ("no training:", "no test results yet", "no manifold"):
        assert line in text


def test_an_unfinished_training_is_named(tmp_path: Path) -> None:
    log = tmp_path / "metrics.csv"
    (tmp_path / "config.yaml").write_text("training: {epochs: 5}\nseed: 3\n")
    log.write_text(f"{HEADER}\n1,0,4.0,0.1,9,,\n2,0,3.5,0.1,9,,\n2,0,,,,0.4,0.5\n3,1,3")
    (tmp_path / "pretrain").mkdir()
    assert "no epoch has been validated yet" in page(tmp_path)
    (tmp_path / "pretrain" / "best_epoch_0_srocc_0.400_plcc_0.500.pth").touch()
    text = page(tmp_path)
    assert "of 5 epochs begun" in text and "training is not finished: 3 of 10 steps are done" in text
    (tmp_path / "config.yaml").write_text("training: {epochs: 2}\nseed: 3\n")
    assert "training is not finished: 3 of 4 steps are done" in page(tmp_path)  # in the last epoch
    with log.open("a") as file:
        file.write(".0,0.1,9,,\n4,1,3.0,0.1,9,,\n")
    text = page(tmp_path)
    assert "training step 4 of 4, 2 of 2 epochs begun" in text and "training is not finished" not in text


def test_training_that_continued_after_the_test_is_named(tmp_path: Path) -> None:
    experiment = Experiment(tmp_path, "title")
    first, better = experiment.best_checkpoint(0, None), experiment.best_checkpoint(2, None)
    first.parent.mkdir()
    first.touch()
    found = results()
    found.checkpoint = first.name
    write_results(found, experiment)
    text = page(tmp_path)
    assert f"tested weights: {first.name}" in text and "run test.py again" not in text
    first.rename(better)
    line = f"the results are of {first.name}, the best weights are now {better.name}: run test.py again"
    assert line in page(tmp_path)


def test_the_outcome_is_on_top_with_the_kind_of_scores(tmp_path: Path) -> None:
    found = results("clive", untrained={"clive": results("clive").datasets[0]})
    found.datasets[0].tested = frame(1.0)
    low, high = found.datasets[0].srocc_interval or (0, 0)
    sentence = (
        f"On clive, the predictions order test images with SROCC 0.60 [{low:.2f}, {high:.2f}]; before training 0.60"
    )
    for kind, words in SCORE_KINDS.items():
        found.datasets[0].score_kind = kind
        write_results(found, Experiment(tmp_path, "title"))
        header = page(tmp_path).split("</header>")[0]
        counts = "median of 2 splits, 20 test images in the first"
        assert f"{sentence} (1: perfect order, 0: none). Scores: {words}; {counts}." in header
        assert ("Scores: human scores;" in header) == (kind == "human")


def test_one_training_step_and_one_validation_are_numbers_and_not_plots(tmp_path: Path) -> None:
    log = tmp_path / "metrics.csv"
    log.write_text(f"{HEADER}\n1,0,4.0,0.1,9,,\n")
    assert "Not tested yet; training step 1; loss 4.000 at the first step." in page(tmp_path)
    start = f"{HEADER},live_srocc\n1,0,4.0,0.1,9,,,\n2,0,3.5,0.1,9,,,\n2,0,,,,0.4,0.5,0.4\n"
    log.write_text(start)
    text = page(tmp_path)
    assert "last validation, after epoch 0: median SROCC 0.400 on live" in text.split("</header>")[0]
    assert "Validation SROCC after each epoch" not in text and text.count("<svg") == 2
    (tmp_path / "environment.json").write_text('{"Python": "3.12", "splits of live": "shipped (1234)"}')
    text = page(tmp_path)
    assert "median SROCC 0.400 on live (shipped splits)" in text and "<dd>shipped (1234)</dd>" in text
    log.write_text(f"{start}3,1,3.2,0.1,9,,,\n3,1,,,,0.6,0.5,0.6\n")
    assert "Validation SROCC after each epoch" in page(tmp_path)


def test_only_a_page_with_a_manifold_has_a_script_of_megabytes(tmp_path: Path) -> None:
    write_results(results(), Experiment(tmp_path, "title"))
    assert len(page(tmp_path)) < 200_000
    points = {"t-SNE": [[0.0, 0.0], [1.0, 1.0]]}
    kinds = [NASTY, "$y_$^"]
    Manifold("live", points, [NASTY, "b"], kinds, kinds, [1, 2], [1, 2]).save(tmp_path / "manifold.json")
    text = page(tmp_path)
    assert len(text) > 1_000_000 and text.count("Plotly.newPlot(") >= 2 and "<img src=x" not in text


def test_failures_and_published_results_are_shown(tmp_path: Path) -> None:
    write_results(results(published=True, failures={"live": "LIVE: no such folder"}), Experiment(tmp_path, "title"))
    text = page(tmp_path)
    assert "live has no result: LIVE: no such folder" in text and "file not readable" in text
    assert "published srocc" in text and "0.908" in text and "the authors' figures" in text
    assert '<td class="text">own</td>' in text and "hash of rows" not in text


def test_a_full_reference_test_is_named_with_its_published_figures(tmp_path: Path) -> None:
    cross = [CrossResult("live", "csiq", 0.8, 0.7)]
    for full_reference in (True, False):
        write_results(
            results(full_reference=full_reference, published=True, cross=cross), Experiment(tmp_path, "title")
        )
        text = page(tmp_path)
        assert f"{'Full' if full_reference else 'No'}-reference image quality assessment" in text
        assert ("CONTRIQUE srocc" in text and "0.946" in text) == full_reference
        assert ("published srocc" in text and "Published SROCC across datasets" in text) != full_reference


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("results.json", "{", "not as it is written here"),
        ("results.json", "[" * 10**5, "not as it is written here"),
        ("results.json", "{}", "not as test.py writes it .lacks 'summary'"),
        ("manifold.json", '{"a": 1}', "not as it is written here"),
        ("config.yaml", "[" * 10**5, "config.yaml: not valid YAML"),
        ("metrics.csv", "loss,srocc,epoch,step\n1,,x,y\n", "not a log of training"),
        ("config.yaml", "seed: 1\nseed: 2", "seed is given twice"),
        ("metrics.csv", "nothing\n1\n", "not a log of training"),
    ],
    ids=lambda text: text[:20],  # a deep file makes no readable name
)
def test_a_damaged_file_gives_a_one_line_message(tmp_path: Path, file: str, content: str, match: str) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=match) as error:
        write_report(Experiment(tmp_path, "title"))
    assert str(tmp_path / file) in str(error.value)


def test_the_report_of_each_kind_of_test_is_written_on_its_own(tmp_path: Path) -> None:
    command = (tmp_path, "utils.report", "--experiment_name", "mine")
    mine = Experiment(tmp_path / "experiments" / "mine", "mine")
    write_results(results(), mine.of("arniqa"))
    assert "add --eval_type arniqa" in quick(*command).error
    write_results(results(full_reference=True), mine.full_reference)
    tested = {"--eval_type=arniqa": mine.of("arniqa"), "--full_reference": mine.full_reference}
    for option, experiment in tested.items():
        ended = quick(*command, option)
        assert ended.code == 0 and experiment.report.exists(), ended.err


@pytest.fixture(scope="module")
def real_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small real run: 5 training photos, a test set of 4 references, 4 types and 3 levels."""
    folder = tmp_path_factory.mktemp("report")
    photos = folder / "photos"
    photos.mkdir()
    for i in range(9):
        small = np.random.default_rng(i).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(small).resize((60, 48), Image.Resampling.BICUBIC).save(photos / f"p{i}.png")
    make(photos, folder / "data", references=4, seed=0)
    labels = folder / "data" / TEST_SET / "labels.csv"
    table = pd.read_csv(labels)
    table = table[table["type"].isin(list(DISTORTIONS)[::6]) & table["level"].isin([1, 3, 5])]
    table.to_csv(labels, index=False)
    (folder / "config.yaml").write_text(
        f"""
experiment_name: small
data_base_path: data
device: cpu
training: {{epochs: 2, batch_size: 4, num_workers: 0, lr: 1e-4, data: {{patch_size: 32}}}}
validation: {{datasets: [{TEST_SET}], visualization: {{tsne: {{n_components: 2, n_iter: 250}}}}}}
test: {{datasets: [{TEST_SET}], crop_size: 32, num_workers: 0, compare_untrained: true}}
model: {{encoder: {{pretrained: false}}}}
logging: {{wandb: {{online: false}}}}
""",
        encoding="utf-8",
    )
    ended = quick(folder, "main.py", "--config", "config.yaml")
    assert ended.code == 0, ended.err
    experiment = folder / "experiments" / "small"
    made = {path.name for path in experiment.iterdir()}
    assert {"report.html", "manifold.json", "manifold_tsne_groups.png", "manifold_tsne_mos.png"} <= made
    # Add 3-D UMAP points, because the optional package may be missing. The browser test also needs a 3-D plot.
    manifold = json.loads((experiment / "manifold.json").read_text(encoding="utf-8"))
    manifold["points"]["UMAP"] = [[*point[:2], 1.0] for point in manifold["points"]["t-SNE"]]
    (experiment / "manifold.json").write_text(json.dumps(manifold), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # the paths of the pictures are relative
        return write_report(Experiment(experiment, "small"))


PICTURES = ("T-SNE", "MOS_T-SNE", "input")


def test_wandb_gets_the_manifold_and_the_results(real_report: Path) -> None:
    rows = history(real_report.parent)
    with_picture = {name: sum(any(key.startswith(f"{name}.") for key in row) for row in rows) for name in PICTURES}
    assert with_picture == dict.fromkeys(PICTURES, 2)  # two validations; the first batch of each of two epochs
    assert [row["_step"] for row in rows if "loss" in row] == [0, 4]  # images seen before the step
    assert all("lr" in row for row in rows if "loss" in row)
    assert [row["_step"] for row in rows if f"val_plcc_{TEST_SET}" in row] == [3, 7]
    assert [row["_step"] for row in rows if any(key.startswith("test_") for key in row)] == [9]
    assert {row["T-SNE._type"] for row in rows if "T-SNE._type" in row} == {"plotly-file"}
    results = json.loads((real_report.parent / "results.json").read_text(encoding="utf-8"))["summary"]
    assert summary(real_report.parent)[f"test_srocc_{TEST_SET}"] == pytest.approx(results[0]["srocc"])


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1400, "dark")])
def test_the_report_in_a_browser(browser: Any, real_report: Path, width: int, scheme: str) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    errors: list[str] = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
    tab.goto(real_report.as_uri())
    tab.wait_for_selector(".js-plotly-plot .main-svg")
    for section in ("results", "training", "manifold", "pictures", "provenance"):
        assert tab.locator(f"#{section}").bounding_box()["height"] > 100, section
    assert tab.locator("#missing").count() == 0
    assert tab.locator("#results table").first.locator("tbody tr").count() == 3
    assert tab.locator("#pictures img").count() == 12  # all test images of the first split
    assert tab.evaluate("[...document.images].every(i => i.naturalWidth > 0 && i.alt)")
    # Three training plots, three test plots and two plots per projection.
    assert tab.locator("#training svg.drawing").count() == 3
    assert tab.locator("#results svg.drawing").count() == 3
    assert tab.locator("#manifold .js-plotly-plot").count() == 4
    assert tab.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].every(p => p.clientWidth <= innerWidth"
        " && p._fullData.some(t => t.x && t.x.length))"
    )
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")
    cards = tab.evaluate(
        "[...document.querySelectorAll('.figures figure')].map(f => getComputedStyle(f).backgroundColor)"
    )
    assert set(cards) == {"rgb(255, 255, 255)"}

    plot = tab.locator("#manifold .js-plotly-plot").first
    plot.scroll_into_view_if_needed()
    plot.evaluate("p => Plotly.Fx.hover(p, [{curveNumber: 0, pointNumber: 0}])")
    hover = plot.locator(".hovertext").first
    hover.wait_for()
    assert "level" in hover.text_content() and ".png" in hover.text_content()
    shown = "p => p._fullData.filter(t => t.visible === true).length"
    before = plot.evaluate(shown)
    plot.locator(".legendtoggle").first.click()
    tab.wait_for_function("([p, n]) => p._fullData.filter(t => t.visible === true).length === n - 1",
                          arg=[plot.element_handle(), before])  # fmt: skip
    assert errors == []
    tab.close()
