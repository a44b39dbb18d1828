"""The mathematics: moments of layer inputs, what they span, and updates that stay outside it. Needs only torch."""
