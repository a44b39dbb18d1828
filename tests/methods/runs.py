"""Short runs of a method on a tiny model, and whether they left the model as it was."""

import torch

from unsee.methods import NSCVF
from unsee.models.checkpoint import visual_parameters
from unsee.system.memory import Memory, plan

QUICK = {"steps": 6, "batch": 4, "views": 1, "rate": 1e-2, "share": 1.0, "composites": 0}
NORMAL = plan("normal", 0)
TURNS = Memory(images=2, grams=40_000, weights=12_000, frugal=True)  # layers of the tiny model take three turns


def forget(vlm, target, retained=None, *, method=None, **more):
    """A request by the method alone: no photo is set aside, and nobody is asked."""
    return (method or NSCVF()).forget(vlm, target, retained, **more)


def values(vlm):
    return {name: value.detach().clone() for name, value in visual_parameters(vlm.model, vlm.partition).items()}


def unmoved(vlm, before):
    """Whether a model is as it was opened: its visual values, nothing to train, nothing else read."""
    parameters = dict(vlm.model.named_parameters())
    return (
        all(torch.equal(parameters[name], value) for name, value in before.items())
        and len({parameters[name].is_meta for name in vlm.partition.protected}) == 1
        and not any(parameter.requires_grad or parameter.grad is not None for parameter in parameters.values())
        and not any(module.training for module in vlm.model.modules())
        and not any(module._forward_pre_hooks for module in vlm.model.modules())
    )


def interrupted(at):
    """A progress that interrupts its run when it is called for the time `at`."""
    calls = []

    def progress(done, total, text):
        calls.append(done)
        if len(calls) == at:
            raise KeyboardInterrupt

    return progress
