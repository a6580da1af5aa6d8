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

"""What LVM's lock manager guarantees, and what it does not."""

import contextlib

import pytest

from tests.lab.cluster_hosts import VOLUME_GROUP

_LOCKED = 'LV locked by other host'


@contextlib.contextmanager
def lv(node, name, size='64m'):
    """Create an LV that is active on the node, and remove it at the end."""
    path = f'{VOLUME_GROUP}/{name}'
    node.output(f'lvcreate --yes --size {size} --name {name} {VOLUME_GROUP}')
    try:
        yield path
    finally:
        node.output(f'lvchange --activate y {path} && '
                    f'lvremove --yes {path}')


@pytest.mark.parametrize('command', [
    'lvchange --activate y {}', 'lvextend --size +4m {}', 'lvrename {} other',
    'lvremove --yes {}', 'lvcreate --yes --snapshot --size 8m {}'])
def test_a_command_for_an_lv_that_another_host_has_active(hosts, command):
    one, two = hosts
    with lv(one, 'taken') as path:
        refused = two.run(command.format(path))
        assert refused.status == 5
        assert _LOCKED in refused.output
        one.output(f'lvchange --activate n {path}')
        two.output(f'lvchange --activate y {path}')
        two.output(f'lvchange --activate n {path}')


def test_a_tag_needs_no_lock(hosts):
    one, two = hosts
    with lv(one, 'taken') as path:
        two.output(f'lvchange --addtag hint {path}')
        assert 'hint' in one.output(
            f'lvs --noheadings --options lv_tags {path}')


def test_another_host_does_not_see_that_an_lv_is_active(hosts):
    one, two = hosts
    with lv(one, 'taken') as path:
        command = f'lvs --noheadings --options lv_attr {path}'
        assert one.output(command).strip()[4] == 'a'
        assert two.output(command).strip()[4] == '-'
