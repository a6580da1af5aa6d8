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

"""A real Cinder on a real volume group, over HTTP."""

from collections.abc import Iterator

import pytest

from tests.lab import zoo
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup


@pytest.fixture(scope='session')
def group() -> Iterator[ScratchVolumeGroup]:
    """A volume group with an LV of every kind."""
    with ScratchVolumeGroup(physical_volumes=2) as vg:
        zoo.build(vg)
        yield vg


@pytest.fixture(scope='session')
def cinder(group: ScratchVolumeGroup) -> Iterator[CinderDeployment]:
    """A Cinder with this driver on that group."""
    with CinderDeployment(Backend(group)) as deployment:
        yield deployment
