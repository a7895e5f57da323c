"""Other servers from Debian packages, in containers, as targets of the table.

Each folder has the image's Dockerfile and `start`, which turns the letters of a configuration into
the server's own settings. `record` is the only delivery there is, `window` tells what was recorded.
"""

from tests.conformance.peers.target import PEERS

__all__ = ["PEERS"]
