"""Checkpoints: which part is visual, what it computes, and reading and writing it."""
