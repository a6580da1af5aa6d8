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

"""Runs the command lines of doc/source/cluster.rst on hosts of a cluster."""

import pytest

from tests.lab import cluster_hosts
from tests.lab import documented
from tests.lab.openstack_client import OpenStackClient

# The commands that share an existing group are run on another group.
_TO_SHARE = {
    line: line.replace(' vg', ' local') for line in (
        'vgchange --activate n vg', 'vgchange --setautoactivation n vg',
        'vgchange --lock-type sanlock vg')}


@pytest.fixture
def host(hosts):
    """A host with the LV web01, and a volume group that is not shared."""
    node = hosts[1]
    cluster_hosts.create_inactive(node, 'web01')
    node.output("""set -e
truncate --size 600M /run/local
vgcreate --lock-type none local $(losetup --find --show /run/local)""")
    yield node
    cluster_hosts.join_group(node)
    node.output('lvremove --yes vg/web01')
    # The other group is in the memory of the node, and ends with it.


def test_a_command_succeeds_on_a_host_of_a_cluster(host):
    lines = [line.text for line in documented.lines_of(documented.SHARED)]
    assert len(lines) == 12
    for line in lines:
        host.output(_TO_SHARE.get(line, line))
        if line == 'lvmlockctl --drop vg':
            # The next commands of the page are for another host.
            cluster_hosts.join_group(host)


@pytest.mark.usefixtures('attempts')
def test_adopting_by_cluster(hosts, cinder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('vm-101', 'vm-102'):
        cluster_hosts.create_inactive(hosts[0], name)
    lines = [line.text for line in documented.lines_of(documented.CLUSTER)]
    assert len(lines) == 4
    for line in lines:
        _, *arguments = line.replace("'", '').split()
        done = OpenStackClient(cinder.url).run(*arguments)
        assert done.returncode == 0, done.stderr
    assert {'vm-101', 'vm-102'} <= set(cinder.lvs())
    for name in ('vm-101', 'vm-102'):
        hosts[0].output(f'lvremove --yes vg/{name}')
