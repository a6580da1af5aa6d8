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

"""LVMManageDriver: Cinder's face.

Translates Cinder's objects to the words of this package and its errors to
Cinder's; runs no command and holds no rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import functools
from typing import Any

from cinder import context
from cinder import coordination
from cinder import exception
from cinder import interface
from cinder import objects
from cinder import utils
from cinder.volume import configuration
from cinder.volume.drivers import lvm
from oslo_config import cfg
from oslo_log import log as logging

from cinder_lvm_manage import adoption
from cinder_lvm_manage import errors
from cinder_lvm_manage import listing
from cinder_lvm_manage import opts
from cinder_lvm_manage import verdict
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.naming import CinderNames
from cinder_lvm_manage.reference import abridged
from cinder_lvm_manage.reference import Reference
from cinder_lvm_manage.volume_group import VolumeGroup

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(opts.manage_opts, group=configuration.SHARED_CONF_GROUP)

# One process at a time judges and changes the LVs of a group, on all hosts
# that share a coordinator.
_one_at_a_time = coordination.synchronized(
    'cinder-lvm-manage-{self.vg.vg_name}')


@interface.volumedriver
class LVMManageDriver(lvm.LVMVolumeDriver):
    """Cinder's LVM driver, with the LVs that lie on the group already."""

    VERSION = '1.0.0'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(opts.manage_opts)

    @classmethod
    def get_driver_options(cls) -> list[cfg.Opt]:
        """Cinder's options for LVM, and opts.manage_opts."""
        return super().get_driver_options() + opts.manage_opts

    def manage_existing_get_size(self, volume: objects.Volume,
                                 existing_ref: dict[str, str]) -> int:
        """The size in GiB, rounded up from the LV's bytes.

        :raises ManageExistingInvalidReference,
            ManageExistingAlreadyManaged, ManageExistingVolumeTypeMismatch:
            whatever would keep manage_existing from it
        """
        with _cinders_errors(volume, existing_ref):
            return self._manageable(existing_ref).size_gib

    @_one_at_a_time
    def manage_existing(self, volume: objects.Volume,
                        existing_ref: dict[str, str]) -> None:
        """Give the LV the volume's name; raises as the method above."""
        with _cinders_errors(volume, existing_ref):
            lv = self._manageable(existing_ref)
            adoption.adopt(self._volume_group, lv, volume.id, volume.name)
        LOG.info('LV %(lv)s (UUID %(uuid)s) is volume %(id)s now.',
                 {'lv': lv.name, 'uuid': lv.uuid, 'id': volume.id})

    def get_manageable_volumes(self, cinder_volumes: Sequence[objects.Volume],
                               marker: Any, limit: int | None,
                               offset: int | None, sort_keys: Sequence[str],
                               sort_dirs: Sequence[str]
                               ) -> list[dict[str, Any]]:
        """One page of the group's visible LVs, safe to manage or not.

        :raises InvalidInput: marker or order is wrong
        """
        with _cinders_errors():
            inventory = self._volume_group.inventory()
            names = self._names
            lvs = listing.page(
                (lv for lv in inventory.lvs
                 if lv.visible and not names.is_snapshot(lv)),
                marker, limit, offset, sort_keys, sort_dirs)
            owners = self._owners(lvs, cinder_volumes)
            policy = self._policy
            entries = []
            for lv in lvs:
                owner = owners.get(lv.name)
                judged = verdict.judge(lv, inventory, owner, policy)
                entries.append(listing.volume_entry(lv, judged, owner))
            return entries

    @_one_at_a_time
    def unmanage(self, volume: objects.Volume) -> None:
        """Give the LV its old name back; its data stays as it is."""
        with _cinders_errors(volume):
            inventory = self._volume_group.inventory()
            # By its journal where an unmanage was cut off after the rename.
            lv = (inventory.by_name.get(volume.name)
                  or adoption.adopted_by(inventory, volume.id))
            if lv is None:
                LOG.warning('Volume %(id)s has no LV %(name)s in volume '
                            'group %(vg)s any more: nothing to give back.',
                            {'id': volume.id, 'name': volume.name,
                             'vg': inventory.vg_name})
                return
            name = adoption.give_back(
                self._volume_group, inventory, lv,
                self.configuration.lvm_manage_restore_name)
        LOG.info('LV %(lv)s (UUID %(uuid)s) is no longer volume %(id)s.',
                 {'lv': name, 'uuid': lv.uuid, 'id': volume.id})

    def delete_volume(self, volume: objects.Volume) -> None:
        """Delete the LV, but give it back if the volume never was available.

        Cinder undoes nothing when it fails after manage_existing; deleting
        what is left in error_managing must not take the LV's data.
        """
        if not (volume.launched_at is None and self._undo_adoption(volume)):
            super().delete_volume(volume)

    @_one_at_a_time
    def _undo_adoption(self, volume: objects.Volume) -> bool:
        """Give the volume's LV back; False if it has not adopted one."""
        with _cinders_errors(volume):
            inventory = self._volume_group.inventory()
            lv = adoption.adopted_by(inventory, volume.id)
            if lv is None:
                return False
            name = adoption.give_back(self._volume_group, inventory, lv,
                                      restore_name=True)
        LOG.warning('Volume %(id)s never became available: LV %(lv)s (UUID '
                    '%(uuid)s), which it was to manage, is given back and '
                    'not deleted.',
                    {'id': volume.id, 'lv': name, 'uuid': lv.uuid})
        return True

    def _manageable(self, existing_ref: object) -> LogicalVolume:
        """The LV that the reference points at, judged safe to manage."""
        reference = Reference.parse(existing_ref)
        inventory = self._volume_group.inventory()
        lv = inventory.find(reference)
        owner = self._owners([lv]).get(lv.name)
        judged = verdict.judge(lv, inventory, owner, self._policy)
        if not judged.safe:
            raise errors.NotManageable(lv.name, judged)
        return lv

    @property
    def _names(self) -> CinderNames:
        return CinderNames(CONF.volume_name_template)

    @property
    def _policy(self) -> verdict.Policy:
        settings = self.configuration
        return verdict.Policy(
            names=self._names,
            thin_pool=(self.vg.vg_thin_pool if settings.lvm_type == 'thin'
                       else None),
            in_use=settings.lvm_manage_in_use,
            without_device_mapper=settings.lvm_manage_without_device_mapper)

    def _owners(self, lvs: Iterable[LogicalVolume],
                cinder_volumes: Iterable[objects.Volume] = ()
                ) -> dict[str, str]:
        """Ids of the volumes that Cinder has, by the names of their LVs.

        :param cinder_volumes: those of this backend, where they are known;
            other volumes that an LV's name or journal speaks of are looked
            up, whichever backend they are of
        """
        owners = {volume.name: volume.id for volume in cinder_volumes}
        names = self._names
        by_name, by_journal = {}, {}
        for lv in lvs:
            if lv.name in owners:
                continue
            if volume_id := names.volume_id(lv.name):
                by_name[lv.name] = volume_id
            elif journal := adoption.Journal.of(lv):
                by_journal[lv.name] = journal.adopter
        volumes = _volumes({*by_name.values(), *by_journal.values()})
        for lv_name, volume_id in by_name.items():
            if volume_id in volumes:
                owners[lv_name] = volumes[volume_id].id
        for lv_name, volume_id in by_journal.items():
            # A journal on an LV without Cinder's name: an adoption that was
            # cut off, unless the volume has been available, when somebody
            # has renamed its LV by hand.
            if volume_id in volumes and volumes[volume_id].launched_at:
                owners[lv_name] = volume_id
        return owners

    @functools.cached_property
    def _volume_group(self) -> VolumeGroup:
        settings = self.configuration
        conf_file = settings.lvm_conf_file
        return VolumeGroup(
            self.vg.vg_name, utils.get_root_helper(),
            None if conf_file.lower() == 'none' else conf_file,
            settings.lvm_suppress_fd_warnings,
            settings.lvm_manage_command_timeout)


def _volumes(ids: set[str]) -> dict[str, objects.Volume]:
    """Those of Cinder's volumes that have one of these as id or name_id."""
    if not ids:
        return {}
    admin = context.get_admin_context()
    volumes = {}
    for column in ('_name_id', 'id'):
        for volume in objects.VolumeList.get_all(
                admin, filters={column: list(ids)}):
            volumes[getattr(volume, column)] = volume
    return volumes


@contextlib.contextmanager
def _cinders_errors(volume: objects.Volume | None = None,
                    existing_ref: object = None) -> Iterator[None]:
    """Turn this package's errors into Cinder's.

    A refusal is logged, for Cinder itself shows no more than a status.
    """
    try:
        yield
    except (errors.InvalidReference, errors.NotManageable) as exc:
        LOG.warning('Volume %(id)s cannot be managed from %(ref)s: %(why)s',
                    {'id': volume and volume.id,
                     'ref': abridged(existing_ref), 'why': exc})
        raise _refusal(existing_ref, exc) from exc
    except errors.InvalidPage as exc:
        raise exception.InvalidInput(reason=str(exc)) from exc
    except errors.LVMManageError as exc:
        raise exception.VolumeBackendAPIException(data=str(exc)) from exc
    except AttributeError as exc:
        # Cinder takes it for a driver without listing and answers with an
        # empty list (cinder/volume/manager.py, get_manageable_volumes).
        raise exception.VolumeDriverException(message=str(exc)) from exc


def _refusal(existing_ref: object,
             exc: errors.InvalidReference | errors.NotManageable
             ) -> exception.CinderException:
    if isinstance(exc, errors.NotManageable):
        if exc.verdict.kind is verdict.Kind.ALREADY_MANAGED:
            return exception.ManageExistingAlreadyManaged(volume_ref=exc)
        if exc.verdict.kind is verdict.Kind.TYPE_MISMATCH:
            return exception.ManageExistingVolumeTypeMismatch(reason=exc)
    return exception.ManageExistingInvalidReference(
        existing_ref=abridged(existing_ref), reason=exc)
