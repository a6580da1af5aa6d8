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

"""What Cinder's database says about LVs: which volume or snapshot has one."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable

from cinder import context
from cinder import objects
from cinder.objects import fields
from cinder.scheduler.filters import extra_specs_ops
from cinder.volume import volume_types

from cinder_lvm_manage import adoption
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.naming import CinderNames
from cinder_lvm_manage.rules import Claim
from cinder_lvm_manage.rules import SnapshotClaim

# Both by LV name; an owner is the id of a volume or a snapshot.
Claims = dict[str, Claim]
Owners = dict[str, str]

# Cinder has no name for it: cinder/volume/api.py, delete.
_ERROR_MANAGING_DELETING = 'error_managing_deleting'

_CAPABILITIES = {'thin_provisioning_support': 'thin',
                 'thick_provisioning_support': 'thick'}


def volume_claims(lv_names: Collection[str], inventory: Inventory,
                  names: CinderNames,
                  known: Iterable[objects.Volume] = (),
                  volume_type_id: str | None = None) -> Claims:
    """Which volumes have these LVs, of whichever backend they are.

    :param known: the volumes of this backend, where the caller has them;
        others that an LV's name or journal speaks of are looked up, in two
        queries
    :param volume_type_id: of the volume that they are to be; None for any
    """
    owners = _volume_owners(lv_names, inventory, names, known)
    for name in set(lv_names) - owners.keys():
        # A thin snapshot whose origin is gone is none to LVM.
        if owner := _owner_by_snapshot_name(name, names):
            owners[name] = owner
    provisioning = _provisioning(volume_type_id)
    encrypted = volume_types.is_encrypted(context.get_admin_context(),
                                          volume_type_id)
    return {name: Claim(owners.get(name), provisioning, encrypted)
            for name in lv_names}


def snapshot_claims(lv_names: Collection[str], inventory: Inventory,
                    names: CinderNames,
                    known: Iterable[objects.Snapshot] = (),
                    parent: str | None = None) -> Claims:
    """Which snapshots have these LVs, and which volumes their origins.

    :param known: the snapshots of this backend, where the caller has them
    :param parent: id of the volume of which they are to be snapshots
    """
    owners = _snapshot_owners(lv_names, inventory, names, known)
    origins = {name: inventory.by_name[name].origin for name in lv_names}
    origin_owners = _volume_owners(
        set(origins.values()) & inventory.by_name.keys(), inventory, names)
    return {name: SnapshotClaim(owners.get(name),
                                origin_owner=origin_owners.get(origin),
                                parent=parent)
            for name, origin in origins.items()}


def _volume_owners(lv_names: Collection[str], inventory: Inventory,
                   names: CinderNames,
                   known: Iterable[objects.Volume] = ()) -> Owners:
    owners = {volume.name: volume.id for volume in known}
    by_name: Owners = {}
    by_journal: Owners = {}
    for name in lv_names:
        if name in owners:
            continue
        if volume_id := names.volume_id(name):
            by_name[name] = volume_id
        elif journal := adoption.Journal.of(inventory.by_name[name]):
            by_journal[name] = journal.adopter
    volumes = _volumes({*by_name.values(), *by_journal.values()})
    for name, volume_id in by_name.items():
        if volume_id in volumes:
            owners[name] = volumes[volume_id].id
    for name, volume_id in by_journal.items():
        # A journal on an LV that has not Cinder's name: an adoption that was
        # cut off, unless the volume was available once, when somebody has
        # renamed its LV by hand.
        if volume_id in volumes and was_available(volumes[volume_id]):
            owners[name] = volume_id
    return owners


def _snapshot_owners(lv_names: Collection[str], inventory: Inventory,
                     names: CinderNames,
                     known: Iterable[objects.Snapshot]) -> Owners:
    # Cinder's database finds snapshots by one id at a time: a query for each
    # LV whose snapshot is not known.
    owners = {names.of_snapshot(snapshot.name): snapshot.id
              for snapshot in known}
    for name in lv_names:
        if name in owners:
            continue
        if names.snapshot_id(name):
            if owner := _owner_by_snapshot_name(name, names):
                owners[name] = owner
        elif journal := adoption.Journal.of(inventory.by_name[name]):
            snapshot = _snapshot(journal.adopter)
            if snapshot and was_managed(snapshot):
                owners[name] = snapshot.id
    return owners


def _owner_by_snapshot_name(lv_name: str, names: CinderNames) -> str | None:
    snapshot_id = names.snapshot_id(lv_name)
    return snapshot_id if snapshot_id and _snapshot(snapshot_id) else None


def _provisioning(volume_type_id: str | None) -> frozenset[str]:
    """What the volume type allows, of thin and thick.

    Types tell it by provisioning:type, which Cinder's scheduler reads when it
    reckons capacity, or by the capabilities that LVMVolumeDriver reports.
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


def incomplete(adopters: Collection[str]) -> set[str]:
    """Those of these volumes and snapshots that never became available.

    Ids that Cinder knows not of, or no longer, are left out.
    """
    volumes = _volumes(set(adopters))
    found = {id_ for id_, volume in volumes.items()
             if not was_available(volume)}
    for id_ in set(adopters) - volumes.keys():
        snapshot = _snapshot(id_)
        if snapshot and not was_managed(snapshot):
            found.add(id_)
    return found


def was_available(volume: objects.Volume) -> bool:
    """Whether the volume was available at any time.

    Cinder sets launched_at when a manage is complete
    (flows/manager/create_volume.py, CreateVolumeOnFinishTask). If the
    database fails just then, the status error_managing is saved after it, with
    it; delete makes that error_managing_deleting.
    """
    return (volume.launched_at is not None
            and volume.status not in (fields.VolumeStatus.ERROR_MANAGING,
                                      _ERROR_MANAGING_DELETING))


def was_managed(snapshot: objects.Snapshot) -> bool:
    """Whether Cinder recorded that the snapshot took its LV.

    It has no launched_at; the driver gives it a provider_id to save.
    """
    return snapshot.provider_id is not None


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


def _snapshot(snapshot_id: str) -> objects.Snapshot | None:
    found = objects.SnapshotList.get_all(context.get_admin_context(),
                                         filters={'id': snapshot_id})
    return found[0] if found else None
