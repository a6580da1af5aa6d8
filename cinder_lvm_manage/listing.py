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

"""Sorts, pages and formats the entries of a listing."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import itertools
import json
from typing import Any

from cinder_lvm_manage import adoption
from cinder_lvm_manage import contents as lv_contents
from cinder_lvm_manage import errors
from cinder_lvm_manage.block_device import User
from cinder_lvm_manage.claim import SnapshotClaim
from cinder_lvm_manage.claim import VolumeClaim
from cinder_lvm_manage.contents import Contents
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.reference import abridged
from cinder_lvm_manage.reference import Reference
from cinder_lvm_manage.verdict import Verdict

# extra_info['driver'], by which clients know the other keys of extra_info.
DRIVER = 'cinder_lvm_manage'

_SORT_KEYS: dict[str, Callable[[LogicalVolume], Any]] = {
    'reference': lambda lv: lv.name,
    'size': lambda lv: lv.size_gib,
}


def page(lvs: Iterable[LogicalVolume], marker: object, limit: int | None,
         offset: int | None, sort_keys: Sequence[str],
         sort_dirs: Sequence[str]) -> list[LogicalVolume]:
    """Return one page of the LVs; those that sort equal are in name order.

    :param marker: the reference, as a dict or as JSON text, of the last LV of
        the previous page, by source-name or source-id
    :param sort_keys: from 'reference' and 'size'
    :param sort_dirs: 'asc' or 'desc' for each key
    :raises InvalidPage: the marker is no reference, or not in the listing; or
        the sort order is invalid
    """
    ordered = sorted(lvs, key=_SORT_KEYS['reference'])
    order = list(itertools.zip_longest(sort_keys, sort_dirs))
    for key, direction in reversed(order):
        if key not in _SORT_KEYS or direction not in ('asc', 'desc'):
            raise errors.InvalidPage(
                f'cannot sort by {key} {direction}: the keys are '
                f"{' and '.join(_SORT_KEYS)}, the directions asc and desc")
        ordered.sort(key=_SORT_KEYS[key], reverse=direction == 'desc')
    start = _after(ordered, marker) + (offset or 0)
    return ordered[start:None if limit is None else start + limit]


def _after(ordered: Sequence[LogicalVolume], marker: object) -> int:
    if marker is None or marker == '':
        return 0
    try:
        reference = Reference.parse(
            json.loads(marker) if isinstance(marker, str) else marker)
    except (ValueError, RecursionError, errors.InvalidReference) as exc:
        raise errors.InvalidPage(
            f'marker {abridged(marker)} is not a reference in JSON, like '
            '{"source-name": "data1"}: use the reference of the last entry '
            'of the previous page') from exc
    for position, lv in enumerate(ordered):
        if lv.name == reference.name or lv.uuid == reference.uuid:
            return position + 1
    raise errors.InvalidPage(
        f'marker {reference} is not in the listing: the LV may have been '
        'renamed or removed since; list again from the start')


def entry(lv: LogicalVolume, inventory: Inventory,
          claim: VolumeClaim | SnapshotClaim, verdict: Verdict,
          users: Sequence[User] = (),
          contents: Contents = lv_contents.NOT_READ,
          named_for: str | None = None) -> dict[str, Any]:
    """Return one row of get_manageable_volumes or get_manageable_snapshots.

    Clients read the facts in extra_info; reason_not_safe is for people.

    :param inventory: the one that the LV was found in
    :param users: what is known to hold the LV open
    :param named_for: the ID of the volume or snapshot for which Cinder would
        give an LV this name
    :returns: reference as manage takes it; size in GiB; extra_info with
        strings only, as cinder/objects/manageableresources.py demands; for a
        snapshot its origin as source_reference too
    """
    row: dict[str, Any] = {
        'reference': {'source-name': lv.name},
        'size': lv.size_gib,
        'safe_to_manage': verdict.safe,
        'reason_not_safe': verdict.reason or None,
        'cinder_id': claim.owner.id if claim.owner else None,
        'extra_info': _extra_info(lv, inventory, verdict, users, contents)}
    if verdict.foreign_owner:
        row['extra_info']['owner'] = str(verdict.foreign_owner)
    if named_for:
        row['extra_info']['named_for'] = named_for
    if verdict.extend_to:
        row['extra_info']['size_bytes_managed'] = str(verdict.extend_to)
    if isinstance(claim, SnapshotClaim):
        row['source_reference'] = {'source-name': lv.origin}
        row['extra_info'] |= {
            'kind': lv.provisioning,
            'data_percent': lv.data_percent,
            'invalid': str(lv.is_invalid_snapshot),
            'origin_volume_id': (claim.origin_owner.id if claim.origin_owner
                                 else '')}
    return row


def _extra_info(lv: LogicalVolume, inventory: Inventory, verdict: Verdict,
                users: Sequence[User], contents: Contents) -> dict[str, str]:
    info = {'driver': DRIVER,
            'reasons': json.dumps([
                {'code': reason.code, 'kind': reason.kind.value,
                 'why': reason.why, 'remedy': reason.remedy}
                for reason in verdict.reasons]),
            'source_id': lv.uuid,
            'size_bytes': str(lv.size),
            'layout': ','.join(lv.layouts),
            'role': ','.join(lv.roles),
            'attr': str(lv.attr),
            'tags': ','.join(lv.tags),
            'created': lv.created,
            'contents': str(contents)}
    if contents.image_format:
        info['image_format'] = contents.image_format
    if contents.boot_partitions:
        info['boot_partitions'] = ','.join(contents.boot_partitions)
    if lv.pool:
        info['pool'] = lv.pool
    if lv.origin:
        info['origin'] = lv.origin
    if sharing := inventory.sharing_blocks_with(lv):
        info['shares_blocks_with'] = ','.join(sharing)
    if journal := adoption.Journal.of(lv):
        info['adopter'] = journal.adopter
        info['former_name'] = journal.former_name
    if inventory.shared and not lv.activation.active:
        # LVM knows it only when it tries to lock the LV.
        info['active_elsewhere'] = 'unknown'
    if users:
        info['users'] = ', '.join(user.what for user in users)
    return info
