"""A view of the file system made by hand, where bubblewrap has not made one.

Run by `unshare` in namespaces of its own, with the rights to mount in them. A new root in memory
gets what the view names, read-only, and then takes the place of the old one, which is let go.
"""

from __future__ import annotations

import os
from typing import Any

from galerne_tools.python.inside import kernel

_STAGE = "/tmp"  # noqa: S108 - a folder that every system has; only this process sees what is put on it
_NOTHING_SPECIAL = kernel.MS_NOSUID | kernel.MS_NODEV
_READ_ONLY = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID


def build(view: dict[str, Any]) -> None:
    """Make the view this process's root. Raises OSError, which says which step failed."""
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", _STAGE, "tmpfs", _NOTHING_SPECIAL, "size=4m,nr_inodes=1024,mode=0755")
    for folder in ("new", "old"):
        os.mkdir(f"{_STAGE}/{folder}", 0o755)
    kernel.pivot_root(_STAGE, f"{_STAGE}/old")
    os.chdir("/")
    kernel.mount("tmpfs", "/new", "tmpfs", _NOTHING_SPECIAL, "size=1m,nr_inodes=1024,mode=0755")
    for folder in view["folders"]:
        os.makedirs(f"/new{folder}", 0o755, exist_ok=True)
    for source, target in view["shown"]:
        _show(source, target, kernel.ATTR_NODEV)
    for device in view["devices"]:
        _show(device, device, kernel.ATTR_NOEXEC)
    for leads_to, path in view["links"]:
        os.makedirs(os.path.dirname(f"/new{path}"), 0o755, exist_ok=True)
        os.symlink(leads_to, f"/new{path}")
    _mount_processes()
    kernel.unmount("/old")
    os.chdir("/new")
    kernel.pivot_root(".", ".")
    kernel.unmount(".")
    os.chdir("/")
    kernel.restrict_mounts("/", _READ_ONLY | kernel.ATTR_NODEV, recursive=False)


def _show(source: str, target: str, attributes: int) -> None:
    old, new = f"/old{source}", f"/new{target}"
    if os.path.isdir(old):
        os.makedirs(new, 0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(new), 0o755, exist_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o444))
    kernel.mount(old, new, flags=kernel.MS_BIND | kernel.MS_REC)
    kernel.restrict_mounts(new, _READ_ONLY | attributes)


def _mount_processes() -> None:
    """`/proc` of the new process namespace, with nothing in it but processes where that goes."""
    flags = _NOTHING_SPECIAL | kernel.MS_NOEXEC
    kinds: list[str] = ["subset=pid", ""]
    for number, options in enumerate(kinds, 1):
        try:
            kernel.mount("proc", "/new/proc", "proc", flags, options)
            return
        except OSError:
            if number == len(kinds):
                raise
