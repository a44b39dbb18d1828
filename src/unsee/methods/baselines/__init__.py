"""Baselines that train on the model's own answers."""
