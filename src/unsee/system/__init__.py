"""The machine: disks, memory, processes, signals, time."""
