"""Starts `unsee` in several processes, on this machine or as one of several machines."""

import logging
import os
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unsee.errors import InputError, check_file, shown

PLAIN = ("NO", "MULTI_GPU", "MULTI_CPU")  # kinds of accelerate in which each process holds the whole model
PRECISIONS = {"no": "float32", "bf16": "bfloat16"}  # what accelerate calls ours
PORT = 29500
MOST, DIGITS = 1 << 20, 9  # bytes of a file of settings; digits of a number in it
KNOWN = (
    *("distributed_type", "mixed_precision", "num_processes", "num_machines", "machine_rank"),
    *("main_process_port", "main_process_ip", "use_cpu"),
)  # settings that are read
FSDP, FSDP2 = "FSDP", "fsdp2"  # how accelerate calls it in a file; a word in the place of a file
SPREAD = "ACCELERATE_USE_FSDP"  # what `accelerate launch` sets in the environment for it


@dataclass(frozen=True)
class Machines:
    """How many processes on each of how many machines; which of them this is, and where the first one listens."""

    processes: int
    count: int = 1
    rank: int = 0
    first: str = ""
    spread: bool = False
    """Whether weights are spread over all processes, each of which makes everything."""


def of_file(path: Path) -> tuple[Machines, list[str]]:
    """What a file of `accelerate config` asks for, and its device and precision as options of unsee.

    Raises InputError for a file that cannot be read, or asks for what is not there.
    """
    import yaml  # takes a tenth of a second

    check_file(path, "a file that `accelerate config` wrote")
    try:
        if path.stat().st_size > MOST:
            raise ValueError(f"it has more than {MOST:,} bytes")  # noqa: TRY301 # every way of being wrong is one
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read; expected a file that `accelerate config` wrote.") from error
    if not isinstance(found, Mapping):
        raise InputError(f"{path} holds no settings; expected a file that `accelerate config` wrote.")
    for name in KNOWN:
        if isinstance(found.get(name), Mapping | Sequence) and not isinstance(found[name], str):
            raise InputError(f"{name} in {path} is a list or a table; expected one value.")
    # An unquoted no is False to YAML.
    kind, precision = (str(found.get(name) or "no") for name in ("distributed_type", "mixed_precision"))
    kind, precision = kind.upper(), precision.lower()
    if kind not in (*PLAIN, FSDP):
        raise InputError(f"distributed_type in {path} is {kind!r}; expected one of {', '.join((*PLAIN, FSDP))}.")
    if precision not in PRECISIONS:
        raise InputError(f"mixed_precision in {path} is {precision!r}; expected one of {', '.join(PRECISIONS)}.")
    total, machines = _number(found, "num_processes", 1, path), _number(found, "num_machines", 1, path)
    rank, port = _number(found, "machine_rank", 0, path), _number(found, "main_process_port", PORT, path)
    if total < 1 or machines < 1 or total % machines or rank not in range(machines):
        raise InputError(
            f"{path} asks for {total} processes on {machines} machines, of which this is number {rank}; expected as "
            "many on each, and a number from 0 on."
        )
    address = found.get("main_process_ip") or ("localhost" if machines == 1 else "")
    if not address:
        raise InputError(f"main_process_ip is missing in {path}; expected the address of the first machine.")
    options = ["--precision", PRECISIONS[precision], *(("--device", "cpu") if found.get("use_cpu") else ())]
    return Machines(total // machines, machines, rank, f"{address}:{port}", kind == FSDP), options


def _number(found: Mapping[str, Any], name: str, otherwise: int, path: Path) -> int:
    value = found.get(name)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not str(value).isdecimal() or len(str(value)) > DIGITS:
        raise InputError(f"{name} in {path} is {shown(str(value))}; expected a whole number.")
    return int(value)


def launched(arguments: Sequence[str], machines: Machines) -> int:
    """Runs `unsee` with these arguments in so many processes on this machine, and gives its exit code.

    Raises InputError where one of them is killed, or the machines do not find each other; the others are ended then.
    """
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in [known for known in logging.root.manager.loggerDict if known.startswith("torch.distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what ended a process is said below
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // machines.processes)))
    if machines.spread:
        os.environ[SPREAD] = "true"
    several = machines.count > 1
    config = LaunchConfig(
        min_nodes=machines.count,
        max_nodes=machines.count,
        nproc_per_node=machines.processes,
        run_id="unsee" if several else uuid.uuid4().hex,
        rdzv_backend="static" if several else "c10d",
        rdzv_endpoint=machines.first if several else "localhost:0",
        rdzv_configs={"rank": machines.rank} if several else {},
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "unsee", *arguments)
    except ChildFailedError as error:
        number, failure = min(error.failures.items(), key=lambda one: one[1].timestamp)
        if failure.exitcode < 0:
            raise InputError(
                f"process {number} of {machines.processes} was ended by signal {-failure.exitcode}, perhaps for lack "
                "of memory; the others were ended, and nothing was written. Give fewer processes."
            ) from error
        return int(failure.exitcode)
    except SignalException as error:  # its own handlers take the place of ours, and have ended the processes
        return 128 + int(error.sigval)
    except DistError as error:
        raise InputError(
            f"the machines did not find each other at {machines.first}; start all of them, each with its machine_rank."
        ) from error
    return 0
