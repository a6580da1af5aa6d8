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

"""The lab's Cinder, which prints how long the parts of a listing take.

A part that ends prints a line `spent {"PART": SECONDS}`. The call to
cinder-volume includes the other parts, and the driver includes LVM.
"""

from __future__ import annotations

# The first import, because it patches the standard library.
from tests.lab import cinder_server

# isort: split

from collections.abc import Callable
import functools
import json
import sys
import time
from typing import Any

from cinder import objects

# The import of cinder.volume.manager, below, needs them.
objects.register_all()


def _timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def timing(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent = {part: time.perf_counter() - start}
            print(f'spent {json.dumps(spent)}', flush=True)
    return timing


def _time_parts() -> None:
    from cinder.volume import manager
    from cinder.volume import rpcapi

    from cinder_lvm_manage.driver import LVMManageDriver
    from cinder_lvm_manage.volume_group import VolumeGroup

    for part, owner, name in (
            ('call', rpcapi.VolumeAPI, 'get_manageable_volumes'),
            ('volumes', manager.VolumeManager, '_get_my_volumes'),
            ('driver', LVMManageDriver, 'get_manageable_volumes'),
            ('lvm', VolumeGroup, '_run_privileged')):
        setattr(owner, name, _timed(part, getattr(owner, name)))


if __name__ == '__main__':
    _time_parts()
    cinder_server.main(*sys.argv[1:])
