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

"""AnySizeLVMDriver: Cinder's LVM driver, corrected for LVs of any size.

Cinder's own code (cinder/volume/drivers/lvm.py) assumes that an LV is exactly
as long as the whole GiB that its database records. The methods here replace
those that fail or lose data where it is not. None of them concerns managing.
"""

from __future__ import annotations

import itertools
import os
from typing import Any
from typing import NamedTuple

from cinder import context
from cinder import exception
from cinder import objects
from cinder.volume import volume_utils
from cinder.volume.drivers import lvm
from oslo_utils import units

from cinder_lvm_manage.cinder_errors import translated
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.volume_group import VolumeGroup


class FoundLV(NamedTuple):
    """An LV and what it was found in."""

    lv: LogicalVolume
    inventory: Inventory


class AnySizeLVMDriver(lvm.LVMVolumeDriver):
    """Cinder's LVM driver, using each LV's real size to copy and clear it."""

    @translated('create snapshot {snapshot[id]}')
    def create_snapshot(self, snapshot: Any) -> None:
        """Give a thick snapshot room for its whole origin to be overwritten.

        LVMVolumeDriver rounds the origin's size to hundredths of a GiB. That
        is zero for an LV below 5 MiB. For others it can be too little, and a
        snapshot that overflows is lost.
        """
        if self._is_thin:
            super().create_snapshot(snapshot)
        else:
            self._volume_group.create_thick_snapshot(
                snapshot['volume_name'],
                self._escape_snapshot(snapshot['name']))

    @translated('create volume {volume[id]} from snapshot {snapshot[id]}')
    def create_volume_from_snapshot(self, volume: objects.Volume,
                                    snapshot: objects.Snapshot) -> None:
        """Copy the whole snapshot to an LV that is at least as long.

        LVMVolumeDriver copies the recorded GiB, and leaves a thin volume
        shorter than its recorded size.
        """
        source = self._found(self._escape_snapshot(snapshot['name']))
        super().create_volume_from_snapshot(
            _large_enough(volume, source),
            {'name': snapshot['name'], 'volume_size': _exact_gib(source.lv)})

    @translated('clone volume {src_vref[id]} to {volume[id]}')
    def create_cloned_volume(self, volume: objects.Volume,
                             src_vref: objects.Volume) -> None:
        """Copy the whole LV; see create_volume_from_snapshot."""
        source = self._found(src_vref['name'])
        super().create_cloned_volume(
            _large_enough(volume, source),
            {'id': src_vref['id'], 'name': src_vref['name'],
             'size': _exact_gib(source.lv)})

    @translated('extend volume {volume[id]}')
    def extend_volume(self, volume: Any, new_size: int) -> None:
        """Extend the LV, unless it is that long already.

        LVMVolumeDriver fails then, because lvextend does.
        """
        lv = self._found(volume['name']).lv
        if lv.size < new_size * units.Gi:
            super().extend_volume(volume, new_size)

    @translated('migrate volume {volume[id]}')
    def migrate_volume(self, ctxt: context.RequestContext,
                       volume: objects.Volume, host: dict[str, Any],
                       *args: Any, **kwargs: Any
                       ) -> tuple[bool, dict[str, Any] | None]:
        """Copy the whole LV to another group of this host.

        LVMVolumeDriver copies the recorded GiB. When it copies a thin LV to a
        thick one, it skips zeros, where the new LV has data of deleted LVs.
        Those migrations are left to Cinder's generic one, which does not.
        """
        location = host['capabilities'].get('location_info', '').split(':')
        if self._is_thin and location[3:4] != ['thin']:
            return False, None
        # The other group may round up less than this one.
        lv = self._found(volume['name']).lv
        return super().migrate_volume(
            ctxt, _of_size(volume, max(volume['size'], lv.size_gib)), host,
            *args, **kwargs)

    @translated('migrate volume {src_vol[id]}')
    def before_volume_copy(self, context: context.RequestContext,
                           src_vol: objects.Volume, dest_vol: objects.Volume,
                           remote: str | None = None) -> None:
        """Refuse to migrate an LV that Cinder would truncate.

        Cinder's generic migration copies the recorded GiB.

        :raises VolumeMigrationFailed: the LV is longer than its record
        """
        found = self._found(src_vol['name'])
        lv = found.lv
        if (lv.size > src_vol['size'] * units.Gi
                and not _is_rounded_up(found, src_vol)):
            exact = _exact_size_gib(found)
            raise exception.VolumeMigrationFailed(
                reason=f"volume {src_vol['id']} is recorded with "
                       f"{src_vol['size']} GiB, but LV {lv.name} has "
                       f'{lv.size} bytes, and Cinder would copy only '
                       f"{src_vol['size']} GiB: extend the volume to {exact} "
                       'GiB first')
        super().before_volume_copy(context, src_vol, dest_vol, remote)

    @translated('revert volume {volume[id]} to snapshot {snapshot[id]}')
    def revert_to_snapshot(self, context: context.RequestContext,
                           volume: objects.Volume,
                           snapshot: objects.Snapshot) -> None:
        """Merge the snapshot, thick or thin, and create it again.

        LVMVolumeDriver has Cinder copy a thin snapshot over the volume, and
        that copy skips zeros where the volume has other data.
        """
        lv = self._found(self._escape_snapshot(snapshot.name)).lv
        self.vg.revert(lv.name)
        self.vg.deactivate_lv(volume.name)
        self.vg.activate_lv(volume.name)
        self.create_snapshot(snapshot)
        if lv.tags:
            self._volume_group.change(lv.name, add_tags=lv.tags)

    @translated('clear volume or snapshot {volume[id]}')
    def _clear_volume(self, volume: Any, is_snapshot: bool = False) -> None:
        """Clear the whole LV, or the whole room of a thick snapshot.

        LVMVolumeDriver writes the recorded GiB. That is too much for a shorter
        LV, whose delete then fails.
        """
        lv = self._found(self._escape_snapshot(volume['name'])).lv
        path = self.local_path(volume) + ('-cow' if is_snapshot else '')
        if not os.path.exists(path):
            self.vg.activate_lv(lv.name, is_snapshot)
        settings = self.configuration
        size = lv.lv_size / units.Mi
        volume_utils.clear_volume(
            size, path, volume_clear=settings.volume_clear,
            volume_clear_size=min(settings.volume_clear_size or size, size),
            volume_clear_ionice=settings.volume_clear_ionice)

    def _found(self, name: str) -> FoundLV:
        """:raises VolumeBackendAPIException: there is no such LV"""
        inventory = self._volume_group.inventory()
        try:
            return FoundLV(inventory.by_name[name], inventory)
        except KeyError:
            raise exception.VolumeBackendAPIException(
                data=f'LV {name} not found in volume group '
                     f'{inventory.vg_name}') from None

    @property
    def _volume_group(self) -> VolumeGroup:
        raise NotImplementedError

    @property
    def _is_thin(self) -> bool:
        return self.configuration.lvm_type == 'thin'


def _exact_gib(lv: LogicalVolume) -> float:
    """Return the size in GiB, for code that converts it back to bytes.

    It is exact, because a size is a multiple of 512 bytes below 2**62.
    """
    return lv.size / units.Gi


def _large_enough(volume: objects.Volume, source: FoundLV) -> objects.Volume:
    """Return the volume, or one like it that is large enough for the source.

    In a group whose extent size does not divide a GiB, LVM rounds both up to
    the same size.
    """
    allocated = source.inventory.allocated(volume['size'] * units.Gi)
    if allocated >= source.lv.size:
        return volume
    return _of_size(volume, source.lv.size_gib)


def _of_size(volume: objects.Volume, size_gib: int) -> objects.Volume:
    """Return the volume, or one like it of another size.

    The copy is for the driver only and must not be saved.
    """
    if volume['size'] == size_gib:
        return volume
    other = volume.obj_clone()
    other.size = size_gib
    return other


def _is_rounded_up(found: FoundLV, volume: objects.Volume) -> bool:
    """Return whether Cinder made the LV, and LVM rounded its size up.

    Then there is no data beyond the recorded size. An LV that is older than
    its volume was adopted, and may have data there.
    """
    recorded = volume['size'] * units.Gi
    # LVM records whole seconds.
    recorded_at = volume['created_at'].replace(microsecond=0)
    created_at = found.lv.created_at
    return (found.lv.size <= found.inventory.allocated(recorded)
            and created_at is not None and created_at >= recorded_at)


def _exact_size_gib(found: FoundLV) -> int:
    """Return the smallest size in GiB, at least the LV's, that LVM can make.
    """
    return next(gib for gib in itertools.count(found.lv.size_gib)
                if found.inventory.allocated(gib * units.Gi, found.lv)
                == gib * units.Gi)
