"""A small file system of its own, so that a disk can really be full. Needs root and a kernel that lets it mount (Linux)."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small(folder: Path, octets: int) -> Iterator[Path]:
    """Give an empty directory that holds `octets` at most; a plain one where mounting is not allowed (see `is_one`)."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={octets},mode=0700", "postroom-test", str(folder)]
    is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield folder
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def is_one(folder: Path) -> bool:
    """Tell whether the directory is a file system of its own."""
    return folder.is_mount()
