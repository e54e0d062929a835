"""What is left out where an extra is not installed: its modules cannot be imported for their doctests."""

import importlib.util

_OF_BEAM = ["tfhash/beam/*.py", "tests/beam_*.py"]

collect_ignore_glob = [] if importlib.util.find_spec("apache_beam") else _OF_BEAM
