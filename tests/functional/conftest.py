#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

"""The driver on real LVM, loaded as cinder-volume loads it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import functools
import os
import pathlib
from typing import Any
from unittest import mock

from cinder import objects
from oslo_concurrency import processutils
import pytest

from tests.lab import zoo
from tests.lab.in_process import CinderInProcess
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.shared_lvm import SharedLvm
from tests.unit import reports


@pytest.fixture(scope='session', autouse=True)
def cinder(tmp_path_factory: pytest.TempPathFactory
           ) -> Iterator[CinderInProcess]:
    """Cinder's database and locks in this process."""
    with CinderInProcess(tmp_path_factory.mktemp('cinder')) as in_process:
        yield in_process


@pytest.fixture
def group() -> Iterator[ScratchVolumeGroup]:
    """An empty volume group of two physical volumes."""
    with (ScratchVolumeGroup(physical_volumes=2) as vg,
          mock.patch.dict(os.environ, vg.environment)):
        yield vg


@pytest.fixture
def zoo_group(group: ScratchVolumeGroup) -> ScratchVolumeGroup:
    """A volume group with an LV of every kind."""
    zoo.build(group)
    return group


@pytest.fixture
def lvm(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> SharedLvm:
    """Make the group shared; the test runs on the host "here"."""
    lvm = SharedLvm(tmp_path)
    monkeypatch.setenv('PATH', lvm.path('here'))
    return lvm


@pytest.fixture
def load(cinder: CinderInProcess,
         group: ScratchVolumeGroup) -> Callable[..., Any]:
    """A function that sets up a driver for the group, with these options."""
    return functools.partial(cinder.driver, group)


@pytest.fixture
def driver(load: Callable[..., Any]) -> Any:
    """This project's driver for thick volumes in the group."""
    return load()


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that Cinder and os-brick have run so far."""
    ran = []
    execute = processutils.execute

    def recorded(*command: str, **options: Any) -> tuple[str, str]:
        ran.append(command)
        return execute(*command, **options)

    monkeypatch.setattr(processutils, 'execute', recorded)
    return ran


@pytest.fixture
def replay(tmp_path: pathlib.Path,
           monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes lvm print a recorded report from now on."""
    def replay_report(name: str) -> None:
        lvm = tmp_path / 'lvm'
        lvm.write_text(f'#!/bin/sh\ncat {reports.FOLDER / name}.json\n')
        lvm.chmod(0o755)
        monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    return replay_report


@pytest.fixture
def volume(cinder: CinderInProcess) -> Callable[..., objects.Volume]:
    """A function that records a volume in Cinder's database."""
    return cinder.record_volume


@pytest.fixture
def snapshot(cinder: CinderInProcess) -> Callable[..., objects.Snapshot]:
    """A function that records a snapshot of a volume in the database."""
    return cinder.record_snapshot
