"""The same is made at once as one by one."""

import os

import torch

from unsee.system.parallel import each


def where(number: int) -> tuple[int, int, int, str | None]:
    """The square, the process, the threads it has, and the number by which it takes its GPU."""
    return number**2, os.getpid(), torch.get_num_threads(), os.environ.get("LOCAL_RANK")


def test_everything_is_made_once_elsewhere_with_a_share_of_the_cores() -> None:
    here = list(each(where, range(3), 1))
    assert [(square, process) for square, process, *_ in here] == [(n**2, os.getpid()) for n in range(3)]
    made = list(each(where, range(5), 2))
    assert sorted(square for square, *_ in made) == [0, 1, 4, 9, 16]
    assert os.getpid() not in {process for _, process, *_ in made}
    assert {threads for _, _, threads, _ in made} == {max(1, (os.cpu_count() or 1) // 2)}
    numbers = {process: number for _, process, _, number in made}
    assert set(numbers.values()) <= {"0", "1"}
    assert len(set(numbers.values())) == len(numbers)
