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

"""Two cinder-volume services of one Cinder cluster on one volume group."""

from collections.abc import Iterator

import pytest

from tests.lab.cluster import Cluster
from tests.lab.scratch import ScratchVolumeGroup


@pytest.fixture(scope='session')
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The running services; each test removes its LVs."""
    folder = tmp_path_factory.mktemp('cluster')
    # MariaDB and RabbitMQ run as users of their own.
    for path in (folder, folder.parent):
        path.chmod(0o755)
    with ScratchVolumeGroup('shared') as group, Cluster(folder,
                                                        group) as services:
        yield services


@pytest.fixture
def lv(cluster: Cluster) -> Iterator[str]:
    """The UUID of an LV named data1, which is left inactive and unmanaged."""
    cluster.group.create('data1', '4m')
    uuid = cluster.group.names()['data1']
    yield uuid
    left = cluster.left()
    cluster.group.lvm('lvremove', '--yes', cluster.group.name)
    assert left == ({'data1': uuid}, set(), {}, [])


@pytest.fixture
def volume(cluster: Cluster, lv: str) -> Iterator[str]:
    """The ID of that LV's volume."""
    volume_id = cluster.manage('data1')
    cluster.api.wait(volume_id, 'available')
    yield volume_id
    cluster.api.unmanage(volume_id)
    cluster.api.wait_until_gone(volume_id)
