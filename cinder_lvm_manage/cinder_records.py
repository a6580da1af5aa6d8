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

"""What Cinder's database records: which volume or snapshot owns an LV."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Container
from collections.abc import Iterable
from collections.abc import Mapping

from cinder import context
from cinder import objects
from cinder.scheduler.filters import extra_specs_ops
from cinder.volume import volume_types

from cinder_lvm_manage import adoption
from cinder_lvm_manage import naming
from cinder_lvm_manage.claim import FAILED_TO_MANAGE
from cinder_lvm_manage.claim import Owner
from cinder_lvm_manage.claim import Sign
from cinder_lvm_manage.claim import SnapshotClaim
from cinder_lvm_manage.claim import VolumeClaim
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.naming import CinderNames

# All by LV name.
VolumeClaims = dict[str, VolumeClaim]
SnapshotClaims = dict[str, SnapshotClaim]
Owners = dict[str, Owner]

_CAPABILITIES = {'thin_provisioning_support': 'thin',
                 'thick_provisioning_support': 'thick'}


def volume_claims(lv_names: Collection[str], inventory: Inventory,
                  names: CinderNames,
                  known: Iterable[objects.Volume] = (),
                  volume_type_id: str | None = None) -> VolumeClaims:
    """Return the claims to these LVs as volumes, by LV name.

    :param known: the volumes of this backend, if the caller has them. Others
        that an LV's name or journal refers to, of any backend, are looked up
        in two queries.
    :param volume_type_id: the type to manage the LVs with; None for any
    """
    owners = _owners(lv_names, inventory, names, volumes=known)
    provisioning = _provisioning(volume_type_id)
    encrypted = volume_types.is_encrypted(context.get_admin_context(),
                                          volume_type_id)
    return {name: VolumeClaim(owners.get(name), provisioning, encrypted)
            for name in lv_names}


def snapshot_claims(lv_names: Collection[str], inventory: Inventory,
                    names: CinderNames,
                    known: Iterable[objects.Snapshot] = (),
                    parent: str | None = None) -> SnapshotClaims:
    """Return the claims to these LVs as snapshots, by LV name.

    :param known: the snapshots of this backend, if the caller has them
    :param parent: ID of the volume that the snapshots must be of; None for any
    """
    owners = _owners(lv_names, inventory, names, snapshots=known)
    origins = {name: inventory.by_name[name].origin for name in lv_names}
    origin_owners = _volume_owners(
        set(origins.values()) & inventory.by_name.keys(), inventory, names)
    return {name: SnapshotClaim(owners.get(name),
                                origin_owner=origin_owners.get(origin),
                                parent=parent)
            for name, origin in origins.items()}


def _owners(lv_names: Collection[str], inventory: Inventory,
            names: CinderNames, volumes: Iterable[objects.Volume] = (),
            snapshots: Iterable[objects.Snapshot] = ()) -> Owners:
    """Return the volumes and snapshots that own these LVs.

    A thin LV can be owned as either, whichever it is claimed as.

    :param volumes, snapshots: those of this backend that are known
    """
    known_snapshots = {snapshot.id: snapshot for snapshot in snapshots}
    owners = _volume_owners(lv_names, inventory, names, volumes,
                            known_snapshots)
    certain = {name for name, owner in owners.items()
               if owner.sign is not Sign.ID_IN_NAME}
    possible = {name for name in set(lv_names) - certain
                if _can_be_a_snapshots(inventory.by_name[name], names)}
    for name, owner in _snapshot_owners(possible, inventory, names,
                                        known_snapshots).items():
        if name not in owners or owner.sign is not Sign.ID_IN_NAME:
            owners[name] = owner
    return owners


def _can_be_a_snapshots(lv: LogicalVolume, names: CinderNames) -> bool:
    # LVM does not keep a thin snapshot as one once its origin is removed.
    return (lv.is_snapshot or names.snapshot_id(lv.name) is not None
            or adoption.Journal.of(lv) is not None)


def _volume_owners(lv_names: Collection[str], inventory: Inventory,
                   names: CinderNames,
                   known: Iterable[objects.Volume] = (),
                   no_volumes: Container[str] = ()) -> Owners:
    """Return the volumes that own these LVs.

    :param no_volumes: IDs that need not be looked up
    """
    journals = {name: journal for name in lv_names
                if (journal := adoption.Journal.of(inventory.by_name[name]))}
    ids_in_names = {name: naming.ids_in(name) for name in lv_names}
    volumes = {volume.name_id: volume for volume in known}
    volumes |= {volume.id: volume for volume in volumes.values()}
    volumes |= _volumes({
        id_ for id_ in (
            *(journal.adopter for journal in journals.values()),
            *(id_ for ids in ids_in_names.values() for id_ in ids))
        if id_ not in volumes and id_ not in no_volumes})
    owners = {}
    for name in lv_names:
        journal = journals.get(name)
        adopter = volumes.get(journal.adopter) if journal else None
        named = volumes.get(names.volume_id(name) or '')
        # An LV that an interrupted adoption has not renamed yet is still free.
        if adopter and (adopter is named or was_available(adopter)):
            owners[name] = _volume_owner(adopter, Sign.JOURNAL)
        elif named:
            owners[name] = _volume_owner(named, Sign.NAME)
        else:
            for id_ in ids_in_names[name]:
                if id_ in volumes:
                    owners[name] = _volume_owner(volumes[id_],
                                                 Sign.ID_IN_NAME)
    return owners


def _volume_owner(volume: objects.Volume, sign: Sign) -> Owner:
    return Owner(volume.id, 'volume', volume.cluster_name or volume.host or '',
                 volume.status, sign)


def _snapshot_owners(lv_names: Collection[str], inventory: Inventory,
                     names: CinderNames,
                     snapshots: Mapping[str, objects.Snapshot]) -> Owners:
    """Return the snapshots that own these LVs.

    Cinder's database can look up one snapshot at a time: this takes a query
    for each ID that `snapshots` does not have.
    """
    owners = {}
    for name in lv_names:
        journal = adoption.Journal.of(inventory.by_name[name])
        adopter = (_snapshot(journal.adopter, snapshots) if journal else None)
        if adopter and was_managed(adopter):
            owners[name] = _snapshot_owner(adopter, Sign.JOURNAL,
                                           snapshots)
            continue
        named = names.snapshot_id(name)
        for id_ in naming.ids_in(name):
            if snapshot := _snapshot(id_, snapshots):
                owners[name] = _snapshot_owner(
                    snapshot, Sign.NAME if id_ == named else Sign.ID_IN_NAME,
                    snapshots)
    return owners


def _snapshot_owner(snapshot: objects.Snapshot, sign: Sign,
                    known: Mapping[str, objects.Snapshot]) -> Owner:
    # A snapshot's host is that of its volume, which takes a query. Snapshots
    # of this backend do not need it.
    host = ('' if snapshot.id in known
            else snapshot.cluster_name or snapshot.host or '')
    return Owner(snapshot.id, 'snapshot', host, snapshot.status, sign)


def _provisioning(volume_type_id: str | None) -> frozenset[str]:
    """Return which of thin and thick the volume type allows.

    A type asks for one with provisioning:type, from which Cinder's scheduler
    computes capacity, or with a capability that LVMVolumeDriver reports.
    """
    specs = (volume_types.get_volume_type_extra_specs(volume_type_id)
             if volume_type_id else {})
    allowed = {'thin', 'thick'}
    for key, wanted in specs.items():
        scope, _, name = key.rpartition(':')
        if key == 'provisioning:type':
            allowed &= {wanted}
        elif scope in ('', 'capabilities') and name in _CAPABILITIES:
            allowed = {each for each in allowed if extra_specs_ops.match(
                str(each == _CAPABILITIES[name]), wanted)}
    return frozenset(allowed)


def volumes_of(cluster: str | None, host: str) -> list[objects.Volume]:
    """Return the volumes of a cluster, or of a host that is in none."""
    return list(objects.VolumeList.get_all(
        context.get_admin_context(),
        filters={'cluster_name': cluster} if cluster else {'host': host}))


def is_attached(volume: objects.Volume) -> bool:
    """Return whether a server may be connected to the volume.

    Cinder tells no server of an export before it records the connector, and
    deletes an attachment without one without calling the driver.
    """
    return volume.status == 'in-use' or any(
        attachment.connector for attachment in volume.volume_attachment)


def without_connection(ids: Collection[str]) -> list[objects.Volume]:
    """Return those of these volumes whose export nothing uses or will use."""
    if not ids:
        return []
    volumes = objects.VolumeList.get_all(context.get_admin_context(),
                                         filters={'id': list(ids)})
    return [volume for volume in volumes if not (
        volume.volume_attachment or may_be_connected(volume))]


def needs_export_after_detach(volume: objects.Volume) -> bool:
    """Return whether the export is needed when one attachment has ended.

    It is not if the volume is being deleted or unmanaged.
    """
    attachments = objects.VolumeAttachmentList.get_all_by_volume_id(
        context.get_admin_context(), volume['id'])
    return len(attachments) > 1 and volume['status'] not in (
        'deleting', 'error_managing_deleting', 'unmanaging')


def may_be_connected(volume: objects.Volume) -> bool:
    """Return whether a server, or Cinder itself, may use the volume's export.

    Backups, restores and migrations of a volume connect to it without an
    attachment, and show in its status only.
    """
    if is_attached(volume) or volume.migration_status not in (
            None, 'success', 'error'):
        return True
    at_rest = volume.status == 'available' or 'error' in volume.status
    return not (at_rest or volume.volume_attachment)


def incomplete(adopters: Collection[str]) -> set[str]:
    """Return those of these volumes and snapshots that were never available.

    IDs that Cinder does not have are left out.
    """
    volumes = _volumes(set(adopters))
    found = {id_ for id_, volume in volumes.items()
             if not was_available(volume)}
    for id_ in set(adopters) - volumes.keys():
        snapshot = _snapshot(id_, {})
        if snapshot and not was_managed(snapshot):
            found.add(id_)
    return found


def was_available(volume: objects.Volume) -> bool:
    """Return whether the volume was available at any time.

    Cinder sets launched_at when a manage is complete
    (flows/manager/create_volume.py, CreateVolumeOnFinishTask), and
    withdraw_if_it_fails keeps it from being saved with one that is not. An
    older driver did not: the status says so too, until it changes.
    """
    return (volume.launched_at is not None
            and volume.status not in FAILED_TO_MANAGE)


def was_managed(snapshot: objects.Snapshot) -> bool:
    """Return whether Cinder completed managing the snapshot.

    A snapshot has no launched_at; the driver has its provider_id saved, and
    withdraw_if_it_fails has it removed.
    """
    return snapshot.provider_id is not None


def withdraw_if_it_fails(resource: objects.Volume | objects.Snapshot,
                         field: str) -> None:
    """Prevent a failed manage from being recorded as complete.

    If Cinder's database fails at the end of a manage, Cinder saves the object
    that it gave the driver once more, with an error status and whatever the
    end of the manage had put into it (flows/common.py, error_out). No later
    look at the database could tell it from a volume that was available, and
    deleting it would remove the operator's LV.

    :param field: the one by which was_available or was_managed decides
    """
    save = resource.save

    def save_what_is_true() -> None:
        if 'error' in resource.status:
            setattr(resource, field, None)
        save()

    resource.save = save_what_is_true


def record_as_never_available(volume: objects.Volume) -> None:
    """Keep the next delete from being misled by the status of this one."""
    if volume.launched_at is not None:
        volume.launched_at = None
        volume.save()


def _volumes(ids: set[str]) -> dict[str, objects.Volume]:
    """Return Cinder's volumes that have one of these as id or name_id."""
    if not ids:
        return {}
    admin = context.get_admin_context()
    volumes = {}
    for column in ('_name_id', 'id'):
        for volume in objects.VolumeList.get_all(
                admin, filters={column: list(ids)}):
            volumes[getattr(volume, column)] = volume
    return volumes


def _snapshot(snapshot_id: str, known: Mapping[str, objects.Snapshot]
              ) -> objects.Snapshot | None:
    if snapshot_id in known:
        return known[snapshot_id]
    found = objects.SnapshotList.get_all(context.get_admin_context(),
                                         filters={'id': snapshot_id})
    return found[0] if found else None
