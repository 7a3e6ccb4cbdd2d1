"""What can go wrong before a test of the cluster has begun.

Here: typed errors that name the missing thing or the failing part. Not here: the checks that raise them.
"""

from __future__ import annotations


class ClusterError(Exception):
    """The cluster cannot be brought up, with the part and the reason."""


class MissingError(ClusterError):
    """A prerequisite of this machine is absent: one sentence names it and what to do."""


class BuildFailedError(ClusterError):
    """`go build` of one tool failed; the end of its output is told."""


class NotReadyError(ClusterError):
    """A part did not become ready within its deadline; the end of its log is told."""


class CommandFailedError(ClusterError):
    """A command of the installation (helm, kubectl, ctr, ip ...) failed, with its output."""
