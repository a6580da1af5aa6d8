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

"""What the command line clients can do with this driver.

`python -m tests.shows.clients`, as root, runs the commands of
doc/source/clients.rst against a cloud with Keystone, and prints the output and
the exit status of each.
"""

from __future__ import annotations

from importlib import metadata
import json
import os
import pathlib
import shlex
import subprocess
import tempfile

from tests.lab import cloud
from tests.lab import polling
from tests.lab import signals
from tests.lab import zoo
from tests.lab.service_conf import OURS
from tests.lab.service_conf import SCRIPTS

_PACKAGES = ('python-cinderclient', 'python-openstackclient', 'openstacksdk',
             'cinder', 'keystone')

# Both clients manage the same LVs: web with its snapshot web-friday, and db.
# {db} is the UUID of db, and {host} the backend.
_OPENSTACK = (
    'block storage volume manageable list {host}',
    'block storage volume manageable list --long {host}',
    'block storage volume manageable list --sort size:desc {host}',
    'block storage volume manageable list --offset 1 {host}',
    'block storage volume manageable list --limit 1 {host}',
    "block storage volume manageable list --marker '{marker}' {host}",
    'volume create --host {host} --remote-source source-name=web web',
    ('volume create --non-bootable --host {host} '
     '--remote-source source-name=web web'),
    ('volume create --bootable --host {host} '
     '--remote-source source-id={db} db'),
    'block storage snapshot manageable list {host}',
    'block storage snapshot manageable list --long {host}',
    'block storage snapshot manageable list --limit 1 {host}',
    ('volume snapshot create --volume web '
     '--remote-source source-name=web-friday friday'),
    'volume snapshot delete --remote friday',
    'volume delete --remote web db',
)
_CINDER = (
    'manageable-list {host}',
    'manageable-list --detailed True {host}',
    'manageable-list --detailed False {host}',
    'manageable-list --sort size:desc {host}',
    'manageable-list --limit 1 {host}',
    'manageable-list --limit 1 --offset 1 {host}',
    "manageable-list --marker '{marker}' {host}",
    'manage --name web {host} web',
    'manage --id-type source-id --name db {host} {db}',
    'snapshot-manageable-list {host}',
    'snapshot-manageable-list --limit 1 {host}',
    'snapshot-manage --name friday web web-friday',
    'snapshot-unmanage friday',
    'unmanage web',
    'unmanage db',
)


def main() -> None:
    """Run the commands of one client, then those of the other."""
    print(', '.join(f'{name} {metadata.version(name)}' for name in _PACKAGES))
    with (tempfile.TemporaryDirectory() as folder,
          cloud.two_hosts(pathlib.Path(folder), OURS) as tested):
        group = tested.groups[0]
        group.restore(zoo.origin_with_snapshot('web', 'web-friday'))
        group.create('db', '1g')
        words = {'host': shlex.quote(tested.pools[0]),
                 'db': group.names()['db'],
                 'marker': json.dumps({'source-name': 'db'})}
        before = group.names()
        for client, commands in (('openstack --os-volume-api-version 3.8',
                                  _OPENSTACK),
                                 ('cinder --os-volume-api-version 3.8',
                                  _CINDER)):
            for command in commands:
                _run(tested, f'{client} {command}', words)
            print('The LVs have their old names again.'
                  if group.names() == before else group.names())


def _run(tested: cloud.Cloud, command: str, words: dict[str, str]) -> None:
    line = command.format_map(words)
    done = subprocess.run(
        [str(SCRIPTS / shlex.split(line)[0]), *shlex.split(line)[1:]],
        env={**os.environ, **tested.identity.credentials,
             'PYTHONWARNINGS': 'ignore'},
        capture_output=True, text=True, check=False)
    print(f'\n$ {line}\n{done.stdout}{done.stderr}'
          f'exit status {done.returncode}', flush=True)
    _wait(tested)


def _wait(tested: cloud.Cloud) -> None:
    """Return when no volume and no snapshot changes its status any more."""
    admin = tested.identity.admin

    def statuses() -> set[str]:
        return {
            resource['status'] for kind in ('volumes', 'snapshots')
            for resource in admin.get(
                f'{tested.cinder_url}/{kind}/detail').json()[kind]}

    polling.wait_for('status available or error of all volumes and snapshots',
                     statuses, lambda found: found <= {'available', 'error'})


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main()
