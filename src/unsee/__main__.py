"""The program `unsee`, also as `python -m unsee`: imports nothing of its own before it can be interrupted."""

import sys


def run() -> None:
    """Runs the command that was typed and leaves with its code."""
    if sys.flags.optimize > 1:
        sys.exit(
            "unsee: Python runs with -OO (PYTHONOPTIMIZE=2), which takes away texts that transformers needs; run it "
            "without."
        )
    try:
        from unsee.cli.main import run
    except KeyboardInterrupt:
        print("unsee: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    run()
