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

"""Where Cinder's volumes and the LVs of a backend do not match.

What counts is what the driver lists and what Cinder's API says. The metadata
of volumes does not: the project that owns a volume can write it.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.api import Service
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.manageable import Manageable

# While a volume has another status, Cinder changes it or its LV.
_SETTLED = ('available', 'in-use', 'reserved', 'maintenance', 'error',
            'error_deleting', 'error_extending', 'error_restoring',
            'error_managing', 'awaiting-transfer')
_NOT_MIGRATING = (None, '', 'none', 'success', 'error')

# The codes, and what each is about.
CODES: Mapping[str, str] = {
    'lv-missing': 'a volume whose LV the backend does not list',
    'never-available': 'a volume in error, without an LV',
    'volume-missing': 'an LV with the name of a volume or snapshot that '
                      'Cinder does not have',
    'manage-incomplete': 'an LV whose adoption has not been completed',
    'tags-without-volume': 'an LV with the tags of an adoption, which Cinder '
                           'does not manage',
    'tags-of-another': 'an LV of one volume with the tags of another',
    'same-tags': 'several LVs with the tags of one volume',
    'lv-renamed': 'an LV of a volume whose name is not the one that Cinder '
                  'gives it',
    'size-differs': 'an LV whose size is not that of its volume',
    'owner-in-error': 'an LV whose volume or snapshot is in error',
    'already-managed-elsewhere': 'an LV of a volume of another host',
    'id-in-name': 'an LV with the ID of a volume in its name, in another form '
                  'than Cinder gives',
}
# Those of the driver's reasons that are problems of an LV that is managed, or
# was.
_REASONS = ('manage-incomplete', 'owner-in-error',
            'already-managed-elsewhere', 'id-in-name')


@dataclasses.dataclass(frozen=True)
class Finding:
    """A problem.

    :ivar code: a key of CODES
    :ivar lv: name of the LV; empty without one
    :ivar volume: ID of the volume or snapshot; empty without one
    :ivar problem: a sentence
    """

    code: str
    lv: str
    volume: str
    problem: str
    remedy: str


@dataclasses.dataclass(frozen=True)
class Inventory:
    """What a backend lists, and Cinder's volumes on it.

    :ivar lvs: those that can be volumes, and those that can be snapshots
    :ivar volumes: as the API answers
    :ivar missing: IDs of those whose LV is not listed
    """

    lvs: Sequence[Manageable]
    volumes: Sequence[Mapping[str, Any]]
    missing: Collection[str]

    @classmethod
    def read(cls, api: CinderApi, location: Location,
             services: Iterable[Service]) -> Inventory:
        """Return the inventory of a backend, as it is now.

        :param services: those that run the backend
        """
        hosts = {each.host for each in services}
        volumes = [volume for volume in api.all_volumes()
                   if (volume.get('os-vol-host-attr:host') or '').partition(
                       '#')[0] in hosts]
        # A thin snapshot is listed twice, as what it is and as a volume.
        listed = {lv.source_id or lv.name: lv for lv in (
            *(each.lv for each in api.manageable_snapshots(location)),
            *api.manageable(location))}
        lvs = list(listed.values())
        with_lv = {lv.cinder_id for lv in lvs}
        # Cinder was working on those that are gone or changed by now.
        missing = {volume['id'] for volume in volumes
                   if volume['id'] not in with_lv and _is_settled(volume)
                   and _is_unchanged(volume, api.volume(volume['id']))}
        return cls(lvs, volumes, missing)


def findings(inventory: Inventory) -> Iterator[Finding]:
    """Yield what does not match."""
    for volume in inventory.volumes:
        if volume['id'] in inventory.missing:
            yield _without_lv(volume)
    volumes = {volume['id']: volume for volume in inventory.volumes}
    by_adopter: dict[str, list[Manageable]] = {}
    for lv in inventory.lvs:
        if lv.adopter:
            by_adopter.setdefault(lv.adopter, []).append(lv)
        yield from _by_reasons(lv)
        yield from (_unmanaged(lv) if not lv.cinder_id
                    else _managed(lv, volumes.get(lv.cinder_id)))
    for adopter, lvs in by_adopter.items():
        if len(lvs) > 1:
            names = ', '.join(sorted(lv.name for lv in lvs))
            yield Finding(
                'same-tags', names, adopter,
                f'These LVs all have the tags of {adopter}.',
                'Find out which one is its LV. Remove the tags that begin '
                'with cinder_lvm_manage: from the others with `lvchange '
                '--deltag`')


def _is_settled(volume: Mapping[str, Any]) -> bool:
    return (volume['status'] in _SETTLED
            and volume.get('os-vol-mig-status-attr:migstat')
            in _NOT_MIGRATING)


def _is_unchanged(before: Mapping[str, Any],
                  now: Mapping[str, Any] | None) -> bool:
    return now is not None and all(
        before.get(name) == now.get(name) for name in (
            'status', 'os-vol-host-attr:host',
            'os-vol-mig-status-attr:migstat'))


def _without_lv(volume: Mapping[str, Any]) -> Finding:
    id_ = volume['id']
    if volume['status'].startswith('error'):
        return Finding(
            'never-available', '', id_,
            f"Volume {id_} has status {volume['status']}, and no LV.",
            'If creating or managing it failed, delete it: with '
            'cinder_lvm_manage, that removes no LV of yours. If it was in '
            'use, look for its LV first')
    return Finding(
        'lv-missing', '', id_,
        f"Volume {id_} has status {volume['status']}, but its LV is not "
        'listed.',
        'See `lvs -a -o +lv_tags,devices` and `vgs` on the host: the LV may '
        'be renamed, or on a disk that is missing. If it is lost, run '
        f'`openstack volume set --state error {id_}`, and restore a backup')


def _by_reasons(lv: Manageable) -> Iterator[Finding]:
    """Yield the problems that the driver itself reports."""
    for reason in lv.reasons:
        if reason.code in _REASONS:
            yield Finding(
                reason.code, lv.name, lv.cinder_id or '',
                f'LV {lv.name} {reason.why}.', _sentence(reason.remedy))


def _unmanaged(lv: Manageable) -> Iterator[Finding]:
    if lv.named_for:
        adopted = (f' Managing it keeps {lv.former_name} as the name that '
                   'unmanaging restores.' if lv.former_name else '')
        yield Finding(
            'volume-missing', lv.name, lv.named_for,
            f'LV {lv.name} has the name of {lv.named_for}, which Cinder does '
            'not have.',
            'If its data are needed, manage it again, or rename it with '
            '`lvrename`; if a deleted volume has left it, remove it with '
            f'`lvremove`.{adopted}')
    elif lv.adopter:
        yield Finding(
            'tags-without-volume', lv.name, lv.adopter,
            f'LV {lv.name} has the tags of an adoption by {lv.adopter}, which '
            'was interrupted, or whose volume Cinder does not have.',
            'Managing it replaces the tags. If it is not to be managed, '
            'remove the tags that begin with cinder_lvm_manage: with '
            '`lvchange --deltag`')


def _managed(lv: Manageable, volume: Mapping[str, Any] | None
             ) -> Iterator[Finding]:
    """:param volume: None for a snapshot, or for one of another host"""
    owner = lv.cinder_id or ''
    if lv.adopter and lv.adopter != owner:
        yield Finding(
            'tags-of-another', lv.name, owner,
            f'LV {lv.name} belongs to {owner}, but has the tags of '
            f'{lv.adopter}.',
            f'Do not unmanage or delete {owner} before you know whose data '
            'the LV has: see `lvs -o lv_name,lv_uuid,lv_tags`')
    if volume is None:
        return
    known_as = volume.get('os-vol-mig-status-attr:name_id') or owner
    if lv.driver and lv.named_for != known_as and not (
            set(lv.codes) & set(_REASONS)):
        yield Finding(
            'lv-renamed', lv.name, owner,
            f'LV {lv.name} belongs to volume {owner}, but has another name '
            'than Cinder gave it.',
            f'Rename it with `lvrename` to the name that Cinder gives '
            f'{known_as}: by default volume- and the ID')
    if _is_settled(volume) and lv.size is not None and (
            lv.gib != volume['size']):
        yield Finding(
            'size-differs', lv.name, owner,
            f'LV {lv.name} has {lv.size} bytes, but Cinder records '
            f"{volume['size']} GiB.",
            'If the LV is larger, extend the volume to '
            f'{lv.gib} GiB with `openstack volume set --size`; if it is '
            'smaller, extend the LV with `lvextend`')


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
