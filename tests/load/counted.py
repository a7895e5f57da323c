"""What a box has counted. Owns: reading one series of its metrics. Refuses: comparing."""

__all__ = ["counted"]


def counted(box, series):
    """Return the value of a series, named with its labels as the box writes it."""
    lines = box.http("/metrics", seconds=60).body.decode().splitlines()
    return float(dict(line.rsplit(" ", 1) for line in lines)[series])
