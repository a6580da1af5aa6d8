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

"""Measures adopting many LVs at once, and managing one after another.

`python -m benchmarks.adopt_many [LVS]`, as root, from the top of the checkout.
Adopts that many LVs with `openstack volume adoption`, kills the command in the
middle, resumes it, and undoes it all; then manages and unmanages a tenth of
the LVs with python-cinderclient, one after another, waiting for each. Prints
the seconds that each way takes, their ratios, and whether all LVs have their
old names afterwards.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile
import time

from cinderclient import client as cinderclient  # type: ignore[import-untyped]
from cinderclient import exceptions
from cinderclient.contrib import noauth  # type: ignore[import-untyped]
from keystoneauth1 import session

from benchmarks import measure
from tests.lab import signals
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.openstack_client import OpenStackClient
from tests.lab.scratch import ScratchVolumeGroup

LVS = 200
PARALLEL = 8
HOST = 'lab@lvm#lvm'


def main(lvs: int) -> None:
    """Print a line for each step."""
    with (tempfile.TemporaryDirectory() as folder,
          ScratchVolumeGroup('many') as group):
        group.populate(lvs)
        before = group.names()
        with CinderDeployment(Backend(group, {
                'lvm_manage_without_device_mapper': 'true'})) as cinder:
            plan = pathlib.Path(folder, 'plan.yaml')
            client = OpenStackClient(cinder.url)
            _run(client, 'plan', '--host', HOST, '--output', plan)
            started = time.monotonic()
            _kill_after(client, lvs // 2, plan)
            at_kill = time.monotonic() - started
            managed = sum(name not in before for name in group.names())
            print(f'killed after {at_kill:.0f} s: {managed} of {lvs} adopted '
                  'or started', flush=True)
            applied = at_kill + _run(client, 'apply', plan, '--parallel',
                                     PARALLEL)
            print(f'all {lvs} adopted: '
                  f'{not set(before) & set(group.names())}', flush=True)
            undone = _run(client, 'undo', f'{plan}.journal', '--parallel',
                          PARALLEL)
            print(f'names as before: {group.names() == before}', flush=True)
            count = max(1, lvs // 10)
            managing, unmanaging = _one_after_another(
                cinder, sorted(before)[:count])
            print(f'names as before: {group.names() == before}', flush=True)
    measure.publish('adopt_many', f'Adopting {lvs} LVs by the client', [
        {'what': what, 'seconds per LV': round(ours / lvs, 2),
         'one after another': round(theirs / count, 2),
         'ratio': round(ours / lvs / (theirs / count), 2)}
        for what, ours, theirs in (('manage', applied, managing),
                                   ('unmanage', undone, unmanaging))])


def _run(client: OpenStackClient, *arguments: object) -> float:
    started = time.monotonic()
    done = client.run('volume', 'adoption', *arguments)
    if done.returncode:
        raise SystemExit(done.stderr)
    print(done.stdout.splitlines()[-1], flush=True)
    return time.monotonic() - started


def _kill_after(client: OpenStackClient, count: int,
                plan: pathlib.Path) -> None:
    with client.running('volume', 'adoption', 'apply', plan, '--parallel',
                        PARALLEL, until=count) as process:
        process.kill()


def _one_after_another(cinder: CinderDeployment, lvs: list[str]
                       ) -> tuple[float, float]:
    """Return the seconds to manage and to unmanage these LVs by a script."""
    url, _, project = cinder.url.rpartition('/')
    auth = noauth.CinderNoAuthPlugin('admin', project, endpoint=url)
    api = cinderclient.Client('3.70', session=session.Session(auth=auth))
    started = time.monotonic()
    volumes = []
    for name in lvs:
        volumes.append(api.volumes.manage(HOST, {'source-name': name}))
        while api.volumes.get(volumes[-1].id).status != 'available':
            time.sleep(0.2)
    managed = time.monotonic() - started
    started = time.monotonic()
    for volume in volumes:
        api.volumes.unmanage(volume.id)
        try:
            while api.volumes.get(volume.id):
                time.sleep(0.2)
        except exceptions.NotFound:
            continue
    return managed, time.monotonic() - started


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main(int(sys.argv[1]) if sys.argv[1:] else LVS)
