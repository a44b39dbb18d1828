"""`python -m unsee`, as launchers of several processes call it."""

from unsee.cli.main import run

if __name__ == "__main__":
    run()
