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

"""A real Cinder on LVs that are active in a real kernel."""

from collections.abc import Iterator

from oslo_utils import units
import pytest

from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup


@pytest.fixture(scope='session', params=['default', 'thin'])
def lvm_type(request: pytest.FixtureRequest) -> str:
    """Whether the backend's volumes are thick or thin."""
    return str(request.param)


@pytest.fixture(scope='session')
def group(lvm_type: str) -> Iterator[ScratchVolumeGroup]:
    """A volume group; for a thin backend with its pool."""
    with ScratchVolumeGroup(size=8 * units.Gi, device_mapper=True) as vg:
        if lvm_type == 'thin':
            vg.lvm('lvcreate', '--yes', '--type', 'thin-pool', '--name',
                   f'{vg.name}-pool', '--size', '6g', vg.name)
        yield vg


@pytest.fixture(scope='session')
def cinder(group: ScratchVolumeGroup,
           lvm_type: str) -> Iterator[CinderDeployment]:
    """A Cinder with this project's driver on that group."""
    with CinderDeployment(Backend(group, {'lvm_type': lvm_type})) as deployment:
        yield deployment
