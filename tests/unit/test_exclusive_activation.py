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


"""LVs that are active only while they are held, and the tag of an export."""

from unittest import mock

import pytest

from cinder_lvm_manage import errors
from cinder_lvm_manage.exclusive_activation import ExclusiveActivation
from cinder_lvm_manage.exports import Export
from cinder_lvm_manage.lv_attr import LVAttr
from cinder_lvm_manage.volume_group import VolumeGroup
from tests.unit.reports import inventory

ZOO = inventory('zoo')


class Group:
    """A volume group whose LVs are activated and deactivated.

    :ivar calls: the commands so far, as LVM would get them
    """

    def __init__(self):
        self.active = set()
        self.calls = []
        self.vg = mock.create_autospec(VolumeGroup, instance=True)
        self.vg.name = 'scratch'
        self.vg.inventory.side_effect = self._inventory
        self.vg.activate.side_effect = self._activate
        self.vg.deactivate.side_effect = self._deactivate

    def _inventory(self):
        lvs = tuple(lv._replace(attr=LVAttr.parse(
            str(lv.attr)[:4] + ('a' if lv.name in self.active else '-')
            + '-' + str(lv.attr)[6:])) for lv in ZOO.lvs)
        return mock.Mock(by_name={lv.name: lv for lv in lvs},
                         by_uuid={lv.uuid: lv for lv in lvs})

    def _activate(self, name):
        self.calls.append(f'+{name}')
        self.active.add(name)

    def _deactivate(self, name):
        self.calls.append(f'-{name}')
        self.active.discard(name)


@pytest.fixture
def group():
    return Group()


@pytest.fixture
def activation(group):
    return ExclusiveActivation(group.vg)


def test_an_inactive_lv_is_active_while_it_is_held(group, activation):
    with activation.held('size-4m') as held:
        assert group.active == {'size-4m'}
        assert not held.was_active
    assert group.calls == ['+size-4m', '-size-4m']


def test_an_active_lv_stays_active(group, activation):
    group.active.add('size-4m')
    with activation.held('size-4m') as held:
        assert held.was_active
    assert group.calls == []


def test_the_last_holder_deactivates_it(group, activation):
    with activation.held('size-4m'):
        with activation.held('size-4m'):
            pass
        assert group.active == {'size-4m'}
    assert group.calls == ['+size-4m', '-size-4m']


def test_it_can_be_kept_and_ended(group, activation):
    with activation.held('size-4m') as held:
        held.keep()
    assert group.active == {'size-4m'}
    with activation.held('size-4m') as held:
        held.end()
    assert group.active == set()


def test_another_holder_can_keep_it(group, activation):
    with activation.held('size-4m'), activation.held('size-4m') as other:
        other.keep()
    assert group.active == {'size-4m'}


def test_the_origin_of_a_thick_snapshot_is_held(group, activation):
    with activation.held('thick-snapshot'):
        pass
    assert group.calls == ['+origin', '-origin']


def test_an_lv_that_does_not_exist_is_not_held(group, activation):
    with activation.held('no-such-lv') as held:
        assert held is None
    assert group.calls == []


def test_an_lv_that_cannot_be_activated_is_not_held(group, activation):
    error = errors.LockedElsewhere('size-4m', ('lvchange',), 'lvchange', 5,
                                   ['LV locked by other host'])
    group.vg.activate.side_effect = error
    with pytest.raises(errors.LockedElsewhere), activation.held('size-4m'):
        pytest.fail('it was held')
    group.vg.activate.side_effect = group._activate
    with activation.held('size-4m'):
        pass
    assert group.calls == ['+size-4m', '-size-4m']


def test_an_activation_that_fails_late_is_undone(group, activation):
    def time_out(name):
        group._activate(name)
        raise errors.VolumeGroupError('120 seconds')

    group.vg.activate.side_effect = time_out
    with (pytest.raises(errors.VolumeGroupError),
          activation.held('size-4m')):
        pytest.fail('it was held')
    assert group.calls == ['+size-4m', '-size-4m']


def test_a_failed_deactivation_is_reported_and_does_not_fail_the_work(
        group, activation, caplog):
    group.vg.deactivate.side_effect = errors.VolumeGroupError('in use')
    with activation.held('size-4m'):
        pass
    assert 'stays active on this host' in caplog.text
    assert 'in use' in caplog.text


def test_the_error_of_the_work_is_not_hidden(group, activation):
    group.vg.deactivate.side_effect = errors.VolumeGroupError('in use')
    with pytest.raises(LookupError), activation.held('size-4m'):
        raise LookupError


def test_a_new_lv_is_inactive_at_the_end(group, activation):
    with activation.ended('size-4m'):
        group.active.add('size-4m')
    assert group.calls == ['-size-4m']


def test_a_tag_names_the_host_of_an_export():
    export = Export('node-1.example.org@lvm')
    assert export.tag == 'cinder_lvm_export:host=node-1.example.org/lvm'
    lv = ZOO.by_name['tagged']
    assert Export.of(lv) is None
    assert Export.of(lv._replace(tags=(*lv.tags, export.tag))) == export
