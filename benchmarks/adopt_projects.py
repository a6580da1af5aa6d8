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

"""Measures adoption into a project: managed there, or transferred to it.

`python -m benchmarks.adopt_projects [LVS]`, as root, from the top of the
checkout, with a real Keystone. Adopts that many LVs with `openstack volume
adoption` and undoes it, three times: into the operator's own project; into
another project in which the operator is an administrator, so that they are
managed in it; and into one in which the operator is a member only, so that
they are transferred. Then a script does the same with a tenth of the LVs, one
after another: it manages, waits, and, for another project, transfers. Prints
the seconds for each LV.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import pathlib
import sys
import tempfile
import time
from typing import NamedTuple

from cinderclient import client as cinderclient  # type: ignore[import-untyped]
from keystoneauth1 import session
from keystoneauth1.identity import v3

from benchmarks import measure
from tests.lab import keystone
from tests.lab import signals
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.openstack_client import OpenStackClient
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.volume_api import wait_for_pools

LVS = 60
HOST = 'lab@lvm#lvm'
# The project in which the operator is an administrator, and the one in which
# the operator is a member only.
ADMIN, MEMBER = 'web', 'shop'


class Lab(NamedTuple):
    """A Keystone, and a Cinder on a volume group."""

    identity: keystone.Keystone
    cinder: CinderDeployment
    group: ScratchVolumeGroup
    projects: dict[str, str]


def main(lvs: int) -> None:
    """Print a line for each way, and a table."""
    with (tempfile.TemporaryDirectory() as name, _lab(name, lvs) as lab):
        rows = []
        for what, project in (('own project', ''),
                              ('another project, managed in it', ADMIN),
                              ('another project, transferred', MEMBER)):
            adopted, undone = _by_plan(lab, pathlib.Path(name), project)
            count = max(1, lvs // 10)
            by_script = _one_after_another(
                lab, sorted(lab.group.names())[:count], project)
            rows.append({
                'into': what, 'seconds per LV': round(adopted / lvs, 2),
                'one after another': round(by_script / count, 2),
                'ratio': round(adopted / lvs / (by_script / count), 2),
                'undo': round(undone / lvs, 2)})
            print(rows[-1], flush=True)
    measure.publish('adopt_projects', f'Adopting {lvs} LVs into a project',
                    rows)


@contextlib.contextmanager
def _lab(name: str, lvs: int) -> Iterator[Lab]:
    folder = pathlib.Path(name)
    with (ScratchVolumeGroup('many') as group,
          keystone.running(folder, f'sqlite:///{folder}/keystone.sqlite'
                           ) as identity):
        group.populate(lvs)
        with CinderDeployment(
                Backend(group, {'lvm_manage_without_device_mapper': 'true'}),
                default_options={'auth_strategy': 'keystone'},
                sections={'keystone_authtoken': identity.conf()}) as cinder:
            url = cinder.url.rpartition('/')[0]
            wait_for_pools(lambda: identity.admin.get(
                f'{url}/scheduler-stats/get_pools').json(), 1)
            identity.offer('block-storage', 'cinder', url)
            projects = {project: identity.make('project', name=project)
                        for project in (ADMIN, MEMBER)}
            admin = str(identity.admin.get_user_id())
            for project, role in ((ADMIN, 'admin'), (MEMBER, 'member')):
                identity.grant(role, admin, projects[project])
            yield Lab(identity, cinder, group, projects)


def _by_plan(lab: Lab, folder: pathlib.Path,
             project: str) -> tuple[float, float]:
    """Return the seconds to apply a plan for all LVs, and to undo it."""
    client = OpenStackClient(lab.cinder.url, lab.identity.credentials)
    plan = folder / f'{project}.yaml'
    before = lab.group.names()
    options = ('--project', project) if project else ()
    _run(client, 'plan', '--host', HOST, *options, '--output', plan)
    applied = _run(client, 'apply', plan)
    undone = _run(client, 'undo', f'{plan}.journal')
    if lab.group.names() != before:
        raise SystemExit('the LVs do not have their names again')
    return applied, undone


def _run(client: OpenStackClient, *arguments: object) -> float:
    started = time.monotonic()
    done = client.run('volume', 'adoption', *arguments)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.monotonic() - started


def _client(lab: Lab, project: str) -> cinderclient.Client:
    return cinderclient.Client('3.70', session=session.Session(v3.Password(
        lab.identity.url, username='admin', password=keystone.PASSWORD,
        project_name=project or 'admin', user_domain_id='default',
        project_domain_id='default')), region_name=keystone.REGION)


def _one_after_another(lab: Lab, lvs: list[str], project: str) -> float:
    """Return the seconds that a script needs to manage these LVs.

    Where the operator is an administrator in the project, the script manages
    the LVs there, with a token for that project.
    """
    own = _client(lab, project if project == ADMIN else '')
    receiver = _client(lab, project) if project == MEMBER else None
    started = time.monotonic()
    volumes = []
    for name in lvs:
        volume = own.volumes.manage(HOST, {'source-name': name})
        volumes.append(volume)
        while own.volumes.get(volume.id).status != 'available':
            time.sleep(0.2)
        if receiver:
            transfer = own.transfers.create(volume.id)
            receiver.transfers.accept(transfer.id, transfer.auth_key)
    seconds = time.monotonic() - started
    admin = _client(lab, '')
    for volume in volumes:
        admin.volumes.unmanage(volume.id)
    while admin.volumes.list(search_opts={'all_tenants': 1}):
        time.sleep(0.2)
    return seconds


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main(int(sys.argv[1]) if sys.argv[1:] else LVS)
