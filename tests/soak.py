"""Long checks that the tests leave out, of many kills and of many runs at once.

python -m tests.soak kills [--processes 2] [--kills 20]
python -m tests.soak chains [--chains 60] [--at_once 4]
"""

import argparse
import random
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.contract import runs
from tests.contract.runs import RESUME, assert_same_training, assert_whole, call, training, write_own_dataset

LIMIT = 900  # seconds that a run may take


def kills(folder: Path, processes: int, count: int) -> None:
    """Trains, validates and tests, killed at random moments, and compares all that is left with a run left alone."""
    times = random.Random(processes)
    since = time.perf_counter()
    run_ranks(folder, "alone", processes, LIMIT)
    seconds = time.perf_counter() - since
    shutil.rmtree(folder / "experiments" / ".features")  # which the killed run would find and use
    done = 0
    while done < count:
        # Starting takes a while in which nothing is at risk; a run killed as early would never get anywhere.
        wait = times.uniform(0.3 * seconds, seconds)
        try:
            run_ranks(folder, "killed", processes, wait)
        except subprocess.TimeoutExpired:
            done += 1
            print(f"kill {done} after {wait:.1f} s", flush=True)
            continue
        compare(folder)
        print("it ended before its kill, bit-identical: once more from the beginning", flush=True)
        for name in ("killed", ".features"):
            shutil.rmtree(folder / "experiments" / name)
    run_ranks(folder, "killed", processes, LIMIT)
    compare(folder)
    print(f"{done} kills, {processes} process(es): checkpoint, history, results and regressors bit-identical")


def run_ranks(folder: Path, name: str, processes: int, limit: float) -> None:
    """Runs main.py on several processes of this machine.

    Raises:
        subprocess.TimeoutExpired: they did not end within the limit; they are killed with SIGKILL.
    """
    options = training(name, *RESUME, "--training.epochs", 4)
    end = time.monotonic() + limit
    with runs.ranks([folder] * processes, "main.py", *options, OMP_NUM_THREADS=1) as running:
        try:
            errors = [process.communicate(timeout=max(0.1, end - time.monotonic()))[1] for process in running]
        finally:
            for process in running:
                process.kill()
        if any(process.returncode for process in running):
            raise SystemExit(f"{name} failed: {errors}")


def compare(folder: Path) -> None:
    alone, killed = (folder / "experiments" / name for name in ("alone", "killed"))
    assert_same_training(folder, "alone", "killed")
    for path in [*sorted(alone.glob("regressors/*.pth")), alone / "results.csv"]:
        other = killed / path.relative_to(alone)
        if path.read_bytes() != other.read_bytes():
            raise SystemExit(f"{other} differs from that of the run left alone")
    assert_whole(folder)


def chains(folder: Path, count: int, at_once: int) -> None:
    """Train, test and score, several chains at a time, with dataset, splits and features shared.

    Chains that run at once have the same seed, so that they want the same cached features. The first of the runs has
    to make the splits of the dataset.
    """
    write_own_dataset(folder, images=30)

    def chain(i: int) -> list[str]:
        name = f"chain_{i}"
        options = training(name, "--training.epochs", 1, "--seed", i // at_once)
        scoring = ("--eval_type", "scratch", "--experiment_name", name, "--img_path", "data/KADIS700")
        failed = []
        for script, *arguments in (
            ("main.py", *options, "--test.datasets", "mine"),
            ("test.py", *options, "--test.datasets", "mine", "kadid10k"),
            ("single_image_inference.py", *scoring, "--regressor_dataset", "mine", "--output", f"{name}.csv"),
        ):
            ended = call(folder, script, *arguments, OMP_NUM_THREADS=1)
            if ended.code:
                failed.append(f"{name}: {script} ended with {ended.code}: {ended.err[-2000:]}")
        shutil.rmtree(folder / "experiments" / name / "pretrain", ignore_errors=True)  # 300 MB
        return failed

    failed: list[str] = []
    with ThreadPoolExecutor(at_once) as pool:
        for i, lines in enumerate(pool.map(chain, range(count)), start=1):
            failed += lines
            print("\n".join([*lines, f"{i} of {count} chains, {len(failed)} commands failed"]), flush=True)
    if failed:
        raise SystemExit("\n".join(failed))
    assert {(folder / f"chain_{i}.csv").read_text().count("\n") for i in range(count)} == {21}
    assert_whole(folder)
    print(f"{count} chains, {at_once} at a time: none failed, no partial file")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    checks = parser.add_subparsers(dest="check", required=True)
    add = checks.add_parser("kills").add_argument
    add("--processes", type=int, default=1)
    add("--kills", type=int, default=20)
    add = checks.add_parser("chains").add_argument
    add("--chains", type=int, default=60)
    add("--at_once", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs.write_data(folder)
        if arguments.check == "kills":
            kills(folder, arguments.processes, arguments.kills)
        else:
            chains(folder, arguments.chains, arguments.at_once)


if __name__ == "__main__":
    main()
