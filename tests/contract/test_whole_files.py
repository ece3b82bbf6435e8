"""Nothing is half-written: what a full disk refuses leaves the file as it was, and one line says so.

The disk is full in these tests because a process may not make files larger than a limit (`ulimit -f`).
"""

from pathlib import Path

from tests.contract.runs import RESUME, assert_whole, call, needs_posix, quick, training

pytestmark = needs_posix


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(folder: Path, alone: str) -> None:
    experiment = folder / "experiments" / alone
    before = contents(experiment / "pretrain")
    ended = quick(folder, "main.py", *training(alone, *RESUME, "--training.epochs", 3), file_size=50_000_000)
    assert ended.code == 2 and "Traceback" not in ended.err, ended.err
    error = ended.err.splitlines()[-1]
    assert error.startswith("error: ") and "last_epoch_2_" in error and "cannot be written" in error
    assert contents(experiment / "pretrain") == before


def test_results_and_regressors_that_do_not_fit_are_as_before(folder: Path, alone: str) -> None:
    size = 5_000  # too small for the regressor, results.json and the report
    experiment = folder / "experiments" / alone
    before = contents(experiment)
    ended = quick(folder, "test.py", *training(alone, "--test.alpha", 7), file_size=size)
    assert ended.code != 0 and "cannot be written" in ended.err and "Traceback" not in ended.err, ended.err
    after = contents(experiment)
    assert set(after) == set(before)
    for name in after:
        whole = after[name] == before[name] or len(after[name]) < size
        assert whole, name
    assert_whole(experiment)


def test_splits_are_all_there_or_none(folder: Path) -> None:
    out = folder / "made"
    options = ("make", "--datasets", "kadid10k", "--data_base_path", "data", "--out", out)
    refused = quick(folder, "data.splits", *options, file_size=300)
    assert f"{out / 'kadid10k'}: cannot be written" in refused.error
    made = call(folder, "data.splits", *options)
    assert made.code == 0, made.err
    assert sorted(path.name for path in (out / "kadid10k").glob("*.npy")) == ["test.npy", "train.npy", "val.npy"]
