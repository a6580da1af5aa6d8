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

"""adopt and give_back: the only place that changes an LV.

An adoption is written down in the LV's tags before its name changes, so that
LVM itself knows, whatever becomes of Cinder's database, who took the LV and
what it was called.
"""

from __future__ import annotations

import dataclasses

from oslo_log import log as logging

from cinder_lvm_manage import errors
from cinder_lvm_manage import logical_volume
from cinder_lvm_manage.inventory import Inventory
from cinder_lvm_manage.logical_volume import Activation
from cinder_lvm_manage.logical_volume import LogicalVolume
from cinder_lvm_manage.volume_group import VolumeGroup

LOG = logging.getLogger(__name__)

# All characters of a UUID and of an LV's name are legal in a tag:
# lvm2 lib/misc/lvm-string.c, validate_tag.
_TAG_PREFIX = 'cinder_lvm_manage:'
_ADOPTER = _TAG_PREFIX + 'id='
_FORMER_NAME = _TAG_PREFIX + 'name='
_FORMER_STATE = _TAG_PREFIX + 'was='

# As Cinder's volumes are: whatever it does with one, it opens its device.
READY = Activation(active=True, skipped=False, automatic=True)
# The journal's word for each field of Activation that is to be put back.
_STATES: dict[str, dict[str, bool]] = {
    'inactive': {'active': False},
    'skipped': {'skipped': True},
    'manual': {'automatic': False}}


@dataclasses.dataclass(frozen=True)
class Journal:
    """What an adoption wrote on its LV.

    :ivar adopter: id of the Cinder volume or snapshot that took the LV
    :ivar former_name: the LV's name before
    :ivar former_state: how its activation was not ready, in _STATES' words
    """

    adopter: str
    former_name: str
    former_state: frozenset[str] = frozenset()

    @classmethod
    def of(cls, lv: LogicalVolume) -> Journal | None:
        """The LV's journal; None if there is none that can be read."""
        adopters = _values(lv, _ADOPTER)
        names = [name for name in _values(lv, _FORMER_NAME)
                 if logical_volume.is_lv_name(name)]
        if len(adopters) != 1 or len(names) != 1:
            return None
        return cls(adopters[0], names[0],
                   frozenset(_values(lv, _FORMER_STATE)) & _STATES.keys())

    @property
    def tags(self) -> set[str]:
        """The LV tags that say this."""
        return {_ADOPTER + self.adopter, _FORMER_NAME + self.former_name,
                *(_FORMER_STATE + state for state in self.former_state)}


def _values(lv: LogicalVolume, prefix: str) -> list[str]:
    return [tag[len(prefix):] for tag in lv.tags if tag.startswith(prefix)]


def _journal_tags(lv: LogicalVolume) -> set[str]:
    return {tag for tag in lv.tags if tag.startswith(_TAG_PREFIX)}


def adopt(vg: VolumeGroup, inventory: Inventory, lv: LogicalVolume,
          adopter: str, new_name: str, ready: bool = False,
          extend_to: int | None = None) -> None:
    """Give the LV Cinder's name; undone if a command fails.

    Three commands, one more each to activate and to extend it.

    :param inventory: what the LV was judged in, under the group's lock
    :param adopter: id of the Cinder volume or snapshot that takes it
    :param ready: activate it, now and after the next boot
    :param extend_to: bytes that it is to have, if it is to be made longer
    :raises VolumeGroupError, AdoptionFailed: the LV has its old name, tags and
        activation again, or the log says what could not be put back; if it
        was extended, it stays so
    """
    if new_name in inventory.by_name:
        raise errors.AdoptionFailed(
            f'LV {lv.name} is to be named {new_name}, but there is an LV of '
            f'that name in volume group {vg.name}: rename that one')
    activation = READY if ready else lv.activation
    journal = _journal_of_adoption(lv, adopter, activation)
    try:
        _put(vg, lv, lv.name, journal.tags, activation)
        vg.rename(lv.name, new_name)
        if extend_to:
            vg.extend(new_name, extend_to)
        adopted = vg.inventory().by_name.get(new_name)
        if adopted is None or adopted.uuid != lv.uuid:
            raise errors.AdoptionFailed(
                f'LV {lv.name} with UUID {lv.uuid} was removed, renamed or '
                'replaced while it was being managed: see '
                f'`lvs -o lv_name,lv_uuid {vg.name}` and try again')
        if Journal.of(adopted) != journal:
            raise errors.AdoptionFailed(
                f'LV {lv.name} with UUID {lv.uuid} has not the tags that tell '
                f'its name, although LVM said so: see whether `lvchange '
                f'--addtag` works in volume group {vg.name}')
    except errors.LVMManageError:
        _undo(vg, lv, journal, new_name)
        raise
    LOG.info('LV %(name)s (UUID %(uuid)s) of volume group %(vg)s is managed '
             'by Cinder now, as %(new_name)s.',
             {'name': lv.name, 'uuid': lv.uuid, 'vg': vg.name,
              'new_name': new_name})


def _journal_of_adoption(lv: LogicalVolume, adopter: str,
                         activation: Activation) -> Journal:
    name = lv.name
    state = {state for state, fields in _STATES.items()
             for field, was in fields.items()
             if getattr(lv.activation, field) is was
             and getattr(activation, field) is not was}
    earlier = Journal.of(lv)
    if earlier:
        # An adoption that was cut off may have changed its state already.
        state |= earlier.former_state
        if earlier.adopter in name:
            # The volume that adopted this LV is gone without having given
            # it back (a lost database): what counts is the name before.
            name = earlier.former_name
    return Journal(adopter, name, frozenset(state))


def _undo(vg: VolumeGroup, lv: LogicalVolume, journal: Journal,
          new_name: str) -> None:
    # The failed command may have done its work all the same, or done it to
    # another LV that has come in this one's place: look, do not assume.
    try:
        inventory = vg.inventory()
        for touched in inventory.lvs:
            if touched.name == new_name and lv.name in inventory.by_name:
                LOG.error('LV %(new_name)s (UUID %(uuid)s) cannot have its '
                          'name %(name)s again: another LV of volume group '
                          '%(vg)s has it. Its tags tell its name.',
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
                _put(vg, touched, name, _journal_tags(lv), lv.activation)
            else:
                _put(vg, touched, name,
                     _journal_tags(touched) - journal.tags,
                     touched.activation)
    except errors.LVMManageError:
        LOG.exception('Adoption of LV %(lv)s (UUID %(uuid)s) as %(new_name)s '
                      'failed and could not be undone. Its tags, if it has '
                      'any of %(prefix)s, tell its name; nothing was removed.',
                      {'lv': lv.name, 'uuid': lv.uuid, 'new_name': new_name,
                       'prefix': _TAG_PREFIX})


def _put(vg: VolumeGroup, lv: LogicalVolume, name: str, tags: set[str],
         activation: Activation) -> None:
    """Give the LV these tags of ours, and no other, and this activation.

    One command for its metadata, one for its device; none where it has them.

    :param name: its name now
    """
    add = tags - set(lv.tags)
    remove = _journal_tags(lv) - tags
    flags = {field: getattr(activation, field)
             for field in ('skipped', 'automatic')
             if getattr(activation, field) != getattr(lv.activation, field)}
    # While the journal stands, what an interruption leaves can be put back.
    if lv.activation.active and activation.active is False:
        vg.deactivate(name)
    if add or remove or flags:
        vg.change(name, sorted(add), sorted(remove), **flags)
    if lv.activation.active is False and activation.active:
        vg.activate(name)


def adopted_by(inventory: Inventory, adopter: str) -> LogicalVolume | None:
    """The LV whose journal names this Cinder volume, whatever its name."""
    for lv in inventory.lvs:
        journal = Journal.of(lv)
        if journal and journal.adopter == adopter:
            return lv
    return None


def adopted_from(inventory: Inventory,
                 former_name: str | None) -> LogicalVolume | None:
    """The LV that had this name until it was adopted."""
    for lv in inventory.lvs:
        journal = Journal.of(lv)
        if journal and journal.former_name == former_name:
            return lv
    return None


def give_back(vg: VolumeGroup, inventory: Inventory, lv: LogicalVolume,
              restore_name: bool) -> None:
    """Undo an adoption: the old name where it is free, and no tag of ours.

    It is active, and to be activated, as it was before, but not deactivated
    while it is open. An LV that was never adopted stays as it is. Three
    commands at most.

    :raises VolumeGroupError: LVM refused; try again
    """
    journal = Journal.of(lv)
    name = lv.name
    activation = lv.activation
    if journal:
        for state in journal.former_state:
            activation = activation._replace(**_STATES[state])
        if lv.is_open:
            activation = activation._replace(active=True)
        if restore_name and journal.former_name != name:
            name = _renamed(vg, inventory, lv, journal.former_name)
    _put(vg, lv, name, set(), activation)
    LOG.info('LV %(old)s (UUID %(uuid)s) of volume group %(vg)s is no longer '
             'managed by Cinder; its name is %(name)s now.',
             {'old': lv.name, 'uuid': lv.uuid, 'vg': vg.name, 'name': name})


def _renamed(vg: VolumeGroup, inventory: Inventory, lv: LogicalVolume,
             former_name: str) -> str:
    if former_name in inventory.by_name:
        LOG.warning('LV %(name)s cannot have its old name %(old)s again: '
                    'another LV of volume group %(vg)s has it.',
                    {'name': lv.name, 'old': former_name, 'vg': vg.name})
        return lv.name
    vg.rename(lv.name, former_name)
    return former_name
