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


"""Every operation of Cinder on adopted LVs of every size."""

import pytest

from tests.lab import life


@pytest.mark.parametrize('size', life.SIZES.values(), ids=life.SIZES.keys())
@pytest.mark.parametrize('backend', life.BACKENDS)
def test_every_operation_keeps_the_data(laboratory, backend, size):
    steps = life.live(laboratory, backend, size)
    assert [step for step in steps if step.failure] == []


def test_an_inactive_lv_is_cleared(laboratory):
    adopted = life.Life(laboratory, 'thick', life.SIZES['4 MiB'])
    adopted.adopt()
    adopted.group.lvm('lvchange', '--activate', 'n',
                      f'thick/volume-{adopted.volume}')
    life.delete(adopted)
