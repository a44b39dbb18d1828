"""Keeps what transformers and the hub's client have to say off the terminal."""

import logging
import os

from unsee.cli.telling import now


def quiet() -> None:
    """Only errors of both are shown from now on, and no progress bars of transformers; all with --verbose."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if now.verbose:
        return
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every attempt that it makes again
    from transformers.utils import logging as of_transformers

    of_transformers.set_verbosity_error()
    of_transformers.disable_progress_bar()
