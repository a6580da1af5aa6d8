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

"""CinderInProcess: what a driver needs of Cinder, without its services."""

from __future__ import annotations

import pathlib
import sys
import types
from typing import Any

from cinder import context
from cinder import coordination
from cinder import objects
from cinder import rpc
import cinder.common.config
from cinder.db import api as db
from cinder.db import migration
import cinder.privsep
from cinder.volume import volume_types
import os_brick
import os_brick.privileged
from oslo_config import cfg
from oslo_utils import uuidutils

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
[privsep_osbrick]
helper_command = {prefix}/bin/privsep-helper --config-file {state}/cinder.conf
[lvm]
"""

# cinder.volume.manager, imported below, wants them at once.
objects.register_all()


class CinderInProcess:
    """A context manager: a database, locks, and drivers loaded from a conf.

    There can be one in a process, for so it is with Cinder's configuration.
    """

    def __init__(self, state: pathlib.Path,
                 privileged_daemon: bool = False) -> None:
        """Describe what `with` sets up.

        :param state: an empty folder
        :param privileged_daemon: run os-brick's commands through a daemon, as
            a cinder-volume does; else from this process, which is root's
        """
        self._state = state
        self._privileged_daemon = privileged_daemon

    def __enter__(self) -> CinderInProcess:
        self._configure({})
        if not self._privileged_daemon:
            os_brick.privileged.default.set_client_mode(False)
        cinder.privsep.sys_admin_pctxt.set_client_mode(False)
        os_brick.setup(cfg.CONF)
        migration.db_sync()
        rpc.init(cfg.CONF)
        coordination.COORDINATOR.start()
        return self

    def __exit__(self, kind: type[BaseException] | None,
                 value: BaseException | None,
                 traceback: types.TracebackType | None) -> None:
        coordination.COORDINATOR.stop()

    def driver(self, vg: ScratchVolumeGroup, volume_driver: str = OURS,
               **options: object) -> Any:
        """A driver for the group, loaded and set up as cinder-volume does.

        :param options: of the backend's section
        """
        from cinder.volume import manager

        self._configure({
            'volume_driver': volume_driver,
            'volume_group': vg.name,
            'lvm_type': 'default',
            'lvm_conf_file': vg.lvm_conf,
            'lvm_suppress_fd_warnings': True,
            'lvm_manage_without_device_mapper': True,
            'target_helper': 'fake',
            'volume_clear': 'none'} | options)
        driver = manager.VolumeManager(service_name='lvm',
                                       host='lab@lvm').driver
        driver.do_setup(context.get_admin_context())
        driver.check_for_setup_error()
        return driver

    def record_volume(self, **fields: object) -> objects.Volume:
        """A volume in the database, as one that is being managed."""
        admin = context.get_admin_context()
        volume_type = db.volume_type_get_by_name(admin, '__DEFAULT__')
        volume = objects.Volume(admin, **{
            'status': 'managing', 'size': 1, 'host': 'lab@lvm#LVM',
            'project_id': 'p', 'user_id': 'u',
            'volume_type_id': volume_type['id']} | fields)
        volume.create()
        return objects.Volume.get_by_id(admin, volume.id)

    def record_volume_type(self, extra_specs: dict[str, str]) -> str:
        """The id of a new volume type."""
        return str(volume_types.create(
            context.get_admin_context(), uuidutils.generate_uuid(),
            extra_specs)['id'])

    def record_snapshot(self, parent: objects.Volume) -> objects.Snapshot:
        """A snapshot in the database, as one that is being managed."""
        admin = context.get_admin_context()
        snapshot = objects.Snapshot(
            admin, volume_id=parent.id, volume_size=parent.size,
            status='creating', project_id='p', user_id='u',
            volume_type_id=parent.volume_type_id)
        snapshot.create()
        return objects.Snapshot.get_by_id(admin, snapshot.id)

    def _configure(self, backend: dict[str, object]) -> None:
        conf_file = self._state / 'cinder.conf'
        conf_file.write_text(
            _CINDER_CONF.format(state=self._state, prefix=sys.prefix)
            + ''.join(f'{name} = {value}\n'
                      for name, value in backend.items()))
        cfg.CONF(['--config-file', str(conf_file)], project='cinder')
