"""Where a run that is cut off keeps what it has, so that --resume goes on from there."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from unsee.cli.telling import tell
from unsee.errors import InputError, MissedError, OutputError
from unsee.system.disk import held, is_plain, is_there, parents
from unsee.system.processes import first


@contextmanager
def unfinished(out: Path, name: str, done: str, *, resume: bool) -> Iterator[Path]:
    """The file `name`, in a folder beside the output, where an unfinished run keeps its state, for this run alone.

    It outlives a run that was cut off, or whose output could not be written; `done` says what it has then, as in
    "trained". Raises InputError where there is one and it is not to `resume`, or another run is under way.
    """
    folder = out.absolute().parent / f".{out.name}.unfinished"
    state = folder / name
    if not first():  # the first process holds the folder for all
        yield state
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(parents(out))
            stack.enter_context(held(folder))
            if not resume and _kept(state):
                raise InputError(
                    f"a run for {out} was cut off and can go on: add --resume, or remove {folder} to begin anew."
                )
            if not resume:
                for left in folder.iterdir():
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        except BlockingIOError as error:
            raise InputError(f"another run writes {out}; wait until it is done, or name another output.") from error
        except OSError as error:
            raise InputError(
                f"{folder} cannot be used ({error.strerror}); remove it, or name another output."
            ) from error
        resumed = _kept(state)
        try:
            yield state
        except MissedError:
            _removed(folder, done)
            raise
        except KeyboardInterrupt:
            if _kept(state):
                tell(f"what was {done} is kept: run again with --resume.")
            raise
        except InputError as error:
            if isinstance(error, OutputError) and _kept(state):
                raise InputError(f"{error} What was {done} is kept: run again with --resume.") from error
            if not resumed:
                _removed(folder, done)
            raise
        finally:
            with suppress(OSError):  # where there is a state in it
                folder.rmdir()
        _removed(folder, done)


def _kept(state: Path) -> bool:
    """Whether there is a state, or one of a part of the run: of layers that take turns, of another attempt."""
    return any(is_plain(file) for file in state.parent.glob(f"{state.stem}*{state.suffix}"))


def _removed(folder: Path, done: str) -> None:
    """Takes away the state of a run, or says that it is there still."""
    try:
        if is_there(folder):
            shutil.rmtree(folder)
    except OSError as error:
        tell(f"{folder} could not be removed ({error.strerror}); it holds what was {done}, so remove it.")
