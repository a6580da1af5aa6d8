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

"""adopt and release: all changes that managing and unmanaging make to an LV.

An adoption is recorded in the LV's tags before the LV is renamed. LVM's
metadata then show which volume adopted the LV and what its name was, even if
Cinder's database is lost.
"""

from __future__ import annotations

from collections.abc import Callable
import dataclasses

from oslo_log import log as logging

from cinder_lvm_manage import errors
from cinder_lvm_manage import exports
from cinder_lvm_manage import logical_volume
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.logical_volume import Activation
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.lv_attr import Permissions
from cinder_lvm_manage.lv_attr import State
from cinder_lvm_manage.lv_attr import UNDETERMINED
from cinder_lvm_manage.volume_group import VolumeGroup

LOG = logging.getLogger(__name__)

# All characters of a UUID and of an LV's name are legal in a tag:
# lvm2 lib/misc/lvm-string.c, validate_tag.
_TAG_PREFIX = 'cinder_lvm_manage:'
_ADOPTER = _TAG_PREFIX + 'id='
_FORMER_NAME = _TAG_PREFIX + 'name='
_FORMER_STATE = _TAG_PREFIX + 'was='
_HOST = _TAG_PREFIX + 'host='

# Cinder's volumes are always active: every operation opens the device.
READY = Activation(active=True, skipped=False, automatic=True)
# By the journal's word for it: the field of Activation to restore.
_STATES: dict[str, dict[str, bool]] = {
    'inactive': {'active': False},
    'skipped': {'skipped': True},
    'manual': {'automatic': False}}


@dataclasses.dataclass(frozen=True)
class Journal:
    """What an adoption recorded in the tags of its LV.

    :ivar adopter: ID of the Cinder volume or snapshot that adopted the LV
    :ivar former_name: the LV's name before the adoption
    :ivar former_state: keys of _STATES: in which ways the LV was not READY
    :ivar host: host@backend of the cinder-volume that was asked to adopt the
        LV; only recorded in a cluster, and empty otherwise
    """

    adopter: str
    former_name: str
    former_state: frozenset[str] = frozenset()
    host: str = ''

    @classmethod
    def of(cls, lv: LogicalVolume) -> Journal | None:
        """Return the LV's journal; None without a complete one."""
        adopters = _values(lv, _ADOPTER)
        names = [name for name in _values(lv, _FORMER_NAME)
                 if logical_volume.is_lv_name(name)]
        if len(adopters) != 1 or len(names) != 1:
            return None
        hosts = [*_values(lv, _HOST), '']
        return cls(adopters[0], names[0],
                   frozenset(_values(lv, _FORMER_STATE)) & _STATES.keys(),
                   exports.from_tag(hosts[0]))

    @property
    def tags(self) -> set[str]:
        """The LV tags that record this."""
        return {_ADOPTER + self.adopter, _FORMER_NAME + self.former_name,
                *(_FORMER_STATE + state for state in self.former_state),
                *([_HOST + exports.in_tag(self.host)] if self.host else [])}


def _values(lv: LogicalVolume, prefix: str) -> list[str]:
    return [tag[len(prefix):] for tag in lv.tags if tag.startswith(prefix)]


def journal_tags(lv: LogicalVolume) -> set[str]:
    """Return the LV's tags that an adoption wrote, even an incomplete one."""
    return {tag for tag in lv.tags if tag.startswith(_TAG_PREFIX)}


# The text that LVM writes around a list of tags, the flags that a change of
# the activation can add, and longer numbers and times.
_METADATA_AROUND_TAGS = 128
# One more segment, on many physical volumes.
_METADATA_OF_A_SEGMENT = 2048


def metadata_needed(lv: LogicalVolume, references: int, name_length: int,
                    extend: bool, host: str = '') -> int:
    """Return by how many bytes adopting the LV grows the metadata at most.

    LVM keeps the metadata of a group as text, in an area of fixed size.

    :param references: how often the metadata of other LVs have its name
    :param name_length: length of the LV's new name
    :param extend: whether the LV is extended too
    :param host: what the journal records as host
    """
    journal = Journal('0' * 36, lv.name, frozenset(_STATES), host)
    tags = sum(len(f'"{tag}", ') for tag in journal.tags)
    names = max(0, name_length - len(lv.name)) * (1 + references)
    return (tags + names + _METADATA_AROUND_TAGS
            + (_METADATA_OF_A_SEGMENT if extend else 0))


def adopt(vg: VolumeGroup, inventory: Inventory, lv: LogicalVolume,
          adopter: str, new_name: str, ready: bool = False,
          extend_to: int | None = None,
          accept: Callable[[LogicalVolume], None] | None = None,
          host: str = '') -> None:
    """Rename the LV to Cinder's name, and undo that if a command fails.

    This takes three commands, and one more each to activate, to extend and to
    deactivate it.

    :param inventory: the one that the LV was judged in, read under the
        group's lock
    :param adopter: ID of the Cinder volume or snapshot that adopts the LV
    :param ready: activate the LV now, and automatically from now on
    :param extend_to: the size in bytes to extend the LV to; None to keep it
    :param accept: called with the LV under its new name if it was not active
        before, while it is active; it raises an LVMManageError to refuse the
        LV
    :param host: of the cinder-volume that was asked, if it is in a cluster
    :raises LockedElsewhere: in a shared group, another host has the LV active
    :raises VolumeGroupError, AdoptionFailed: the LV's old name, tags and
        activation are restored, or the log reports what could not be. An LV
        that was extended is not reduced.
    """
    if new_name in inventory.by_name:
        raise errors.AdoptionFailed(
            f'Cannot rename LV {lv.name} to {new_name}: that name already '
            f'exists in volume group {vg.name}. Rename that LV, then retry')
    activation = READY if ready else lv.activation
    journal = _journal_of_adoption(lv, adopter, activation, host)
    try:
        _put(vg, lv, lv.name, journal.tags,
             activation._replace(active=lv.activation.active))
        vg.rename(lv.name, new_name)
        if extend_to:
            vg.extend(new_name, extend_to)
        # Last: activation/volume_list may only have the LV's old name, and an
        # origin with thick snapshots cannot be extended while it is active.
        activate = (lv.activation.active is False
                    and (activation.active or accept is not None))
        if activate:
            vg.activate(new_name)
        adopted = _checked(vg.inventory(), lv, new_name, journal, ready,
                           extend_to)
        if activate and accept:
            accept(adopted)
        if activate and not activation.active:
            vg.deactivate(new_name)
    except errors.LVMManageError:
        _undo(vg, lv, journal, new_name)
        raise
    LOG.info('LV %(name)s (UUID %(uuid)s) of volume group %(vg)s is now '
             'managed by Cinder as %(new_name)s.',
             {'name': lv.name, 'uuid': lv.uuid, 'vg': vg.name,
              'new_name': new_name})


def _checked(inventory: Inventory, lv: LogicalVolume, new_name: str,
             journal: Journal, ready: bool, extend_to: int | None
             ) -> LogicalVolume:
    """Return the adopted LV, if it is as the commands should have made it.

    :raises AdoptionFailed: Cinder could not use the LV, or not restore it
    """
    vg_name = inventory.vg_name
    adopted = inventory.by_name.get(new_name)
    if adopted is None or adopted.uuid != lv.uuid:
        raise errors.AdoptionFailed(
            f'LV {lv.name} (UUID {lv.uuid}) was removed, renamed or replaced '
            'while it was being managed. See `lvs -o lv_name,lv_uuid '
            f'{vg_name}`, then retry')
    if Journal.of(adopted) != journal:
        raise errors.AdoptionFailed(
            f'LV {lv.name} (UUID {lv.uuid}) is missing the tags that record '
            'its original name, although LVM reported success. Check whether '
            f'`lvchange --addtag` works in volume group {vg_name}')
    if extend_to and adopted.size != extend_to:
        raise errors.AdoptionFailed(
            f'LVM extended LV {lv.name} to {adopted.size} bytes, not to '
            f'{extend_to}, so that Cinder would record a wrong size. Unset '
            'lvm_manage_extend_to_gib, then retry')
    # Where LVM cannot determine the state, lvm_manage_without_device_mapper
    # is set: LVs are never activated on this host.
    if ready and adopted.attr.state not in (State.ACTIVE, UNDETERMINED):
        raise errors.AdoptionFailed(
            f'LV {lv.name} (UUID {lv.uuid}) is not active as {new_name}, '
            'although LVM reported success. Check whether '
            'activation/volume_list in lvm.conf includes volume group '
            f'{vg_name}, not only some of its LVs, then retry')
    if ready and adopted.attr.permissions == Permissions.READ_ONLY_ACTIVATION:
        raise errors.AdoptionFailed(
            f'LV {lv.name} (UUID {lv.uuid}) is read-only while it is active. '
            'Remove it, or its volume group, from '
            'activation/read_only_volume_list in lvm.conf, then retry')
    return adopted


def _journal_of_adoption(lv: LogicalVolume, adopter: str,
                         activation: Activation, host: str) -> Journal:
    name = lv.name
    state = {state for state, fields in _STATES.items()
             for field, was in fields.items()
             if getattr(lv.activation, field) is was
             and getattr(activation, field) is not was}
    earlier = Journal.of(lv)
    if earlier:
        # An interrupted adoption may already have changed its state.
        state |= earlier.former_state
        if earlier.adopter in name:
            # The volume that adopted this LV no longer exists, but never
            # released it (a lost database): the name before it is restored.
            name = earlier.former_name
    return Journal(adopter, name, frozenset(state), host)


def _undo(vg: VolumeGroup, lv: LogicalVolume, journal: Journal,
          new_name: str) -> None:
    # The failed command may have taken effect all the same, or have changed
    # another LV that replaced this one. So the group is read again.
    try:
        inventory = vg.inventory()
        for touched in inventory.lvs:
            if touched.name == new_name and lv.name in inventory.by_name:
                LOG.error('LV %(new_name)s (UUID %(uuid)s) cannot be renamed '
                          'back to %(name)s: another LV of volume group '
                          '%(vg)s already has that name. Its original name is '
                          'recorded in its tags.',
                          {'new_name': new_name, 'uuid': touched.uuid,
                           'name': lv.name, 'vg': vg.name})
                continue
            name = touched.name
            if name == new_name:
                name = lv.name
                vg.rename(new_name, name)
            elif Journal.of(touched) != journal:
                continue
            if touched.uuid == lv.uuid:
                _put(vg, touched, name, journal_tags(lv), lv.activation)
            else:
                _put(vg, touched, name,
                     journal_tags(touched) - journal.tags,
                     touched.activation)
    except errors.LVMManageError:
        LOG.exception('Adoption of LV %(lv)s (UUID %(uuid)s) as %(new_name)s '
                      'failed and could not be undone. Its original name is '
                      'recorded in its tags that begin with %(prefix)s, if it '
                      'has any; nothing was removed.',
                      {'lv': lv.name, 'uuid': lv.uuid, 'new_name': new_name,
                       'prefix': _TAG_PREFIX})


def _put(vg: VolumeGroup, lv: LogicalVolume, name: str, tags: set[str],
         activation: Activation) -> None:
    """Set the LV's journal tags and its activation.

    This takes one command for the metadata and one for the device, each only
    if something changes.

    :param name: the LV's current name, which may differ from lv.name
    """
    add = tags - set(lv.tags)
    remove = journal_tags(lv) - tags
    flags = {field: getattr(activation, field)
             for field in ('skipped', 'automatic')
             if getattr(activation, field) != getattr(lv.activation, field)}
    # While the journal exists, an interruption can be repaired.
    if lv.activation.active and activation.active is False:
        vg.deactivate(name)
    if add or remove or flags:
        vg.change(name, sorted(add), sorted(remove), **flags)
    if lv.activation.active is False and activation.active:
        vg.activate(name)


def adopted_by(inventory: Inventory, adopter: str,
               lv_name: str) -> LogicalVolume | None:
    """Return the LV of this volume or snapshot; None if there is none.

    An adopted LV is found by its journal, even if it was renamed. An LV that
    Cinder created has no journal, and is found by its name.

    :param lv_name: the name that Cinder gives the LV
    :raises AmbiguousOwner: several LVs have this adopter's journal, or the LV
        of that name has another adopter's, or an incomplete one
    """
    found = [lv for lv in inventory.lvs
             if (journal := Journal.of(lv)) and journal.adopter == adopter]
    if len(found) > 1:
        raise errors.AmbiguousOwner(
            f'{" and ".join(lv.name for lv in found)} of volume group '
            f'{inventory.vg_name} all have the tag {_ADOPTER}{adopter}. '
            'Remove it with `lvchange --deltag` from those that Cinder did '
            'not adopt, then retry')
    if found:
        return found[0]
    named = inventory.by_name.get(lv_name)
    tags = sorted(journal_tags(named)) if named else []
    if tags:
        raise errors.AmbiguousOwner(
            f'LV {lv_name} of volume group {inventory.vg_name} has the tags '
            f'{", ".join(tags)}, which do not show that {adopter} adopted it. '
            'Find out whose LV it is, remove the tags with `lvchange '
            '--deltag`, or rename the LV, then retry')
    return named


def adopted_from(inventory: Inventory,
                 former_name: str | None) -> LogicalVolume | None:
    """Return the LV that had this name before it was adopted, if any."""
    for lv in inventory.lvs:
        journal = Journal.of(lv)
        if journal and journal.former_name == former_name:
            return lv
    return None


def release(vg: VolumeGroup, inventory: Inventory, lv: LogicalVolume,
            restore_name: bool) -> str:
    """Undo an adoption: restore the LV's old name and remove the journal.

    The LV's activation is restored too, except that an open LV, or one with an
    open thick snapshot, is not deactivated. If the old name cannot be
    restored, the LV keeps Cinder's name, and the tags that record the old one.
    An LV that was never adopted does not change. This takes three commands at
    most.

    :param restore_name: if False, keep Cinder's name and remove the journal
    :returns: the LV's name after this
    :raises VolumeGroupError: LVM refused; the caller can retry
    """
    journal = Journal.of(lv)
    name = lv.name
    tags: set[str] = set()
    activation = lv.activation
    if journal:
        for state in journal.former_state:
            activation = activation._replace(**_STATES[state])
        # LVM deactivates an origin together with its thick snapshots.
        if any(each.is_open for each in (lv, *inventory.needing(lv))):
            activation = activation._replace(active=True)
        if restore_name and journal.former_name != name:
            obstacle = _obstacle(inventory, journal.former_name)
            if obstacle:
                LOG.warning('LV %(name)s (UUID %(uuid)s) of volume group '
                            '%(vg)s cannot be renamed back to %(old)s: '
                            '%(obstacle)s. It keeps its name; its original '
                            'name is recorded in its tags.',
                            {'name': name, 'uuid': lv.uuid, 'vg': vg.name,
                             'old': journal.former_name,
                             'obstacle': obstacle})
                tags = journal.tags
            else:
                name = journal.former_name
                vg.rename(lv.name, name)
    _put(vg, lv, name, tags, activation)
    LOG.info('LV %(old)s (UUID %(uuid)s) of volume group %(vg)s is no longer '
             'managed by Cinder; its name is now %(name)s.',
             {'old': lv.name, 'uuid': lv.uuid, 'vg': vg.name, 'name': name})
    return name


def _obstacle(inventory: Inventory, former_name: str) -> str:
    if former_name in inventory.by_name:
        return 'another LV already has that name'
    return logical_volume.unusable(former_name, inventory.vg_name)
