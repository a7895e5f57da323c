"""What is played beside what, and whose things are those of a dead run."""

import subprocess
import sys
from pathlib import Path

import pytest

from prixfixe.verify import interrupts
from prixfixe.verify.cases import Case
from prixfixe.verify.elf import MACHINES, program_in
from prixfixe.verify.groups import all_cases
from prixfixe.verify.targets import owner
from prixfixe.verify.tracks import MOST, tracks_of


def case(name, track="", *, is_alone=False):
    return Case(name, "", "must", "", "", lambda _: None, track=track, is_alone=is_alone)


def test_cases_of_one_track_keep_their_order_and_others_have_their_own():
    tracks = tracks_of([case("a", "x"), case("b"), case("c", "x"), case("d")])
    assert [[one.id for one in track.cases] for track in tracks] == [["a", "c"], ["b"], ["d"]]


def test_what_is_to_be_alone_comes_last_and_apart():
    tracks = tracks_of([case("a", "x", is_alone=True), case("b", "x")])
    assert [(one.is_alone, [each.id for each in one.cases]) for one in tracks] == [
        (False, ["b"]),
        (True, ["a"]),
    ]


def test_a_long_track_is_cut_in_equal_parts():
    cases = [case(str(number), "x") for number in range(2 * MOST + 1)]
    tracks = tracks_of(cases)
    assert [len(one.cases) for one in tracks] == [17, 16, 16]
    played = (each.id for one in tracks for each in one.cases)
    assert sorted(played, key=int) == [one.id for one in cases]


def test_every_case_is_played_once():
    cases = all_cases()
    played = [each.id for one in tracks_of(cases) for each in one.cases]
    assert sorted(played) == sorted(one.id for one in cases)


def test_a_process_that_is_there_is_not_gone():
    assert not owner.is_gone(owner.me())


def test_a_process_that_ended_is_gone():
    code = "from prixfixe.verify.targets.owner import me; print(me())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert owner.is_gone(told.stdout.strip())


def test_another_process_with_the_same_number_is_not_the_one():
    host, boot, space, pid, _ = owner.me().split(" ")
    assert owner.is_gone(f"{host} {boot} {space} {pid} 1")


def test_what_an_earlier_start_of_the_machine_left_is_nobody_s():
    host, _, space, pid, began = owner.me().split(" ")
    assert owner.is_gone(f"{host} another {space} {pid} {began}")


@pytest.mark.parametrize("place", [0, 2])
def test_of_another_machine_or_container_nothing_is_known(place):
    words = owner.me().split(" ")
    words[place], words[3] = "elsewhere", "999999999"
    assert not owner.is_gone(" ".join(words))


@pytest.mark.parametrize("text", ["", "x", "a b c d e"])
def test_what_is_no_owner_is_left_alone(text):
    assert not owner.is_gone(text)


def test_who_pauses_learns_that_the_run_is_over():
    interrupts.begin()
    interrupts.pause(0)
    interrupts.end()
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupts.pause(60)
    finally:
        interrupts.begin()


def test_a_program_says_what_it_needs():
    found = program_in(Path(sys.executable).resolve().read_bytes())
    assert found.machine in MACHINES.values()
    assert any(one.startswith("libc.") for one in found.needed)
    assert found.interpreter.startswith("/")


def test_what_is_cut_off_still_names_its_processor():
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x15\x00" + bytes(20)
    assert program_in(head).machine == MACHINES["ppc64le"]
    assert program_in(b"#!/bin/sh\n") is None
