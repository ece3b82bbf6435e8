"""Progress bars."""

from tqdm import tqdm

from utils.runtime.distributed import is_main


def progress_bar(title: str, total: int, done: int, unit: str) -> tqdm:
    """A bar that starts at `done`; silent if standard error is not a terminal, and on all processes but the first."""
    return tqdm(desc=title, total=total, initial=done, unit=unit, disable=None if is_main() else True)
