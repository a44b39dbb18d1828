"""What other libraries raise about somebody's files, turned into one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import StrictDataclassError
from jinja2 import TemplateError
from safetensors import SafetensorError

from unsee.errors import InputError
from unsee.system.memory import lacks_memory
from unsee.system.terminal import one_line

LONGEST = 200  # characters of what another library says
# What transformers, processors, tokenizers, templates and torch raise where something does not fit.
FOREIGN = (
    ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError, AssertionError, ImportError,
    OSError, TemplateError, SafetensorError, StrictDataclassError,
)  # fmt: skip


def first_line(error: BaseException) -> str:
    """The first line of an error's text that says something, at most LONGEST characters of it."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return one_line(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


@contextmanager
def in_words(what: str, then: str, kind: type[InputError] = InputError) -> Iterator[None]:
    """Turns what another library raises into an InputError of this `kind`: `what` (what it says); `then`.

    A lack of memory stays what it is: it says nothing of the files.
    """
    try:
        yield
    except InputError:  # a sentence already
        raise
    except BaseException as error:
        # Of tokenizers come errors of the class Exception itself, and panics; every other kind is in the list.
        own = type(error) is Exception or type(error).__name__ == "PanicException"
        if lacks_memory(error) or not (isinstance(error, FOREIGN) or own):
            raise
        raise kind(f"{what} ({first_line(error)}); {then}.") from error
