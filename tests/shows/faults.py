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

"""What happens to an LV when an LVM command of its adoption goes wrong.

`python -m tests.shows.faults`, as root, prints a table for this driver and one
for Cinder's: the outcome of each fault of each command. Below each table is
how often data or a name was lost.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
import contextlib
import functools
import io
import os
import pathlib
import tempfile
from unittest import mock

from oslo_log import log as logging

from tests.lab import signals
from tests.lab.faulty_lvm import FAULTS
from tests.lab.faulty_lvm import MANAGE
from tests.lab.faulty_lvm import MANAGE_IN_TREE
from tests.lab.faulty_lvm import OF_UNMANAGE
from tests.lab.faulty_lvm import UNMANAGE
from tests.lab.in_process import CinderInProcess
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import IN_TREE
from tests.lab.trial import Loss
from tests.lab.trial import Lost
from tests.lab.trial import Trial
from tests.lab.trial import trial


def main() -> None:
    """Print a table for each driver, and the number of losses."""
    logging.getLogger(None).logger.setLevel(logging.CRITICAL + 1)
    with (tempfile.TemporaryDirectory() as state,
          CinderInProcess(pathlib.Path(state)) as cinder,
          ScratchVolumeGroup() as group,
          mock.patch.dict(os.environ, group.environment),
          # Of another error the table shows only that there was one.
          contextlib.redirect_stderr(io.StringIO())):
        with trial(cinder, group) as ours:
            _print_table('Manage by this driver', MANAGE, FAULTS, ours.manage)
            _print_unrecorded(ours)
            _print_table('Unmanage by this driver', UNMANAGE, OF_UNMANAGE,
                         ours.unmanage)
        with trial(cinder, group, IN_TREE) as theirs:
            _print_table("Manage by Cinder's own", MANAGE_IN_TREE, FAULTS,
                         theirs.manage)
            _print_unrecorded(theirs)


def _print_table(title: str, steps: tuple[str, ...], faults: Iterable[str],
                 attempt: Callable[[int, str], str]) -> None:
    print(_line(title, steps))
    outcomes = []
    for fault in faults:
        cells = [_outcome(functools.partial(attempt, step, fault))
                 for step in range(1, len(steps) + 1)]
        outcomes += cells
        print(_line(fault, cells), flush=True)
    print(f'{len(outcomes)} faults; ' + '; '.join(
        f'{loss.value}: {outcomes.count(loss.value)}' for loss in Loss), '\n',
        flush=True)


def _print_unrecorded(of_driver: Trial) -> None:
    outcome = _outcome(functools.partial(of_driver.manage, 1,
                                         'does its work', recorded=False))
    print('Cinder is killed, or its database fails, after the driver has '
          f'managed the LV: {outcome}\n', flush=True)


def _outcome(attempt: Callable[[], str]) -> str:
    try:
        return attempt()
    except Lost as exc:
        return exc.loss.value


def _line(title: str, cells: Iterable[str]) -> str:
    return ' '.join([f'{title:<36}', *(f'{cell:<30}' for cell in cells)]
                    ).rstrip()


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main()
