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

"""CinderInProcess: the parts of Cinder that a driver needs, no services."""

from __future__ import annotations

import pathlib
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
from oslo_utils import timeutils
from oslo_utils import uuidutils

from tests.lab import service_conf
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import OURS

_BACKEND = 'lvm'

# The import of cinder.volume.manager, below, needs them.
objects.register_all()


class CinderInProcess:
    """A context manager: a database, locks, and drivers loaded from a file.

    A process can have only one, because Cinder's configuration is global.
    """

    def __init__(self, state: pathlib.Path,
                 privileged_daemon: bool = False) -> None:
        """Describe what `with` sets up.

        :param state: an empty folder for their files
        :param privileged_daemon: run os-brick's commands by a daemon, as
            cinder-volume does, instead of in this process
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

    def __exit__(self, *exception: object) -> None:
        coordination.COORDINATOR.stop()

    def driver(self, vg: ScratchVolumeGroup, volume_driver: str = OURS,
               **options: object) -> Any:
        """Load and set up a driver for the group, as cinder-volume does.

        :param options: override those of the backend's section
        """
        from cinder.volume import manager

        self._configure({
            **service_conf.lvm_backend(vg, _BACKEND, volume_driver),
            **options})
        driver = manager.VolumeManager(
            service_name=_BACKEND, host=f'lab@{_BACKEND}').driver
        driver.do_setup(context.get_admin_context())
        driver.check_for_setup_error()
        return driver

    def record_volume(self, **fields: object) -> objects.Volume:
        """Record a volume that is being managed."""
        admin = context.get_admin_context()
        volume_type = db.volume_type_get_by_name(admin, '__DEFAULT__')
        volume = objects.Volume(admin, **{
            'status': 'managing', 'size': 1, 'host': 'lab@lvm#LVM',
            'project_id': 'p', 'user_id': 'u',
            'volume_type_id': volume_type['id']} | fields)
        volume.create()
        return objects.Volume.get_by_id(admin, volume.id)

    def manage(self, driver: Any, lv_name: str) -> objects.Volume:
        """Manage an LV, and return its volume, which is then available."""
        volume = self.record_volume()
        driver.manage_existing(volume, {'source-name': lv_name})
        volume.status = 'available'
        volume.launched_at = timeutils.utcnow()
        volume.save()
        return volume

    def record_volume_type(self, extra_specs: dict[str, str]) -> str:
        """Record a volume type, and return its id."""
        return str(volume_types.create(
            context.get_admin_context(), uuidutils.generate_uuid(),
            extra_specs)['id'])

    def record_snapshot(self, parent: objects.Volume) -> objects.Snapshot:
        """Record a snapshot that is being managed."""
        admin = context.get_admin_context()
        snapshot = objects.Snapshot(
            admin, volume_id=parent.id, volume_size=parent.size,
            status='creating', project_id='p', user_id='u',
            volume_type_id=parent.volume_type_id)
        snapshot.create()
        return objects.Snapshot.get_by_id(admin, snapshot.id)

    def _configure(self, backend: service_conf.Options) -> None:
        path = self._state / 'cinder.conf'
        service_conf.write(path, service_conf.cinder(path,
                                                     {_BACKEND: backend}))
        cfg.CONF(['--config-file', str(path)], project='cinder')
