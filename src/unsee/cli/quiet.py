"""Keeps what transformers has to say off the terminal."""

import os


def quiet() -> None:
    """Only errors of transformers are shown from now on, and none of its progress bars."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
