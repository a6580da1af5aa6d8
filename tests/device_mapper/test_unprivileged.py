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

"""Every operation of Cinder on active LVs, run by an unprivileged user.

The user is limited to Cinder's own sudoers line and rootwrap filters.
"""

import os

import pytest

from tests.lab import life


@pytest.fixture(scope='module')
def unprivileged():
    with life.laboratory(unprivileged=True) as lab:
        assert os.stat(f'/proc/{lab.cinder.pid}').st_uid != 0
        yield lab


@pytest.mark.parametrize('backend', life.BACKENDS)
def test_every_operation_is_allowed(unprivileged, backend):
    steps = life.live(unprivileged, backend, life.SIZES['4 MiB'])
    assert [step for step in steps if step.failure] == []
