"""A fault that is switched on in a server that runs, and off again.

Here: switch.py, and one server with and one without `--drills`. Not here: what each fault does (test_faults.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys_assets.serving.faults import FAULTS, Drill, Faults
from recsys_assets.serving.manifests import inference_service
from recsys_assets.serving.server import parse_options
from recsys_assets.serving.switch import LOOK_SECONDS, BadSwitch, Switch, read_switch, switch_path
from recsys_assets_tests.rollout.build import model
from recsys_assets_tests.serving.processes import Running, running
from recsys_assets_tests.serving.switching import switch_off, switch_on
from recsys_assets_tests.waiting import eventually


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_fault_is_on_from_the_next_look_until_it_is_switched_off(tmp_path: Path) -> None:
    clock = Clock()
    switch = Switch(switch_path(tmp_path, "m-v1"), clock=clock, wall=clock)
    assert switch() is None
    switch_on(tmp_path, "m-v1", Drill.of("failing", share=1.0))
    assert switch() is None  # not looked at again yet
    clock.now += LOOK_SECONDS
    assert switch() == Drill("failing", 1.0)
    switch_off(tmp_path, "m-v1")
    clock.now += LOOK_SECONDS
    assert switch() is None


def test_a_fault_ends_by_itself_at_its_time(tmp_path: Path) -> None:
    clock = Clock()
    switch_on(tmp_path, "m-v1", Drill.of("slow"), until=110.0)
    switch = Switch(switch_path(tmp_path, "m-v1"), clock=clock, wall=clock)
    assert switch() == Drill("slow", 1.0)
    clock.now = 110.0
    assert switch() is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"fault": "drop_tables"}',
        b'{"fault": "slow", "seconds": 1e9}',
        b'{"fault": "failing", "share": 2}',
    ],
)
def test_a_file_that_says_no_drill_is_none(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadSwitch):
        read_switch(text)
    path = switch_on(tmp_path, "m-v1", Drill.of("slow"))
    path.write_bytes(text)
    assert Switch(path, clock=Clock(), wall=Clock())() is None


def test_what_was_switched_on_outranks_what_the_server_was_started_with() -> None:
    faults = Faults("failing", lambda: Drill.of("slow", seconds=0.1))
    assert faults.delay_seconds("r") == 0.1
    assert not any(faults.fails(str(n)) for n in range(100))


def test_the_command_line_knows_every_fault(tmp_path: Path) -> None:
    for fault in FAULTS:
        given = ["--bundle", "b", "--port", "1", "--home", str(tmp_path), "--fault", fault]
        assert (parse_options(given).fault, parse_options(given).drills) == (fault, False)


@pytest.mark.parametrize("drills", [True, False])
def test_a_manifest_lets_faults_be_switched_on_only_where_the_settings_say_so(drills: bool, tmp_path: Path) -> None:
    made = inference_service(model(), role="challenger", bundle_path=tmp_path, home=tmp_path, drills=drills)
    arguments = made["spec"]["predictor"]["containers"][0]["args"]
    assert parse_options([word.replace("$(PORT)", "8080") for word in arguments]).drills is drills


def test_only_a_server_started_for_drills_heeds_the_file(home: Path) -> None:
    arguments = ("--bundle", home / "bundles" / "3", "--home", home, "--service")
    with running("server", *arguments, "heeds", "--drills") as heeds, running("server", *arguments, "deaf") as deaf:
        assert heeds.predict({"user_id": "u02"}, headers={"x-user-id": "v"}).status_code == 200
        for service in ("heeds", "deaf"):
            switch_on(home, service, Drill.of("failing", share=1.0))
        eventually(lambda: _asked(heeds) == 500)
        assert heeds.predict({"user_id": "u02"}).status_code == 200  # a probe is no visitor
        assert _asked(deaf) == 200
        switch_off(home, "heeds")
        eventually(lambda: _asked(heeds) == 200)


def _asked(server: Running) -> int:
    return server.predict({"user_id": "u02"}, headers={"x-user-id": "v"}).status_code
