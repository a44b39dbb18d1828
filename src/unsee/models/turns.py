"""Threads that share one opened model take turns."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from threading import RLock
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from transformers import PreTrainedModel

from unsee.models.checkpoint import Vlm

Given = ParamSpec("Given")
Made = TypeVar("Made")
_turns = WeakKeyDictionary[PreTrainedModel, RLock]()


def in_turn(work: Callable[Given, Made]) -> Callable[Given, Made]:
    """The same function, which waits while another thread runs it on the model given first: its weights move then."""

    @wraps(work)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        vlm = args[0] if args else kwargs.get("vlm")
        with _turns.setdefault(vlm.model, RLock()) if isinstance(vlm, Vlm) else nullcontext():
            return work(*args, **kwargs)

    return run
