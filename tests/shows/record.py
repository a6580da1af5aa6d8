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

"""Records the reports of real LVM on the zoo, for the unit tests.

`python -m tests.shows.record`, as root, from the top of the checkout.
"""

from __future__ import annotations

from cinder_lvm_manage.volume_group import REPORT
from tests.lab import signals
from tests.lab import zoo
from tests.lab.scratch import ScratchVolumeGroup
from tests.unit import reports


def _record(vg: ScratchVolumeGroup, name: str) -> None:
    path = reports.FOLDER / f'{name}.json'
    path.write_text(vg.lvm('env', *REPORT, vg.name))
    print(path)


def main() -> None:
    """Write all reports except device-mapper.json, which needs a kernel."""
    with ScratchVolumeGroup(physical_volumes=2) as vg:
        zoo.build(vg)
        _record(vg, 'zoo')
    with ScratchVolumeGroup(physical_volumes=2) as vg:
        zoo.build_partial(vg)
        _record(vg, 'partial')
    with ScratchVolumeGroup() as vg:
        zoo.build_small(vg)
        vg.lvm('vgexport', vg.name)
        _record(vg, 'exported')
    with ScratchVolumeGroup() as vg:
        zoo.build_small(vg)
        zoo.make_read_only(vg)
        _record(vg, 'read-only-group')


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main()
