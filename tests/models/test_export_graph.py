import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import export_graph
from models.errors import UserError
from models.export import main
from models.resnet import ResNet
from models.weights import RELEASED_SCORES, encoder_hash
from tests.models.arniqa_files import random_regressor

FORMS = ["onnx", "torch_export"]
# Sizes that the command itself does not check, odd ones and the smallest among them.
SIZES = [(1, (64, 64), (64, 64)), (3, (75, 101), (37, 50)), (4, (33, 224), (33, 40))]
CLOSE = {"rtol": 0, "atol": 2e-6}  # scores with these regressors differ by 1e-3 from image to image
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


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
def graphs(released: Path, experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """ONNX of the released regressor of CSIQ (DMOS from 0 to 1), torch.export of an experiment's (MOS from 0 to 10)."""
    pytest.importorskip("onnxscript")
    out = tmp_path_factory.mktemp("graphs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(experiment.parents[1])
        main(f"--weights_dir {released} --regressor_dataset csiq --out {out} --format onnx".split())
        main(f"--experiment_name tried --regressor_dataset mine --out {out} --format torch_export".split())
    found = {"onnx": out / "ARNIQA_csiq.onnx", "torch_export": out / "ARNIQA_mine.pt2"}
    assert sorted(out.iterdir()) == sorted(found.values())
    return found


@pytest.mark.parametrize("form", FORMS)
def test_a_graph_gives_the_score_at_any_size(form: str, graphs: dict[str, Path], encoder: ResNet) -> None:
    run = runner(form, graphs[form])
    regressor = random_regressor(list(RELEASED_SCORES).index("csiq") if form == "onnx" else 101)
    generator = torch.Generator().manual_seed(7)
    for n, full, half in SIZES:
        images = [torch.randn(n, 3, *size, generator=generator) for size in (full, half)]
        raw = expected(encoder, regressor, images)
        torch.testing.assert_close(run(*images), 1 - raw if form == "onnx" else raw / 10, **CLOSE)


def test_the_files_are_as_documented(graphs: dict[str, Path], encoder: ResNet) -> None:
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
    extra = {"about.json": ""}
    torch.export.load(graphs["torch_export"], extra_files=extra)
    about = json.loads(extra["about.json"])
    assert (about["dataset"], about["mos_range"], about["fitted_on"]) == ("mine", [0, 10], encoder_hash(encoder))


@pytest.mark.parametrize("form", FORMS)
def test_a_file_whose_scores_differ_is_not_written(
    form: str, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(export_graph.Graph, "forward", lambda self, img, img_ds: self.model.regressor.bias + img.sum())
    path = tmp_path / f"ARNIQA_kadid10k{'.onnx' if form == 'onnx' else '.pt2'}"
    earlier = "an earlier export, with score_quantiles and about.json"
    path.write_text(earlier, encoding="utf-8")
    with pytest.raises(UserError, match=r"ARNIQA_kadid10k\.\w+: not written, because its scores differ"):
        main(["--weights_dir", str(released), "--out", str(tmp_path), "--format", form])
    assert path.read_text(encoding="utf-8") == earlier
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_packages_that_are_missing_are_named_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"--format onnx: needs onnxscript, onnxruntime; run pip install"):
        main(["--weights_dir", "nowhere", "--out", str(tmp_path / "out"), "--format", "onnx"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--format torch_export", "has regressors for: kadid10k, mine"),
        ("--format torch_export --weights_dir released", "use only one of them"),
    ],
)
def test_options_that_do_not_fit_leave_no_file(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, words: str
) -> None:
    monkeypatch.chdir(experiment.parents[1])
    given = ["--experiment_name", "tried", "--regressor_dataset", "live", "--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match=words):
        main([*given, *options.split()])
    assert not (tmp_path / "out").exists()
