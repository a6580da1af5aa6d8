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

"""Device nodes of LVs where the kernel has no device-mapper.

The bytes of a linear LV are a range of its physical volume. So a loop device
of that range, linked as /dev/VG/LV, is the LV's device.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
import pathlib
import subprocess

from tests.lab.scratch import ScratchVolumeGroup


class DeviceNodes:
    """Creates device nodes in /dev/VG; use it through device_nodes()."""

    def __init__(self, group: ScratchVolumeGroup, folder: pathlib.Path,
                 cleanup: contextlib.ExitStack) -> None:
        self._group = group
        self._folder = folder
        self._cleanup = cleanup

    def create(self, lv_name: str) -> pathlib.Path:
        """Create the device node of a linear LV."""
        physical_volume, offset, size = self._group.extents(
            self._group.names()[lv_name])
        device = _losetup('--find', '--show', '--offset', str(offset),
                          '--sizelimit', str(size), physical_volume).strip()
        # The kernel detaches it when it is closed, even if this process is
        # killed.
        self._cleanup.callback(os.close, os.open(device, os.O_RDONLY))
        _losetup('--detach', device)
        return self.link(lv_name, device)

    def link(self, lv_name: str, device: str) -> pathlib.Path:
        """Create a device node that refers to another device."""
        node = self._folder / lv_name
        node.symlink_to(device)
        self._cleanup.callback(node.unlink)
        return node


@contextlib.contextmanager
def device_nodes(group: ScratchVolumeGroup) -> Iterator[DeviceNodes]:
    """Create device nodes for LVs of the group, and remove them at the end.

    :param group: its name must be unique on this host
    """
    with contextlib.ExitStack() as cleanup:
        folder = pathlib.Path('/dev', group.name)
        folder.mkdir()
        cleanup.callback(folder.rmdir)
        yield DeviceNodes(group, folder, cleanup)


def _losetup(*options: str) -> str:
    return subprocess.run(['losetup', *options], check=True, text=True,
                          stdout=subprocess.PIPE).stdout
