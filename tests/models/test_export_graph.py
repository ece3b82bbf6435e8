import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import export_graph
from models.errors import UserError, WeightsError
from models.export import main
from models.resnet import ResNet
from models.weights import RELEASED_SCORES
from tests.models.arniqa_files import random_regressor

FORMS = ["onnx", "torch_export"]
# Sizes that the command itself does not check, odd ones and the smallest among them.
SIZES = [(1, (64, 64), (64, 64)), (3, (75, 101), (37, 50)), (4, (33, 224), (33, 40))]
CLOSE = {"rtol": 0, "atol": 2e-6}  # scores with these regressors differ by 1e-3 from image to image
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


def file_of(form: str, folder: Path, dataset: str) -> Path:
    return folder / f"ARNIQA_{dataset}{'.onnx' if form == 'onnx' else '.pt2'}"


def runner(form: str, path: Path) -> Any:
    """Runs the file as somebody else would, who has only the file."""
    if form == "torch_export":
        return torch.export.load(path).module()
    session = pytest.importorskip("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda *images: torch.from_numpy(
        session.run(None, dict(zip(("img", "img_ds"), (image.numpy() for image in images), strict=True)))[0]
    )


def expected(encoder: ResNet, regressor: nn.Linear, images: list[Tensor]) -> Tensor:
    """The unscaled score by its definition, with an encoder whose batch norms are not folded."""
    with torch.no_grad():
        return regressor(torch.cat([encoder.features(scale) for scale in images], dim=1)).squeeze(1)


@pytest.fixture(scope="module")
def graphs(released: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each form, with the released regressor of CSIQ: DMOS from 0 to 1."""
    pytest.importorskip("onnxscript")
    out = tmp_path_factory.mktemp("graphs")
    for form in FORMS:
        main(f"--weights_dir {released} --regressor_dataset csiq --out {out} --format {form}".split())
    assert sorted(path.name for path in out.iterdir()) == ["ARNIQA_csiq.onnx", "ARNIQA_csiq.pt2"]
    return {form: file_of(form, out, "csiq") for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
def test_a_graph_gives_the_score_at_any_size(form: str, graphs: dict[str, Path], encoder: ResNet) -> None:
    run = runner(form, graphs[form])
    regressor = random_regressor(list(RELEASED_SCORES).index("csiq"))
    generator = torch.Generator().manual_seed(7)
    for n, full, half in SIZES:
        images = [torch.randn(n, 3, *size, generator=generator) for size in (full, half)]
        scores = run(*images)
        assert scores.shape == (n,)
        torch.testing.assert_close(scores, 1 - expected(encoder, regressor, images), **CLOSE)


def test_an_onnx_file_is_as_documented(graphs: dict[str, Path]) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(graphs["onnx"], load_external_data=False)
    onnx.checker.check_model(model)
    shapes = {
        put.name: [dim.dim_param or dim.dim_value for dim in put.type.tensor_type.shape.dim]
        for put in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "img": ["batch", 3, "height", "width"],
        "img_ds": ["batch", 3, "height_ds", "width_ds"],
        "score": ["batch"],
    }
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert about["mos_range"] == [0, 1] and about["mos_type"] == "dmos" and about["crop_size"] == 224
    assert about["dataset"] == "csiq" and about["fitted_on"] is None and about["score_kind"] == "human"
    assert len(about["score_quantiles"]) == 101


def test_a_torch_export_file_says_what_it_was_fitted_on(graphs: dict[str, Path]) -> None:
    extra = {"about.json": ""}
    torch.export.load(graphs["torch_export"], extra_files=extra)
    assert json.loads(extra["about.json"])["mos_range"] == [0, 1]


def test_an_experiment_is_exported_and_the_difference_is_printed(
    experiment: Path,
    encoder: ResNet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(experiment.parents[1])
    main(f"--experiment_name tried --regressor_dataset mine --out {tmp_path} --format torch_export".split())
    path = file_of("torch_export", tmp_path, "mine")
    printed = capsys.readouterr().out
    assert printed.startswith(f"{path}: ")
    assert float(printed.split()[-1]) <= 1e-4
    images = [torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1)) for side in (81, 40)]
    ours = expected(encoder, random_regressor(101), images) / 10
    torch.testing.assert_close(runner("torch_export", path)(*images), ours, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_whose_scores_differ_is_not_written(
    form: str, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(export_graph.Graph, "forward", lambda self, img, img_ds: self.model.regressor.bias + img.sum())
    path = file_of(form, tmp_path, "kadid10k")
    earlier = "an earlier export, with score_quantiles and about.json"
    path.write_text(earlier, encoding="utf-8")
    with pytest.raises(UserError, match=r"ARNIQA_kadid10k\.\w+: not written, because its scores differ") as error:
        main(["--weights_dir", str(released), "--out", str(tmp_path), "--format", form])
    assert "\n" not in str(error.value)
    assert path.read_text(encoding="utf-8") == earlier
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_package_that_cannot_be_imported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime.py").write_text(
        "raise ImportError('DLL load failed:\\nno such library')", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    for name in ("onnx", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    with pytest.raises(
        UserError, match=r"onnxruntime cannot be imported \(DLL load failed: no such library\)"
    ) as error:
        main(["--weights_dir", "none", "--out", str(tmp_path), "--format", "onnx"])
    assert "\n" not in str(error.value)


def test_a_folder_in_the_place_of_the_file_is_named_before_the_export(
    released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ARNIQA_kadid10k.pt2").mkdir()
    monkeypatch.setattr(export_graph, "graph_file", lambda *_: pytest.fail("exported"))
    with pytest.raises(UserError, match=r"ARNIQA_kadid10k\.pt2: is a folder"):
        main(["--weights_dir", str(released), "--out", str(tmp_path), "--format", "torch_export"])


def test_packages_that_are_missing_are_named_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"--format onnx: needs onnxscript, onnxruntime; run pip install") as error:
        main(["--weights_dir", "nowhere", "--out", str(tmp_path / "out"), "--format", "onnx"])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", FORMS)
def test_mistakes_give_one_line_and_no_file(
    form: str, released: Path, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    bare = tmp_path / "experiments" / "bare"
    (bare / "pretrain").mkdir(parents=True)
    (bare / "pretrain" / "best_epoch_0_srocc_0.500_plcc_0.500.pth").write_bytes(b"")
    (tmp_path / "file").touch()
    for cwd, options, words in (
        (tmp_path, "--experiment_name bare", "experiments/bare: has no regressors; test the experiment first"),
        (tmp_path, "--experiment_name none", "train the experiment first"),
        (
            experiment.parents[1],
            "--experiment_name tried --regressor_dataset live",
            "has regressors for: kadid10k, mine",
        ),
        (tmp_path, f"--experiment_name tried --weights_dir {released}", "use only one of them"),
        (tmp_path, f"--weights_dir {released} --regressor_dataset kadid", "use one of live, csiq"),
        (tmp_path, f"--weights_dir {released} --out file/out", "file/out: cannot be written"),
    ):
        monkeypatch.chdir(cwd)
        with pytest.raises((UserError, WeightsError)) as error:
            main(["--out", str(tmp_path / "out"), *options.split(), "--format", form])
        assert words in str(error.value).replace("\\", "/") and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_options_that_the_released_form_does_not_take(tmp_path: Path) -> None:
    for options, words in (
        ("", "--experiment_name: missing"),
        ("--experiment_name tried --regressor_dataset mine", "--regressor_dataset: --format released writes all"),
    ):
        with pytest.raises(UserError, match=words):
            main(["--out", str(tmp_path / "out"), *options.split()])
