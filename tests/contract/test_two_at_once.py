"""Two at once: an experiment, a file of scores and one of features have one writer; the second waits or is refused."""

import os
import signal
from pathlib import Path

from tests.contract.runs import RESUME, end, needs_posix, quick, running, training, write_own_dataset
from tests.processes import LIMIT, one_at_a_time, wait_until

pytestmark = [needs_posix, one_at_a_time]


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_a_second_training_of_an_experiment_is_refused(folder: Path) -> None:
    metrics = folder / "experiments" / "twice" / "metrics.csv"
    with running(folder, "main.py", *training("twice", "--training.epochs", 1)) as first:
        wait_until(lambda: len(lines(metrics)) > 1, first)
        os.kill(first.pid, signal.SIGSTOP)  # it stays at work while the second one tries
        before = metrics.read_bytes()
        second = quick(folder, "main.py", *training("twice", *RESUME, "--training.epochs", 1))
        assert metrics.read_bytes() == before
        first.kill()
        first.wait(LIMIT)
    assert "another process" in second.error and "twice" in second.error


def test_a_second_scoring_into_a_file_is_refused_and_a_killed_one_is_continued(folder: Path, released: Path) -> None:
    options = ("--img_path", "data/KADIS700", "--output", "scores.csv", "--crop_size", 64, "--device", "cpu")
    options += ("--weights_dir", released, "--batch_size", 1)
    scores = folder / "scores.csv"
    with running(folder, "single_image_inference.py", *options) as first:
        wait_until(lambda: len(lines(scores)) > 3, first)
        os.kill(first.pid, signal.SIGSTOP)
        second = quick(folder, "single_image_inference.py", *options)
        first.kill()
        first.wait(LIMIT)
    assert "another process" in second.error and "scores.csv" in second.error
    kept = lines(scores)
    assert len(kept) < 21
    done = quick(folder, "single_image_inference.py", *options)
    assert done.code == 0, done.err
    assert lines(scores)[: len(kept)] == kept
    names = [line.split(",")[0] for line in lines(scores)[1:]]
    assert names == [f"data/KADIS700/ref_imgs/{i:02d}.png" for i in range(20)]


def test_two_extractions_share_the_features_and_the_second_goes_on_where_the_first_was_killed(
    folder: Path, tmp_path: Path, released: Path
) -> None:
    own = write_own_dataset(folder, "many", images=30)
    options = ("--eval_type", "arniqa", "--test.datasets", "many", "--test.batch_size", 1, "--test.crop_size", 64)
    variables = {"ARNIQA_WEIGHTS_DIR": released}
    features = folder / "experiments" / ".features"

    changes = set()

    def several_batches() -> bool:
        changes.update((path.name, path.stat().st_mtime_ns) for path in features.glob("many_*"))
        return len(changes) > 8

    with running(folder, "test.py", *training("extract", *options), **variables) as first:
        wait_until(several_batches, first)
        os.kill(first.pid, signal.SIGSTOP)
        image = own / "images" / "00.png"  # has its features already, so it is not read again
        about = image.stat()
        image.write_bytes(image.read_bytes()[:41] + bytes(about.st_size - 41))
        os.utime(image, ns=(about.st_atime_ns, about.st_mtime_ns))
        with running(folder, "test.py", *training("extract", *options), **variables) as second:
            assert second.stderr is not None
            waiting = next(line for line in second.stderr if "waiting for another process" in line)
            first.kill()
            first.wait(LIMIT)
            ended = end(second)
    assert "many" in waiting
    assert ended.code == 0 and "truncated" not in ended.out, ended.err
