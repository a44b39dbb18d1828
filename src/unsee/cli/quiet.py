"""Keeps what transformers has to say off the terminal."""

import os

from unsee.cli.telling import now


def quiet() -> None:
    """Only errors of transformers are shown from now on, and none of its progress bars; all with --verbose."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if now.verbose:
        return
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
