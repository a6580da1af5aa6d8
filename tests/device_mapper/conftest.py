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


from collections.abc import Iterator
import subprocess

import pytest

from tests.lab import life


@pytest.fixture(scope='session', autouse=True)
def daemons() -> None:
    for daemon in ('tgtd', 'iscsid'):
        if subprocess.run(('pidof', daemon), check=False).returncode:
            pytest.fail(f'{daemon} is not running')


@pytest.fixture(scope='module')
def laboratory() -> Iterator[life.Laboratory]:
    """A real Cinder on LVs that are active in a kernel."""
    with life.laboratory() as lab:
        yield lab
