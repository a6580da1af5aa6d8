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

"""RecordedTarget: iSCSI targets that are files, one for each export.

It stands in for LIO, which needs the device of an active LV. As with LIO,
access cannot be granted or withdrawn without a target.
"""

from __future__ import annotations

import pathlib
from typing import Any

from cinder import exception
from cinder.volume.targets import iscsi

from cinder_lvm_manage.driver import LVMManageDriver


class RecordedTarget(iscsi.ISCSITarget):
    """A target for each export: a file in volumes_dir with its initiators."""

    def _get_target_and_lun(self, context: object, volume: object
                            ) -> tuple[int, int]:
        return 0, 0

    def create_iscsi_target(self, name: str, *args: Any, **kwargs: Any) -> int:
        path = self._path(name)
        path.parent.mkdir(exist_ok=True)
        path.open('a').close()
        return 0

    def remove_iscsi_target(self, tid: int, lun: int, vol_id: str,
                            vol_name: str, **kwargs: Any) -> None:
        self._path(self.iscsi_target_prefix + vol_name).unlink()

    def initialize_connection(self, volume: Any, connector: dict[str, Any]
                              ) -> Any:
        path = self._path(volume.provider_location.split()[1])
        if not path.exists():
            raise exception.ISCSITargetAttachFailed(volume_id=volume.id)
        with path.open('a') as file:
            file.write(connector['initiator'] + '\n')
        return super().initialize_connection(volume, connector)

    def terminate_connection(self, volume: Any, connector: dict[str, Any],
                             **kwargs: Any) -> None:
        path = self._path(volume.provider_location.split()[1])
        if not path.exists():
            raise exception.ISCSITargetDetachFailed(volume_id=volume.id)
        initiators = path.read_text().splitlines()
        initiators.remove(connector['initiator'])
        path.write_text(''.join(f'{name}\n' for name in initiators))

    def _get_iscsi_target(self, context: object, vol_id: str) -> None:
        pass

    def _get_target(self, iqn: str) -> int | None:
        return 0 if self._path(iqn).exists() else None

    def _path(self, iqn: str) -> pathlib.Path:
        return pathlib.Path(self.volumes_dir, iqn)


class RecordingDriver(LVMManageDriver):
    """The driver, with these targets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.target_driver = RecordedTarget(configuration=self.configuration)
