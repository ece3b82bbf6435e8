"""The configuration: `keys` lists every key, `schema` checks values, `yaml_file` and `command_line` read them.

To add a key, add a field to a dataclass in `keys` and use it in one place; its type, range, default and help text come
from that field. `config.yaml` repeats the defaults, and a test compares the two.
Nothing here knows what a key is used for.
"""
