"""What a server takes, by what the kernel says: memory and sockets."""

from pathlib import Path

MEBIBYTE = 1024 * 1024


def memory_of(pid: int, kind: str = "VmRSS") -> int:
    """Return the bytes of memory that a process holds now, or with `VmHWM` has held at most."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{kind}:"))


def reset_peak_of(pid: int) -> None:
    """Have the kernel measure a process's peak anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def sockets_of(pid: int) -> int:
    """Count the sockets that a process has open."""
    count = 0
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += str(file.readlink()).startswith("socket:")
        except FileNotFoundError:  # it was closed meanwhile
            continue
    return count
