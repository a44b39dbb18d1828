"""A request of a second that reaches its aim on the tiny model, for tests that are not about how well it forgets."""

from unsee.methods import NSCVF

AIMED = {"steps": 16, "batch": 4, "views": 1, "composites": 0, "rate": 0.05, "share": 1.0, "hold": 10.0}
METHOD = NSCVF(**AIMED)
TYPED = [str(part) for name, value in AIMED.items() for part in (f"--{name}", value)]  # the same at a command line
UNASKED = {"ask": "never", "keep_anyway": True}  # of a request to a session, whatever comes of it
