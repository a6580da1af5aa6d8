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

"""LVMManageDriver: what Cinder calls.

It runs no commands and contains no rules.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import functools
from typing import Any
from typing import NamedTuple

from cinder import context
from cinder import coordination
from cinder import exception
from cinder import interface
from cinder import objects
from cinder import utils
from cinder.volume import configuration
from oslo_config import cfg
from oslo_log import log as logging

from cinder_lvm_manage import adoption
from cinder_lvm_manage import block_device
from cinder_lvm_manage import cinder_records
from cinder_lvm_manage import contents
from cinder_lvm_manage import errors
from cinder_lvm_manage import listing
from cinder_lvm_manage import opts
from cinder_lvm_manage import verdict
from cinder_lvm_manage.block_device import User
from cinder_lvm_manage.cinder_errors import translated
from cinder_lvm_manage.cinder_errors import without_attribute_errors
from cinder_lvm_manage.claim import ActivationLists
from cinder_lvm_manage.claim import Policy
from cinder_lvm_manage.claim import SnapshotClaim
from cinder_lvm_manage.claim import VolumeClaim
from cinder_lvm_manage.contents import Contents
from cinder_lvm_manage.exclusive_activation import Held
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.naming import CinderNames
from cinder_lvm_manage.peers import asking_host
from cinder_lvm_manage.peers import routed
from cinder_lvm_manage.reference import Reference
from cinder_lvm_manage.shared_group import SharedGroupLVMDriver
from cinder_lvm_manage.verdict import Verdict
from cinder_lvm_manage.volume_group import VolumeGroup

LOG = logging.getLogger(__name__)

CONF = cfg.CONF
CONF.register_opts(opts.manage_opts, group=configuration.SHARED_CONF_GROUP)

# How many time limits of a command a request waits for the group's lock.
_PATIENCE = 5


class Candidate(NamedTuple):
    """An LV that is safe to manage, with its inventory and verdict."""

    lv: LogicalVolume
    inventory: Inventory
    verdict: Verdict


# Returns the claim of one volume or snapshot to the LV.
Claimant = Callable[[LogicalVolume, Inventory], VolumeClaim | SnapshotClaim]


@interface.volumedriver
class LVMManageDriver(SharedGroupLVMDriver):
    """Cinder's LVM driver, which also manages the LVs that already exist."""

    VERSION = '1.0.0'
    # Cinder's CI does not test this driver.
    CI_WIKI_NAME = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(opts.manage_opts)
        self._activation_lists = ActivationLists()

    @classmethod
    def get_driver_options(cls) -> list[cfg.Opt]:
        """Return the options of Cinder's LVM driver, and opts.manage_opts."""
        return super().get_driver_options() + opts.manage_opts

    def check_for_setup_error(self) -> None:
        """Report adoptions that were interrupted when the service stopped.

        :raises VolumeBackendAPIException: Cinder's LVM driver cannot read what
            LVM prints with the operator's settings
        """
        self._check_lvm_conf()
        super().check_for_setup_error()
        self._report_interrupted_adoptions()

    @translated('start')
    def _check_lvm_conf(self) -> None:
        self._volume_group.check_output_for_cinder()
        self._activation_lists = self._volume_group.activation_lists()

    @translated('look for interrupted adoptions')
    def _report_interrupted_adoptions(self) -> None:
        # What another service of the cluster adopts may not be recorded yet.
        running = self._peers.running() if self._peers else set()
        journals = {lv: journal for lv in self._volume_group.inventory().lvs
                    if (journal := adoption.Journal.of(lv))
                    and journal.host not in running}
        incomplete = cinder_records.incomplete(
            {journal.adopter for journal in journals.values()})
        for lv, journal in journals.items():
            if journal.adopter in incomplete:
                LOG.warning(
                    'Managing LV %(former)s (UUID %(uuid)s) of volume group '
                    '%(vg)s as %(id)s was interrupted; the LV is now named '
                    '%(name)s. Set the state of %(id)s to error and delete '
                    'it: the LV will be restored, not deleted.',
                    {'former': journal.former_name, 'uuid': lv.uuid,
                     'vg': self.vg.vg_name, 'id': journal.adopter,
                     'name': lv.name})

    @translated('manage existing LV {existing_ref} as volume {volume.id}')
    def manage_existing_get_size(self, volume: objects.Volume,
                                 existing_ref: object) -> int:
        """Return the size in GiB, rounded up from the LV's bytes.

        :raises ManageExistingInvalidReference,
            ManageExistingAlreadyManaged, ManageExistingVolumeTypeMismatch:
            for every reason for which manage_existing would fail
        """
        return self._candidate(existing_ref,
                               self._volume_claimant(volume)).lv.size_gib

    @routed
    @translated('manage existing LV {existing_ref} as volume {volume.id}')
    def manage_existing(self, volume: objects.Volume,
                        existing_ref: object) -> None:
        """Rename the LV to the volume's name.

        In a shared group, the LV is inactive after that. It raises the same
        errors as manage_existing_get_size.
        """
        cinder_records.withdraw_if_it_fails(volume, 'launched_at')
        with self._group_locked():
            found = self._candidate(existing_ref,
                                    self._volume_claimant(volume))
            if self._on_demand:
                self._examine(found)
            adoption.adopt(self._volume_group, found.inventory, found.lv,
                           volume.id, volume.name, ready=not self._on_demand,
                           extend_to=found.verdict.extend_to,
                           accept=(None if self._on_demand
                                   else self._acceptance(found)),
                           host=self._policy.adopting_host)

    @translated('list manageable volumes')
    @without_attribute_errors
    def get_manageable_volumes(self, cinder_volumes: Sequence[objects.Volume],
                               marker: object, limit: int | None,
                               offset: int | None, sort_keys: Sequence[str],
                               sort_dirs: Sequence[str]
                               ) -> list[dict[str, Any]]:
        """Return one page of the group's visible LVs, safe to manage or not.

        :raises InvalidInput: the marker or the order is wrong
        """
        inventory = self._volume_group.inventory()
        names = self._policy.names
        lvs = listing.page((lv for lv in inventory.lvs if lv.visible
                            and names.can_be_volume(lv)),
                           marker, limit, offset, sort_keys, sort_dirs)
        return self._entries(lvs, inventory, cinder_records.volume_claims(
            [lv.name for lv in lvs], inventory, names, cinder_volumes))

    @routed
    @translated('unmanage volume {volume.id}')
    def unmanage(self, volume: objects.Volume) -> None:
        """Restore the LV's old name, and keep its data."""
        with self._group_locked():
            self._release(f'volume {volume.id}', volume.name_id, volume.name)

    @routed
    def delete_volume(self, volume: objects.Volume) -> None:
        """Delete the LV, or release it if the volume was never available.

        Cinder does not undo manage_existing when a later step fails. Deleting
        the volume, which is in error_managing then, must not remove the LV.

        :raises VolumeIsBusy: LVM would remove other LVs too
        """
        if not cinder_records.was_available(volume):
            cinder_records.record_as_never_available(volume)
            if self._undo_adoption(f'volume {volume.id}', volume.name_id,
                                   volume.name):
                return
        self._refuse_to_delete(volume)
        super().delete_volume(volume)

    def migrate_volume(self, ctxt: context.RequestContext,
                       volume: objects.Volume, host: dict[str, Any],
                       *args: Any, **kwargs: Any
                       ) -> tuple[bool, dict[str, Any] | None]:
        """Copy the LV to another group of this host and delete it here.

        :raises VolumeIsBusy: LVM would remove other LVs too
        """
        self._refuse_to_delete(volume)
        return super().migrate_volume(ctxt, volume, host, *args, **kwargs)

    def before_volume_copy(self, context: context.RequestContext,
                           src_vol: objects.Volume, dest_vol: objects.Volume,
                           remote: str | None = None) -> None:
        """Refuse a migration that could not delete the LV at the end.

        Cinder calls this, and not migrate_volume, for a retype.

        :raises VolumeIsBusy: LVM would remove other LVs too
        """
        self._refuse_to_delete(src_vol)
        super().before_volume_copy(context, src_vol, dest_vol, remote)

    @translated('manage existing LV {existing_ref} as snapshot {snapshot.id}')
    def manage_existing_snapshot_get_size(self, snapshot: objects.Snapshot,
                                          existing_ref: object) -> int:
        """Return the size in GiB, rounded up, of the snapshot's device.

        It is the size that the origin had when the snapshot was taken. Cinder
        records it, and asks at least as much of volumes made from it. It is
        not the room that a thick snapshot has for changes.

        :raises ManageExistingInvalidReference,
            ManageExistingAlreadyManaged, ManageExistingVolumeTypeMismatch:
            for every reason for which manage_existing_snapshot would fail
        """
        return self._candidate(existing_ref,
                               self._snapshot_claimant(snapshot)).lv.size_gib

    @routed
    @translated('manage existing LV {existing_ref} as snapshot {snapshot.id}')
    def manage_existing_snapshot(self, snapshot: objects.Snapshot,
                                 existing_ref: object) -> dict[str, str]:
        """Rename the LV to the snapshot's name.

        It raises the same errors as manage_existing_snapshot_get_size.

        :returns: provider_id, by which cinder_records.was_managed knows that
            Cinder has saved the snapshot as having this LV
        """
        cinder_records.withdraw_if_it_fails(snapshot, 'provider_id')
        with self._group_locked():
            found = self._candidate(existing_ref,
                                    self._snapshot_claimant(snapshot))
            with self._origin_held(found.lv) as held:
                if held:
                    self._accept_held(found, held)
                adoption.adopt(self._volume_group, found.inventory, found.lv,
                               snapshot.id,
                               self._policy.names.of_snapshot(snapshot.name),
                               accept=(None if held
                                       else self._acceptance(found)),
                               host=self._policy.adopting_host)
        return {'provider_id': found.lv.uuid}

    @translated('list manageable snapshots')
    @without_attribute_errors
    def get_manageable_snapshots(self,
                                 cinder_snapshots: Sequence[objects.Snapshot],
                                 marker: object, limit: int | None,
                                 offset: int | None, sort_keys: Sequence[str],
                                 sort_dirs: Sequence[str]
                                 ) -> list[dict[str, Any]]:
        """Return one page of the group's snapshots, safe to manage or not.

        :raises InvalidInput: the marker or the order is wrong
        """
        inventory = self._volume_group.inventory()
        names = self._policy.names
        lvs = listing.page((lv for lv in inventory.lvs if lv.visible
                            and names.can_be_snapshot(lv)),
                           marker, limit, offset, sort_keys, sort_dirs)
        return self._entries(lvs, inventory, cinder_records.snapshot_claims(
            [lv.name for lv in lvs], inventory, names, cinder_snapshots))

    @routed
    @translated('unmanage snapshot {snapshot.id}')
    def unmanage_snapshot(self, snapshot: objects.Snapshot) -> None:
        """Restore the LV's old name, and keep its data."""
        with self._group_locked():
            self._release(f'snapshot {snapshot.id}', snapshot.id,
                          self._policy.names.of_snapshot(snapshot.name))

    @routed
    def delete_snapshot(self, snapshot: objects.Snapshot) -> None:
        """Delete the LV, or release it if the snapshot was never available.

        :raises SnapshotIsBusy: LVM would remove other LVs too
        """
        # Cinder's own code passes a dict for a temporary snapshot.
        if isinstance(snapshot, objects.Snapshot):
            what = f'snapshot {snapshot.id}'
            lv_name = self._policy.names.of_snapshot(snapshot.name)
            if (not cinder_records.was_managed(snapshot)
                    and self._undo_adoption(what, snapshot.id, lv_name)):
                return
            if self._needed_by(what, snapshot.id, lv_name):
                raise exception.SnapshotIsBusy(snapshot_name=snapshot.name)
        super().delete_snapshot(snapshot)

    @contextlib.contextmanager
    def _group_locked(self) -> Iterator[None]:
        """Hold the group's lock, on all hosts that share a coordinator.

        Cinder's coordination.synchronized either waits forever, or continues
        without the lock after its time-out.

        :raises VolumeGroupError: another process has held it for too long
        """
        name = self.vg.vg_name
        seconds = _PATIENCE * self.configuration.lvm_manage_command_timeout
        lock = coordination.COORDINATOR.get_lock(f'cinder-lvm-manage-{name}')
        if not lock.acquire(blocking=seconds):
            raise errors.VolumeGroupError(
                'another operation has held the lock on volume group '
                f'{name} for {seconds} seconds: check for hung LVM '
                'commands and retry')
        try:
            yield
        finally:
            lock.release()

    def _volume_claimant(self, volume: objects.Volume) -> Claimant:
        return lambda lv, inventory: cinder_records.volume_claims(
            [lv.name], inventory, self._policy.names,
            volume_type_id=volume.volume_type_id)[lv.name]

    def _snapshot_claimant(self, snapshot: objects.Snapshot) -> Claimant:
        return lambda lv, inventory: cinder_records.snapshot_claims(
            [lv.name], inventory, self._policy.names,
            parent=snapshot.volume_id)[lv.name]

    def _candidate(self, existing_ref: object,
                   claimant: Claimant) -> Candidate:
        """Return the LV that the reference points at, if it is manageable.

        :raises InvalidReference, NotManageable: it is not
        """
        reference = Reference.parse(existing_ref)
        inventory = self._volume_group.inventory()
        try:
            lv = inventory.find(reference)
        except errors.InvalidReference:
            # If two requests name the same LV, the second gets the reason.
            taken = adoption.adopted_from(inventory, reference.name)
            if taken:
                self._judge(taken, inventory, claimant).raise_for(taken)
            raise
        judged = self._judge(lv, inventory, claimant)
        judged.raise_for(lv)
        return Candidate(lv, inventory, judged)

    def _judge(self, lv: LogicalVolume, inventory: Inventory,
               claimant: Claimant) -> Verdict:
        policy = self._policy
        users = () if policy.in_use else self._users([lv]).get(lv.device, ())
        claim = claimant(lv, inventory)
        return verdict.judge(lv, inventory, claim, policy, users,
                             self._contents([lv], {lv.name: claim})[lv.name])

    def _examine(self, found: Candidate) -> None:
        """Check that no other host uses the LV, and what it contains.

        The LV is inactive after that, unless something here holds it open.

        :raises LockedElsewhere: another host has it active
        :raises NotManageable: it contains no disk for a volume
        """
        with self._held(found.lv.name) as held:
            if held is None:
                return
            self._accept_held(found, held)
            if not found.lv.is_open:
                held.end()

    def _accept_held(self, found: Candidate, held: Held) -> None:
        """Judge the contents of an LV that is active only now."""
        accept = self._acceptance(found)
        if accept and not held.was_active:
            accept(found.lv)

    def _origin_held(self, lv: LogicalVolume
                     ) -> contextlib.AbstractContextManager[Held | None]:
        """Hold the origin of a thick snapshot, for which LVM has no lock."""
        return (self._held(lv.name) if 'thicksnapshot' in lv.roles
                else contextlib.nullcontext())

    def _acceptance(self, found: Candidate
                    ) -> Callable[[LogicalVolume], None] | None:
        """Return what judges the contents of an LV once it is active.

        :returns: a function of the same LV under its new name, which raises
            NotManageable if the LV contains no disk for a volume; None if
            contents are not read
        """
        if not self.configuration.lvm_manage_read_contents:
            return None

        def accept(activated: LogicalVolume) -> None:
            verdict.judge_contents(
                found.lv, found.inventory, self._policy,
                self._contents([activated], {})[activated.name]
                ).raise_for(found.lv)
        return accept

    def _contents(self, lvs: Sequence[LogicalVolume],
                  claims: Mapping[str, VolumeClaim | SnapshotClaim]
                  ) -> dict[str, Contents]:
        """Return what the LVs contain, by name.

        Those that Cinder manages are not read: their users write what they
        want.

        :param claims: by LV name
        """
        if not self.configuration.lvm_manage_read_contents:
            return dict.fromkeys((lv.name for lv in lvs), contents.NOT_READ)
        owned = {name for name, claim in claims.items() if claim.owner}
        return (dict.fromkeys(owned, contents.OWNED)
                | self._volume_group.contents(
                    [lv for lv in lvs if lv.name not in owned]))

    def _users(self, lvs: Iterable[LogicalVolume]
               ) -> dict[str, tuple[User, ...]]:
        """Return what holds open those of the LVs that are in use, by device.
        """
        return block_device.users(
            [lv.device for lv in lvs if lv.is_in_use],
            self._volume_group.open_files)

    def _entries(self, lvs: Sequence[LogicalVolume], inventory: Inventory,
                 claims: Mapping[str, VolumeClaim | SnapshotClaim]
                 ) -> list[dict[str, Any]]:
        """Return the rows of these LVs.

        :param claims: by LV name
        """
        policy = self._policy
        users = self._users(lvs)
        found = self._contents(lvs, claims)
        return [listing.entry(lv, inventory, claims[lv.name],
                              verdict.judge(lv, inventory, claims[lv.name],
                                            policy, users.get(lv.device, ()),
                                            found[lv.name]),
                              users.get(lv.device, ()), found[lv.name],
                              policy.names.id_of(lv.name))
                for lv in lvs]

    def _release(self, what: str, adopter: str, lv_name: str) -> None:
        inventory = self._volume_group.inventory()
        lv = adoption.adopted_by(inventory, adopter, lv_name)
        if lv is None:
            LOG.warning('LV %(name)s no longer exists in volume group '
                        '%(vg)s; there is nothing to restore for %(what)s.',
                        {'name': lv_name, 'vg': inventory.vg_name,
                         'what': what})
            return
        with self._origin_held(lv):
            adoption.release(self._volume_group, inventory, lv,
                             self.configuration.lvm_manage_restore_name)

    @translated('release the LV of {what}')
    def _undo_adoption(self, what: str, adopter: str, lv_name: str) -> bool:
        """Release the LV that this volume or snapshot adopted.

        :returns: whether it had adopted one
        """
        with self._group_locked():
            inventory = self._volume_group.inventory()
            lv = adoption.adopted_by(inventory, adopter, lv_name)
            if lv is None or adoption.Journal.of(lv) is None:
                return False
            with self._origin_held(lv):
                name = adoption.release(self._volume_group, inventory, lv,
                                        restore_name=True)
        LOG.warning('Managing %(what)s never completed; its LV (UUID '
                    '%(uuid)s) was released as %(name)s, not deleted.',
                    {'what': what, 'uuid': lv.uuid, 'name': name})
        return True

    def _refuse_to_delete(self, volume: objects.Volume) -> None:
        """Refuse if more than the volume would be lost.

        :raises VolumeBackendAPIException: Cinder would delete another LV
        :raises VolumeIsBusy: LVM would remove other LVs too
        """
        # Cinder's own tests pass dicts without name_id.
        adopter = volume.get('name_id', volume['id'])
        # Cinder deletes its own snapshots before the volume.
        if self._needed_by(f"volume {volume['id']}", adopter, volume['name']):
            raise exception.VolumeIsBusy(volume_name=volume['name'])

    @translated('delete {what}')
    def _needed_by(self, what: str, adopter: str, lv_name: str) -> list[str]:
        """Return the names of the LVs that would be lost with this one.

        :raises AmbiguousOwner: the LV was renamed, or cannot be determined
        """
        inventory = self._volume_group.inventory()
        lv = adoption.adopted_by(inventory, adopter, lv_name)
        if lv is None:
            return []
        if lv.name != lv_name:
            raise errors.AmbiguousOwner(
                f'The LV of {what} (UUID {lv.uuid}) is now named {lv.name}, '
                f'not {lv_name}, so nothing is deleted. Rename it back with '
                f'`lvrename {inventory.vg_name} {lv.name} {lv_name}` and '
                'delete again, or unmanage it')
        dependents = [other.name for other in inventory.needing(lv)]
        if dependents:
            LOG.error('Cannot delete %(what)s: LVM would also remove '
                      '%(dependents)s, which Cinder does not manage and which '
                      'cannot exist without LV %(name)s. Manage them if they '
                      'are snapshots, or remove them with lvremove, first.',
                      {'what': what, 'dependents': ', '.join(dependents),
                       'name': lv.name})
        return dependents

    @property
    def _policy(self) -> Policy:
        settings = self.configuration
        return Policy(
            names=CinderNames(CONF.volume_name_template,
                              CONF.snapshot_name_template),
            host=self.cluster_name or self.host or '',
            adopting_host=((asking_host() or self.host)
                           if self.cluster_name else ''),
            thin_pool=(self.vg.vg_thin_pool if settings.lvm_type == 'thin'
                       else None),
            in_use=settings.lvm_manage_in_use,
            without_device_mapper=settings.lvm_manage_without_device_mapper,
            extend_to_gib=settings.lvm_manage_extend_to_gib,
            activation=self._activation_lists,
            image_formats=frozenset(settings.lvm_manage_image_formats))

    @functools.cached_property
    def _volume_group(self) -> VolumeGroup:
        settings = self.configuration
        conf_file = settings.lvm_conf_file
        return VolumeGroup(
            settings.volume_group, utils.get_root_helper(),
            None if conf_file.lower() == 'none' else conf_file,
            settings.lvm_suppress_fd_warnings,
            settings.lvm_manage_command_timeout)
