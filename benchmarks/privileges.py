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

"""Measures two ways to become root: a daemon, or sudo for each command.

`python -m benchmarks.privileges`, as root, from the top of the checkout. On an
operator's host, cinder-volume runs as a user without privileges. This driver
runs commands through os-brick's daemon, which the first of them starts;
Cinder's own driver reads LVs with sudo and rootwrap. The command is an lvs of
a group of 100 LVs. It is compared with the same lvs run by root, in turns.
"""

from __future__ import annotations

import itertools
import json
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from cinder import utils
import cinder.common.config  # noqa: F401  declares rootwrap_config
import os_brick
from os_brick import executor
from oslo_concurrency import processutils
from oslo_config import cfg
from oslo_privsep import priv_context

from benchmarks import measure
from tests.lab import service_conf
from tests.lab import signals
from tests.lab.scratch import ScratchVolumeGroup

LVS = 100
STARTS = 5
ROUNDS = 10
# Cinder's rootwrap filters allow it in this form.
COMMAND = ('env', 'LC_ALL=C', 'lvs', '--noheadings', '--options', 'lv_name',
           'scratch')


def main() -> None:
    """Print a table."""
    with (ScratchVolumeGroup('scratch') as vg,
          tempfile.TemporaryDirectory() as folder):
        vg.populate(LVS)
        conf_path = pathlib.Path(folder, 'cinder.conf')
        service_conf.write(conf_path, service_conf.cinder(
            conf_path, {}, unprivileged=True))
        found = measure.turns(STARTS, bare=lambda: _bare(vg),
                              user=lambda: _as_user(conf_path, vg))
    floor = statistics.median(itertools.chain(*found['bare']))
    measure.publish(
        'privileges', f'One lvs of {LVS} LVs, as the user cinder',
        [_row(way, list(itertools.chain(*(each[way]
                                          for each in found['user']))), floor)
         for way in found['user'][0]])


def _row(way: str, taken: list[float], floor: float) -> measure.Row:
    return {'way': way, 'times floor': round(statistics.median(taken) / floor,
                                             2),
            'seconds': round(statistics.median(taken), 3),
            'least': round(min(taken), 3), 'most': round(max(taken), 3),
            'runs': len(taken), 'floor': round(floor, 3)}


def _bare(vg: ScratchVolumeGroup) -> list[float]:
    return [measure.seconds(lambda: vg.lvm(*COMMAND)) for _ in range(ROUNDS)]


def _as_user(conf_path: pathlib.Path, vg: ScratchVolumeGroup) -> Any:
    """Return what measure_as_user prints, in a process of the user cinder."""
    return json.loads(subprocess.run(
        ['unshare', '--mount', sys.executable, '-m', 'tests.lab.unprivileged',
         str(conf_path), str(vg.lvm_conf), 'benchmarks.privileges'],
        stdout=subprocess.PIPE, check=True).stdout)


def measure_as_user(conf_path: str) -> None:
    """Print the seconds of several runs for each way to become root, as JSON.
    """
    cfg.CONF(['--config-file', conf_path], project='cinder')
    helper = utils.get_root_helper()
    priv_context.init(root_helper=shlex.split(helper))
    os_brick.setup(cfg.CONF)
    through_daemon = executor.Executor(helper)

    def by_daemon() -> float:
        return measure.seconds(lambda: through_daemon._execute(
            *COMMAND, root_helper=helper, run_as_root=True))

    def by_sudo() -> float:
        return measure.seconds(lambda: processutils.execute(
            *COMMAND, root_helper=helper, run_as_root=True))
    first = by_daemon()
    print(json.dumps({'daemon, which it starts': [first], **measure.turns(
        ROUNDS, **{'daemon': by_daemon, 'sudo and rootwrap': by_sudo})}))


if __name__ == '__main__':
    signals.unwind_when_stopped()
    if sys.argv[1:]:
        measure_as_user(*sys.argv[1:])
    else:
        main()
