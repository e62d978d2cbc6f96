"""Exams without a sidecar, built from what their headers say, through the whole agent."""

from __future__ import annotations

import pytest

from tests.agent.conftest import NewWorld
from tests.fakes import World, an_image


def said(number: int = 1, **changes: str) -> dict[str, str]:
    """What the headers of exam `number` say; an empty value is not said."""
    known = {"patientName": "测试甲", "patientSex": "M", "studyId": f"S{number}", "accessNumber": f"ACC{number}"}
    told = {**known, "modality": "CT", "studyUid": f"1.2.{number}", **changes}
    return {name: value for name, value in told.items() if value}


@pytest.fixture
def world(new_world: NewWorld) -> World:
    return new_world(by_headers=True, quiet_s=10.0)


def test_a_folder_of_images_that_say_everything_needs_no_sidecar(world: World) -> None:
    world.drop.put("CD1/IM1", an_image(1, 1, **said()))
    world.drop.put("CD1/IM2", an_image(1, 2, **said()))
    world.run(60.0)
    assert (set(world.states().values()), world.gateway.posted) == ({"DONE"}, ["ACC1"])
    assert world.drop.files == {}


def test_what_the_headers_do_not_say_is_waited_for(world: World) -> None:
    world.drop.put("CD1/IM1", an_image(1, 1, **said(accessNumber="")))
    world.run(60.0)
    (name,) = world.states()
    assert world.codes(name) == ["FA-NEEDS-SIDECAR"]
    assert dict(world.bundle(name).reasons[0].values)["fields"] == "accessNumber"
