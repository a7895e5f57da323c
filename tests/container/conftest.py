"""Options of the container suite; its fixtures are in `plugin`, shared with the load suite."""

import pytest

pytest_plugins = ["tests.container.plugin"]


def pytest_addoption(parser):
    parser.addoption(
        "--teeth",
        choices=["some", "own", "all"],
        default="some",
        help="broken images: some of them, each with its own checks, or each with all",
    )
    parser.addoption(
        "--alerts", action="store_true", help="provoke alerts until a real Prometheus fires them"
    )
    parser.addoption(
        "--builds",
        action="store_true",
        help="build the image twice without a cache, and by BuildKit",
    )
    parser.addoption(
        "--systemd", action="store_true", help="run the unit of systemd in a container of Debian"
    )
    parser.addoption(
        "--previous", metavar="ID", help="the release to upgrade from and to roll back to"
    )


def pytest_collection_modifyitems(config, items):
    """Leave all broken images but a sample to the session `teeth`."""
    if config.getoption("--teeth") != "some":
        return
    from tests.container.mutants.table import MUTANTS, SAMPLE

    left = set(MUTANTS) - set(SAMPLE)
    named = [item.callspec.params if hasattr(item, "callspec") else {} for item in items]
    is_left = ["relaxed" in params or params.get("broken") in left for params in named]
    config.hook.pytest_deselected(
        items=[one for one, out in zip(items, is_left, strict=True) if out]
    )
    items[:] = [one for one, out in zip(items, is_left, strict=True) if not out]


@pytest.fixture
def start(start_box):
    """Start containers, where the folder above starts processes."""
    return start_box
