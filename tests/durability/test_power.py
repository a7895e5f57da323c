from pathlib import Path

import pytest

from tests.durability import power
from tests.durability.disks import loop_disk

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.usefixtures("mounting")
def test_f05_power_cut(stand, tmp_path: Path, seeds, survived):
    with loop_disk(tmp_path, "256M") as disk:
        stand.place(disk.path)
        for seed in seeds(5, 50):
            assert power.cut_power(stand, disk, seed) == []
            survived("F05", stand.technology, 1, "power cuts")
        assert stand.recovered(may_refused_stay=True) == []
        stand.close()


def test_f08_killed_under_load(make_stand, technology, seeds, survived):
    for seed in seeds(3, 20):
        stand = make_stand(technology)
        assert power.kill_under_load(stand, seed) == []
        stand.close()
        survived("F08", technology, 1, "kills under 32 clients")
