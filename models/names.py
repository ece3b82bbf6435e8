"""Checks names of datasets and experiments, which become parts of file names."""

import re

from .errors import UserError

# Control characters, and characters that are invisible or change the direction of the text that follows.
_HIDDEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e01ef"
)
_ANYWHERE = rf'[^/\\:*?"<>|\ud800-\udfff{_HIDDEN}]'
NAME = rf"(?![\s.]){_ANYWHERE}{{1,100}}(?<![\s.])"
ALL = "all"  # regressor_dataset of a model with every regressor
ALLOWED = (
    'folder name of at most 100 characters, none of / \\ : * ? " < > |, no control characters, '
    "no dot or space at either end"
)


def check_name(what: str, name: str) -> None:
    """Checks that a name is a plain folder name, so that it cannot leave its folder.

    Args:
        what: key or option, the start of the message.
        name: name of a dataset or an experiment.

    Raises:
        UserError: the name is not a plain folder name.
    """
    if not re.fullmatch(NAME, name):
        raise UserError(f"{what}: found {name!r}; allowed: {ALLOWED}")


def check_dataset_name(what: str, name: str) -> None:
    """Checks the name of a dataset as `check_name` does; `ALL` is not a name.

    Raises:
        UserError: the name is not allowed.
    """
    check_name(what, name)
    if name == ALL:
        raise UserError(
            f"{what}: found {ALL!r}, which stands for every regressor: give it alone, or rename the dataset"
        )
