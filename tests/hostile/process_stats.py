"""The memory and sockets of a process, according to the kernel."""

from pathlib import Path

MEBIBYTE = 1024 * 1024


def memory_bytes(pid: int, kind: str = "VmRSS") -> int:
    """Return the bytes of memory that a process holds now, or with `VmHWM` has held at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))


def reset_memory_peak(pid: int) -> None:
    """Reset the peak memory of a process that the kernel reports."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def socket_count(pid: int) -> int:
    """Count the sockets that a process has open."""
    count = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += str(file.readlink()).startswith("socket:")
        except FileNotFoundError:  # closed meanwhile
            continue
    return count
