"""A request of a second, for tests that are not about how well it forgets."""

from unsee.methods import NSCVF

METHOD = NSCVF(steps=3, batch=4, views=1, share=1.0, rate=1e-3)
