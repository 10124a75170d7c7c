"""Processes that tests look at from outside: whose they are, and whether they have ended."""

from __future__ import annotations

import psutil


def children(pid: int) -> list[psutil.Process]:
    """The processes that a process has started and that are there still."""
    return psutil.Process(pid).children()


def has_ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or only waits for whoever has inherited it to look at it."""
    try:
        return process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:  # gone, before or while it was looked at
        return True
