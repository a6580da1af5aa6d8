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
import os
import pathlib
from typing import Any
from unittest import mock

from cinder import context
from cinder import coordination
from cinder import objects
from cinder import rpc
import cinder.common.config
from cinder.db import api as db
from cinder.db import migration
import cinder.privsep
import os_brick.privileged
from oslo_concurrency import processutils
from oslo_config import cfg
import pytest

from tests.lab import zoo
from tests.lab.scratch import ScratchVolumeGroup

OURS = 'cinder_lvm_manage.driver.LVMManageDriver'
IN_TREE = 'cinder.volume.drivers.lvm.LVMVolumeDriver'

_CINDER_CONF = """
[DEFAULT]
state_path = {state}
transport_url = fake://
enabled_backends = lvm
[database]
connection = sqlite:///{state}/cinder.sqlite
[oslo_concurrency]
lock_path = {state}
[lvm]
"""


objects.register_all()


@pytest.fixture(scope='session')
def state(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where Cinder keeps its database and its locks."""
    return tmp_path_factory.mktemp('cinder')


@pytest.fixture(scope='session', autouse=True)
def cinder_in_this_process(state: pathlib.Path) -> Iterator[None]:
    """Cinder's database and locks, and its privileged functions."""
    _configure(state, {})
    # Root needs no privileged daemon; commands are run from this process.
    for privileged in (os_brick.privileged.default,
                       cinder.privsep.sys_admin_pctxt):
        privileged.set_client_mode(False)
    migration.db_sync()
    rpc.init(cfg.CONF)
    coordination.COORDINATOR.start()
    yield
    coordination.COORDINATOR.stop()


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
def load(group: ScratchVolumeGroup,
         state: pathlib.Path) -> Callable[..., Any]:
    """A function that sets up a driver for the group, with these options."""
    # It names Cinder's objects, which are not there before register_all().
    from cinder.volume import manager

    def load_driver(volume_driver: str = OURS, **options: object) -> Any:
        _configure(state, {
            'volume_driver': volume_driver,
            'volume_group': group.name,
            'lvm_type': 'default',
            'lvm_conf_file': group.lvm_conf,
            'lvm_suppress_fd_warnings': True,
            'lvm_manage_without_device_mapper': True,
            'target_helper': 'fake',
            'volume_clear': 'none'} | options)
        driver = manager.VolumeManager(service_name='lvm',
                                       host='lab@lvm').driver
        driver.do_setup(context.get_admin_context())
        driver.check_for_setup_error()
        return driver
    return load_driver


@pytest.fixture
def driver(load: Callable[..., Any]) -> Any:
    """This project's driver for thick volumes in the group."""
    return load()


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that Cinder and os-brick have run, LVM's and others."""
    ran = []
    execute = processutils.execute

    def recorded(*command: str, **options: Any) -> tuple[str, str]:
        ran.append(command)
        return execute(*command, **options)

    monkeypatch.setattr(processutils, 'execute', recorded)
    return ran


@pytest.fixture
def volume() -> Callable[..., objects.Volume]:
    """A function that records a volume in Cinder's database."""
    admin = context.get_admin_context()
    volume_type = db.volume_type_get_by_name(admin, '__DEFAULT__')

    def record(**fields: object) -> objects.Volume:
        recorded = objects.Volume(admin, **{
            'status': 'managing', 'size': 1, 'host': 'lab@lvm#LVM',
            'project_id': 'p', 'user_id': 'u',
            'volume_type_id': volume_type['id']} | fields)
        recorded.create()
        return objects.Volume.get_by_id(admin, recorded.id)
    return record


@pytest.fixture
def snapshot() -> Callable[..., objects.Snapshot]:
    """A function that records a snapshot of a volume in the database."""
    admin = context.get_admin_context()

    def record(parent: objects.Volume, **fields: object) -> objects.Snapshot:
        recorded = objects.Snapshot(admin, **{
            'volume_id': parent.id, 'volume_size': parent.size,
            'status': 'creating', 'project_id': 'p', 'user_id': 'u',
            'volume_type_id': parent.volume_type_id} | fields)
        recorded.create()
        return objects.Snapshot.get_by_id(admin, recorded.id)
    return record


def _configure(state: pathlib.Path, backend: dict[str, object]) -> None:
    conf_file = state / 'cinder.conf'
    conf_file.write_text(
        _CINDER_CONF.format(state=state)
        + ''.join(f'{name} = {value}\n' for name, value in backend.items()))
    cfg.CONF(['--config-file', str(conf_file)], project='cinder')
