"""Commands that measure this code beside baselines."""

import sys

if sys.argv[:1] == ["-m"]:  # Python imports this package before the command itself
    from utils.errors import end_quietly_on_interrupt

    end_quietly_on_interrupt()
