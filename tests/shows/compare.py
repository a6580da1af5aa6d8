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

"""Cinder's LVM driver and this one, compared on LVs of every kind.

`python -m tests.shows.compare`, as root, prints a table. For each visible LV
of the zoo it shows whether each driver lists it as safe to manage, as a volume
and as a snapshot, with its size in GiB; and as which of them the driver
manages it. Thin LVs are shown to a thin backend, all others to a thick one.
Before an LV is managed as a snapshot, its origin is managed. After every
manage, the group's metadata is restored.
"""

from __future__ import annotations

from collections.abc import Callable
import os
import pathlib
import tempfile
from typing import Any
from unittest import mock

from oslo_log import log as logging

from tests.lab import signals
from tests.lab import zoo
from tests.lab.in_process import CinderInProcess
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import IN_TREE
from tests.lab.service_conf import OURS


def main() -> None:
    """Print a table."""
    logging.getLogger(None).logger.setLevel(logging.CRITICAL)
    with (tempfile.TemporaryDirectory() as state,
          CinderInProcess(pathlib.Path(state)) as cinder,
          ScratchVolumeGroup(physical_volumes=2) as vg,
          mock.patch.dict(os.environ, vg.environment)):
        zoo.build(vg)
        views = {(name, lvm_type): _View(cinder, vg, name, lvm_type)
                 for name in (IN_TREE, OURS)
                 for lvm_type in ('default', 'thin')}
        titles = f"{'as volume':<14} {'as snapshot':<13} {'managed as':<16}"
        print(f"{'':<24} | {'Cinder lists it':<45} | this driver lists it\n"
              f"{'LV':<24} | {titles} | {titles.rstrip()}")
        for row in vg.report('lv_name', 'lv_layout', 'origin'):
            name = row['lv_name']
            if name.startswith('['):
                continue
            lvm_type = 'thin' if 'thin' in row['lv_layout'] else 'default'
            cells = [views[driver, lvm_type].cells(name, row['origin'])
                     for driver in (IN_TREE, OURS)]
            print(f"{name[:24]:<24} | {' | '.join(cells)}".rstrip(),
                  flush=True)


class _View:
    """One driver, on the zoo."""

    def __init__(self, cinder: CinderInProcess, vg: ScratchVolumeGroup,
                 volume_driver: str, lvm_type: str) -> None:
        self._cinder = cinder
        self._vg = vg
        self._driver = cinder.driver(vg, volume_driver, lvm_type=lvm_type)
        order: tuple[Any, ...] = (None, 1000, None, ['reference'], ['asc'])
        self._volumes = _by_name(
            self._driver.get_manageable_volumes([], *order))
        self._snapshots = _by_name(
            self._driver.get_manageable_snapshots([], *order))

    def cells(self, name: str, origin: str) -> str:
        """Return the columns of one LV."""
        managed = [kind for kind, managed in (
            ('volume', self._manages_volume(name)),
            ('snapshot', self._manages_snapshot(name, origin))) if managed]
        return (f'{_cell(self._volumes.get(name)):<14} '
                f'{_cell(self._snapshots.get(name)):<13} '
                f"{', '.join(managed) or '-':<16}")

    def _manages_volume(self, name: str) -> bool:
        return self._succeeds(lambda: self._driver.manage_existing(
            self._cinder.record_volume(), {'source-name': name}))

    def _manages_snapshot(self, name: str, origin: str) -> bool:
        def manage() -> None:
            parent = self._cinder.record_volume()
            if origin:
                self._driver.manage_existing(parent, {'source-name': origin})
            self._driver.manage_existing_snapshot(
                self._cinder.record_snapshot(parent), {'source-name': name})
        return self._succeeds(manage)

    def _succeeds(self, manage: Callable[[], None]) -> bool:
        """Return whether it manages the LV, and restore the metadata."""
        metadata = self._vg.metadata()
        try:
            manage()
        except Exception:  # noqa: BLE001 a refusal, of any class
            return False
        else:
            return True
        finally:
            self._vg.replace_metadata(metadata)


def _by_name(entries: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {entry['reference']['source-name']: entry for entry in entries}


def _cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return 'not listed'
    safe = 'safe' if entry['safe_to_manage'] else 'unsafe'
    return f"{safe} {entry['size']} GiB"


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main()
