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

"""All that Cinder offers, on active LVs, run by a user without rights.

He may do what Cinder's own sudoers line and filters let him, and no more.
"""

import os

import pytest

from tests.shows import life


@pytest.fixture(scope='module')
def unprivileged():
    with life.laboratory(unprivileged=True) as lab:
        assert os.stat(f'/proc/{lab.cinder.pid}').st_uid != 0
        yield lab


@pytest.mark.parametrize('backend', ['thick', 'thin'])
def test_every_operation_is_allowed(unprivileged, backend):
    outcome = life.live(unprivileged, backend, life.SIZES['4 MiB'])
    assert set(outcome.values()) == {''}, outcome
