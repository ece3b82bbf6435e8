"""Several processes: the loss of one, machines without a shared folder, and what ends them all."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models.simclr import SimCLR, nt_xent_loss
from tests.contract.runs import Ended, end, history, needs_posix, quick, ranks, training, write_own_dataset
from tests.processes import on_two_ranks, one_at_a_time, wait_until

pytestmark = [needs_posix, one_at_a_time]


def loss_of_a_rank(rank: int, views: torch.Tensor, expected: float, gradient: torch.Tensor, rendezvous: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    model = SimCLR({"embedding_dim": 4, "pretrained": False, "use_norm": True}, 0.1)
    model.encoder = Projections(gradient.shape)
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    mine = views[:, 4 * rank : 4 * rank + 4]
    loss = parallel(mine[0], mine[1])
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(model.encoder.weight.grad, gradient, rtol=1e-4, atol=1e-6)
    torch.distributed.destroy_process_group()


class Projections(torch.nn.Module):
    """Stands for the encoder: a linear map to projections, without batch norm, whose statistics are a process's own."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(shape) + torch.eye(*shape))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        projections = torch.nn.functional.normalize(x @ self.weight, dim=1)
        return projections, projections


def test_loss_and_gradients_are_those_of_one_process(tmp_path: Path) -> None:
    views = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0))
    whole = Projections(torch.Size((6, 4)))
    loss = nt_xent_loss(*(whole(view)[1] for view in views), 0.1)
    loss.backward()
    assert whole.weight.grad is not None
    rendezvous = (tmp_path / "rendezvous").as_uri()
    on_two_ranks(loss_of_a_rank, views, loss.item(), whole.weight.grad, rendezvous)


@pytest.fixture
def machines(folder: Path, tmp_path: Path) -> list[Path]:
    for name in ("first", "second"):
        shutil.copytree(folder / "data", tmp_path / name / "data")
        shutil.copy(folder / "config.yaml", tmp_path / name)
    return [tmp_path / "first", tmp_path / "second"]


def both(machines: list[Path], *options: object) -> list[Ended]:
    with ranks(machines, "main.py", *training("shared", "--training.epochs", 1, *options)) as processes:
        return [end(process) for process in processes]


def test_machines_need_no_shared_folder(machines: list[Path]) -> None:
    ended = both(machines)
    assert [each.code for each in ended] == [0, 0], ended
    assert not (machines[1] / "experiments").exists()
    assert (machines[0] / "experiments" / "shared" / "results.json").exists()
    assert len(history(machines[0], "shared")) == 6  # five steps and a validation, written by one process


def test_other_training_images_on_a_machine_are_an_error_on_all(machines: list[Path]) -> None:
    (machines[1] / "data" / "KADIS700" / "ref_imgs" / "07.png").unlink()
    for each in both(machines):
        assert "process 1 has 19" in each.error and "process 0 has 20" in each.error


@pytest.mark.parametrize("difference", ["score", "split"])
def test_other_validation_files_on_a_machine_are_an_error_on_all(machines: list[Path], difference: str) -> None:
    options = ("--validation.datasets", "mine", "--test.datasets", "mine")
    own = [write_own_dataset(machine, images=30) for machine in machines]
    if difference == "score":
        labels = own[1] / "labels.csv"
        labels.write_text(labels.read_text().replace("images/03.png,3", "images/03.png,9"))
    else:
        for number, folder in enumerate(own):
            (folder / "splits").mkdir()
            order = np.roll(np.arange(30), number)
            for phase, part in {"train": order[:20], "val": order[20:25], "test": order[25:]}.items():
                np.save(folder / "splits" / f"{phase}.npy", np.stack([part, part]))
    for each in both(machines, *options):
        assert "mine" in each.error
    assert not list(machines[0].glob("experiments/shared/pretrain/*.pth"))  # before the training, not after an epoch


def test_a_dataset_that_one_machine_lacks_fails_on_both_and_the_others_are_tested(
    machines: list[Path], undisturbed: Path
) -> None:
    shutil.copytree(undisturbed / "experiments" / "alone", machines[0] / "experiments" / "alone")
    write_own_dataset(machines[0])
    with ranks(machines, "test.py", *training("alone", "--test.datasets", "mine", "kadid10k")) as processes:
        ended = [end(process) for process in processes]
    assert [each.code for each in ended] == [1, 1], ended
    assert "mine failed: " in ended[0].err and "labels.csv" in ended[0].err
    results = (machines[0] / "experiments" / "alone" / "results.csv").read_text(encoding="utf-8")
    assert "kadid10k" in results and "mine" not in results


FOLDER = ("--img_path", "data/KADIS700")
SCORING = ("single_image_inference.py", "--crop_size", 64, "--device", "cpu", "--batch_size", 1)


def test_processes_share_the_scoring_and_write_one_file(folder: Path, released: Path) -> None:
    scoring = (*SCORING, "--weights_dir", released, "--output")
    assert quick(folder, *scoring, "one.csv", *FOLDER).code == 0
    names = [f"data/KADIS700/ref_imgs/{i:02d}.png" for i in range(9)]
    (folder / "list.txt").write_text("\n".join(names), encoding="utf-8")
    with ranks([folder] * 2, *scoring, "two.csv", "--img_list", "list.txt") as processes:
        ended = [end(process) for process in processes]
    assert [each.code for each in ended] == [0, 0] and ended[1].out == "", ended
    assert ended[0].out == "two.csv: 9 images, 0 without a score\n"
    with ranks([folder] * 2, *scoring, "two.csv", *FOLDER, "--num_workers", 1) as processes:  # continues
        ended = [end(process) for process in processes]
    assert [each.code for each in ended] == [0, 0], ended
    assert (folder / "two.csv").read_bytes() == (folder / "one.csv").read_bytes()


def test_what_one_process_reports_of_a_scoring_two_report_once(folder: Path, released: Path) -> None:
    (folder / "list.txt").write_text("no.png\ndata/KADIS700/ref_imgs/00.png\n", encoding="utf-8")
    scoring = (*SCORING, "--weights_dir", released, "--regressor_dataset", "live", "koniq10k", "--output")
    alone = quick(folder, *scoring, "alone.csv", "--img_list", "list.txt", "--report", "alone.html")
    with ranks([folder] * 2, *scoring, "both.csv", "--img_list", "list.txt", "--report", "both.html") as processes:
        ended = [end(process) for process in processes]
    assert [each.code for each in ended] == [1, 0] and alone.code == 1, ended
    assert ended[0].out == alone.out.replace("alone", "both") and ended[1].out == ended[1].err == "", ended
    assert (folder / "both.csv").read_bytes() == (folder / "alone.csv").read_bytes()
    assert "Scores of 2 images" in (folder / "both.html").read_text(encoding="utf-8")
    for options, message in (
        (("--img_list", "no.txt"), "no.txt cannot be read"),
        (("--img_list", "list.txt", "--regressor_dataset", "live"), "both.csv: not a file of scores of live"),
    ):
        with ranks([folder] * 2, *scoring, "both.csv", *options) as processes:
            assert all(message in end(process).error for process in processes)


def test_the_loss_of_a_scoring_process_is_one_line_and_loses_nothing(folder: Path, released: Path) -> None:
    scoring = (*SCORING, "--weights_dir", released, *FOLDER, "--output")
    scores = folder / "lost.csv"

    def rows() -> list[str]:
        return scores.read_text(encoding="utf-8").splitlines() if scores.exists() else []

    with ranks([folder] * 2, *scoring, scores) as processes:
        wait_until(lambda: len(rows()) > 4, processes[0])
        processes[1].kill()
        ended = end(processes[0])
    assert "another process of this run ended; start it again to continue" in ended.error
    kept = rows()
    assert 4 < len(kept) < 21
    assert quick(folder, *scoring, scores).code == 0
    assert rows()[: len(kept)] == kept and len(rows()) == 21
