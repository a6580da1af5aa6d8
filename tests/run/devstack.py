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

"""Runs an unmodified DevStack with this repository's plugin, in a container.

Run `python -m tests.run.devstack FOLDER` as root from the top of the checkout,
with GIT_BASE set. It runs stack.sh, adopts LVs by plan and by API, and runs
Tempest. Then it runs unstack.sh, stack.sh again, unstack.sh and clean.sh. It
fails if one of these fails, or if storage that DevStack created is left. The
logs are kept.

The plugin is the last commit of the checkout, from a bare clone. The container
has no device-mapper. LVs are metadata there: they can be listed, managed and
unmanaged, but not exported, snapshotted or cleared. Thin pools do not work.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any

from tests.lab import polling
from tests.lab import signals
from tests.run import container
from tests.run.container import Container

RELEASE = 'bookworm'
_REPOSITORIES = ('cinder', 'devstack', 'keystone', 'requirements', 'tempest')
# The paths in the container of a folder GIT_BASE, and of the plugin.
_GIT_BASE = '/git'
_PLUGIN = 'cinder-lvm-manage'
_STACK = '/opt/stack'
_DEVSTACK = f'{_STACK}/devstack'
_BACKENDS = ('first', 'second')
_IN_TREE = 'in-tree'
_EXTENT = 4 * 1024 ** 2
_TEMPEST_TESTS = 'manage|cinder_lvm_manage_tempest_plugin'

# Without device-mapper, volumes cannot be cleared, snapshotted or exported;
# and CINDER_LVM_TYPE=auto, the default, makes thin pools.
# Tempest's master needs the constraints of master in every release.
_LOCAL_CONF = """[[local|localrc]]
HOST_IP=127.0.0.1
SERVICE_HOST=127.0.0.1
SERVICE_LISTEN_ADDRESS=127.0.0.1
ADMIN_PASSWORD=secret
DATABASE_PASSWORD=secret
RABBIT_PASSWORD=secret
SERVICE_PASSWORD=secret
GIT_BASE={git_base}
IP_VERSION=4
SERVICE_IP_VERSION=4
ENABLED_SERVICES=mysql,rabbit,key,c-sch,c-api,c-vol,tempest
DOWNLOAD_DEFAULT_IMAGES=False
IMAGE_URLS=
ENABLE_KSM=False
ENABLE_KSMTUNED=False
API_WORKERS=2
TEMPEST_VENV_UPPER_CONSTRAINTS={constraints}/upper-constraints.txt
CINDER_VOLUME_CLEAR=none
CINDER_LVM_TYPE=default
TEMPEST_VOLUME_MANAGE_SNAPSHOT=False
LOGFILE=/opt/stack/logs/stack.sh.log
{settings}

enable_plugin cinder-lvm-manage file://{plugin} main
CINDER_ENABLED_BACKENDS=lvm_manage:first,lvm_manage:second,lvm:in-tree

[[post-config|$CINDER_CONF]]
[first]
lvm_manage_without_device_mapper = True
target_helper = fake
[second]
lvm_manage_without_device_mapper = True
target_helper = fake
[in-tree]
target_helper = fake

[[test-config|$TEMPEST_CONFIG]]
[volume-feature-enabled]
snapshot = False
[lvm_manage]
backend_host = {host}@first
"""
_CONSTRAINTS = f'{_STACK}/requirements-of-master'

# LVM sees no device before DevStack has attached its backing files. The loop
# devices are those of the host, which other programs use too.
_LVMLOCAL_CONF = """global {
    activation = 0
}
devices {
    filter = [ "r|.*|" ]
    use_devicesfile = 0
    hints = "none"
    obtain_device_list_from_udev = 0
    external_device_info_source = "none"
}
activation {
    monitoring = 0
    udev_sync = 0
    udev_rules = 0
}
backup {
    backup = 0
    archive = 0
}
"""
_FILTER = """#!/bin/sh
accepted=
for file in /opt/stack/data/stack-volumes-*-backing-file; do
    device=$(losetup --noheadings --output NAME --associated "$file")
    [ -z "$device" ] || accepted="$accepted \\"a|^$device\\$|\\","
done
sed -i "s#^    filter = .*#    filter = [$accepted \\"r|.*|\\" ]#" \\
    /etc/lvm/lvmlocal.conf
"""
# systemd applies it to the units of all backing files.
_FILTER_UNIT = """[Service]
ExecStartPost=/usr/local/sbin/accept-backing-files
ExecStopPost=/usr/local/sbin/accept-backing-files
"""


class DevStack:
    """DevStack in a container.

    :ivar machine: the container
    """

    def __init__(self, machine: Container, logs: pathlib.Path) -> None:
        self.machine = machine
        self._logs = logs

    def script(self, name: str, line: str) -> None:
        """Run a shell line as the user stack in DevStack's folder.

        :param name: of its log
        :raises RuntimeError: it failed
        """
        log = self._logs / f'{name}.log'
        with log.open('w') as file, container.timed(line):
            done = subprocess.run(
                self.machine.command('bash', '-c', line, user='stack',
                                     folder=_DEVSTACK),
                stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise RuntimeError(f'`{line}` exited with {done.returncode}; the '
                               f'end of {log}:\n{self.log_end(name, 40)}')

    def log_end(self, name: str, lines: int) -> str:
        """Return the last lines that a script has printed."""
        text = (self._logs / f'{name}.log').read_text(errors='replace')
        return '\n'.join(text.splitlines()[-lines:])

    def root(self, *command: str) -> str:
        """Return what a command of root prints."""
        return self.machine.output(*command)

    def openstack(self, line: str) -> str:
        """Return what `openstack LINE` prints, for the administrator."""
        print(f'$ openstack {line}')
        return self.machine.output(
            'bash', '-c', 'source openrc admin admin >/dev/null 2>&1; '
            f'export OS_CLOUD=devstack-admin; openstack {line}',
            user='stack', folder=_DEVSTACK)

    def api(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of Cinder's API to a POST request."""
        token = self.openstack('token issue -f value -c id').strip()
        print(f'POST /volume/v3/{path} {json.dumps(body)}')
        answer = self.root(
            'curl', '--silent', '--show-error', '--fail-with-body',
            f'http://127.0.0.1/volume/v3/{path}', '--json', json.dumps(body),
            '--header', f'X-Auth-Token: {token}',
            '--header', 'OpenStack-API-Version: volume 3.8')
        return dict(json.loads(answer)) if answer else {}

    def volumes(self) -> dict[str, str]:
        """Return the status of each volume by its ID."""
        listed = self.openstack('volume list --all-projects -f json')
        return {each['ID']: each['Status'] for each in json.loads(listed)}

    def lvs(self, backend: str) -> dict[str, str]:
        """Return the name of each LV of a backend by its UUID."""
        report = json.loads(self.root(
            'lvs', '--reportformat', 'json', '--options', 'lv_uuid,lv_name',
            f'stack-volumes-{backend}'))
        return {row['lv_uuid']: row['lv_name']
                for row in report['report'][0]['lv']}

    def create_lv(self, backend: str, name: str, extents: int) -> str:
        """Create an LV, and return the checksum of data written to it."""
        self.root('lvcreate', '--yes', '--wipesignatures', 'n', '--zero', 'n',
                  '--name', name, '--extents', str(extents),
                  f'stack-volumes-{backend}')
        print(f'lvcreate --name {name} --extents {extents} '
              f'stack-volumes-{backend}')
        data = os.urandom(_EXTENT)
        with self._data(backend, name) as file:
            file.write(data)
        return hashlib.sha256(data).hexdigest()

    def checksum(self, backend: str, name: str) -> str:
        """Return the checksum of the first extent of an LV."""
        with self._data(backend, name) as file:
            return hashlib.sha256(file.read(_EXTENT)).hexdigest()

    @contextlib.contextmanager
    def _data(self, backend: str, name: str) -> Iterator[Any]:
        """Open the backing file where the data of a linear LV is."""
        group = f'stack-volumes-{backend}'
        start = self.root('pvs', '--noheadings', '--units', 'b', '--nosuffix',
                          '--options', 'pe_start', '--select',
                          f'vg_name={group}')
        ranges = self.root('lvs', '--noheadings', '--options', 'seg_pe_ranges',
                           f'{group}/{name}')
        first, = re.findall(r':(\d+)-', ranges)
        offset = int(start) + _EXTENT * int(first)
        backing = self.machine.root / f'opt/stack/data/{group}-backing-file'
        # The loop device bypasses the page cache.
        with backing.open('r+b') as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(offset)
            yield file
            file.flush()
            os.fsync(file.fileno())

    def left(self) -> dict[str, list[str]]:
        """Return what is left of DevStack, by kind."""
        return {
            'volume groups': self.root(
                'vgs', '--noheadings', '--options', 'vg_name').split(),
            'loop devices': container.loop_devices(self.machine.root),
            'units': sorted(
                path.name for pattern in ('devstack@*.service',
                                          'stack-volumes-*.service')
                for path in (self.machine.root / 'etc/systemd/system'
                             ).glob(pattern)),
            'listening': sorted({line.split()[3] for line in self.root(
                'ss', '--no-header', '--listening', '--tcp', '--numeric'
                ).splitlines()}),
            'lvm.conf': re.findall('.*# from devstack', self.root(
                'cat', '/etc/lvm/lvm.conf')),
            '/opt/stack': self.root('ls', '-A', _STACK).split(),
            # pip's and Git's own files are in the folders of clones.
            'names with lvm_manage or volume_adopt elsewhere': self.root(
                'find', '/', '-xdev', '-path', '/var/cache', '-prune', '-o',
                '-path', f'{_STACK}/cinder-lvm-manage', '-prune', '-o',
                '-path', '/plugin', '-prune', '-o',
                '-regex', r'.*\(lvm.manage\|volume.adopt\)[^/]*', '-print'
                ).split(),
        }


def main(*arguments: str) -> int:
    """Run everything; return 0, or 1 if something failed."""
    options = _parse(arguments)
    try:
        container.check_host()
        with container.timed('Everything'):
            _run(options.folder, options.git_base, options.branch,
                 options.set)
    except (RuntimeError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _run(folder: pathlib.Path, git_base: str | None, branch: str,
         settings: Sequence[str]) -> None:
    address, binds = git_base_in_container(git_base)
    logs = folder / 'logs'
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    print(f'Logs: {logs}')
    container.clone_checkout(folder / 'plugin' / _PLUGIN)
    with contextlib.ExitStack() as stack:
        with container.timed(f'a root file system with Debian {RELEASE}'):
            root = stack.enter_context(
                container.unpacked(RELEASE, folder, ['lvm2']))
        prepare(root)
        with container.timed('the boot of the container'):
            machine = stack.enter_context(container.booted(
                root, logs / 'container.log',
                {folder / 'plugin': '/plugin', **binds}))
        hide_read_only_file(machine, '/sys/kernel/mm/ksm/run')
        clone(machine, address, branch)
        (root / _DEVSTACK.lstrip('/') / 'local.conf').write_text(
            _LOCAL_CONF.format(
                git_base=address, plugin=f'/plugin/{_PLUGIN}',
                constraints=_CONSTRAINTS,
                host=machine.output('hostname').strip(),
                settings='\n'.join(settings)))
        devstack = DevStack(machine, logs)
        _stack_and_use(devstack)
        _unstack(devstack)
        devstack.script('stack-again', './stack.sh')
        _adopt_by_plan(devstack)
        container.print_disk_use(root)
        _unstack(devstack)
        devstack.script('clean', './clean.sh')
        check_left('clean.sh', devstack.left(), ('units',))


def _parse(arguments: tuple[str, ...]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m tests.run.devstack')
    parser.add_argument(
        'folder', type=lambda name: pathlib.Path(name).absolute(),
        help='for the root file system, caches and logs')
    parser.add_argument(
        '--git-base', default=os.environ.get('GIT_BASE'), metavar='BASE',
        help='the URL or the folder that has openstack/devstack, and '
             'openstack/NAME of what DevStack clones; by default $GIT_BASE')
    parser.add_argument(
        '--branch', default='master',
        help="DevStack's branch, such as stable/2026.1; by default master")
    parser.add_argument(
        '--set', action='append', default=[], metavar='NAME=VALUE',
        help='a setting of DevStack, such as GIT_DEPTH=1')
    return parser.parse_args(arguments)


def git_base_in_container(
        git_base: str | None) -> tuple[str, dict[pathlib.Path, str]]:
    """Return GIT_BASE in the container, and the folders that it needs.

    :raises RuntimeError: it cannot be used
    """
    if not git_base:
        raise RuntimeError(
            'GIT_BASE is not set. Set it to where the repositories of '
            'OpenStack are: the URL of their host, such as '
            'https://opendev.org, or a folder with bare clones of '
            + ', '.join(f'openstack/{name}.git' for name in _REPOSITORIES))
    if '://' in git_base:
        return git_base.rstrip('/'), {}
    folder = pathlib.Path(git_base).resolve()
    missing = [f'openstack/{name}.git' for name in _REPOSITORIES
               if not (folder / f'openstack/{name}.git' / 'HEAD').exists()]
    if missing:
        raise RuntimeError(f"GIT_BASE={git_base} has no {', '.join(missing)}. "
                         'Make a bare clone of each that is missing')
    return f'file://{_GIT_BASE}', {folder: _GIT_BASE}


def prepare(root: pathlib.Path) -> None:
    """Create the user stack, and let LVM see only DevStack's loop devices."""
    units = root / 'etc/systemd/system/stack-volumes-.service.d'
    for path, text, mode in (
            (root / 'etc/lvm/lvmlocal.conf', _LVMLOCAL_CONF, 0o644),
            (root / 'usr/local/sbin/accept-backing-files', _FILTER, 0o755),
            (units / 'accept.conf', _FILTER_UNIT, 0o644),
            (root / 'etc/sudoers.d/stack',
             'stack ALL=(ALL) NOPASSWD: ALL\n', 0o440)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    subprocess.run(['chroot', root, 'useradd', '--shell', '/bin/bash',
                    '--home-dir', _STACK, '--create-home', 'stack'],
                   check=True)
    # Apache reads Keystone's and Cinder's files there.
    (root / _STACK.lstrip('/')).chmod(0o755)


def hide_read_only_file(machine: Container, name: str) -> None:
    """Replace a file, if it exists, by one that any program can write to.

    Stable branches of DevStack end when they cannot write to a file in /sys.
    """
    machine.output(
        'sh', '-c', f'[ ! -e {name} ] || mount --bind /dev/null {name}')


def clone(machine: Container, git_base: str, branch: str) -> None:
    """Clone DevStack and the constraints for Tempest."""
    for name, of_branch, folder in (
            ('devstack', branch, _DEVSTACK),
            ('requirements', 'master', _CONSTRAINTS)):
        machine.output(
            'git', 'clone', '--quiet', '--depth', '1', '--branch', of_branch,
            f'{git_base}/openstack/{name}.git', folder, user='stack')
    print('DevStack:', machine.output(
        'git', '-C', _DEVSTACK, 'log', '--max-count=1',
        '--format=%h of %cs, %s').strip(), f'({branch})')


def _stack_and_use(devstack: DevStack) -> None:
    devstack.script('stack', './stack.sh')
    print(devstack.log_end('stack', 12))
    print(devstack.root('/opt/stack/data/venv/bin/pip', 'list', '--editable'))
    print(devstack.openstack('volume service list'))
    states = json.loads(devstack.openstack('volume service list -f json'))
    _expect('services that are down',
            [each for each in states if each['State'] != 'up'], [])
    # stack.sh goes on when it could not create one.
    _expect('volume groups', sorted(devstack.left()['volume groups']),
            sorted(f'stack-volumes-{backend}'
                   for backend in (*_BACKENDS, _IN_TREE)))
    _adopt_by_plan(devstack)
    for backend in _BACKENDS:
        _adopt_by_api(devstack, backend)
    _create_in_tree(devstack)
    devstack.script(
        'tempest', f'cd {_STACK}/tempest && .tox/tempest/bin/tempest run '
        f"--concurrency 2 --regex '{_TEMPEST_TESTS}'")
    check_totals(devstack.log_end('tempest', 20))
    for backend in (*_BACKENDS, _IN_TREE):
        _expect(f'LVs of {backend} after Tempest', devstack.lvs(backend), {})
    _expect('volumes after Tempest', devstack.volumes(), {})


def _adopt_by_plan(devstack: DevStack) -> None:
    """Adopt two LVs with a plan, undo that, and remove the LVs."""
    names = {'disk': 256, 'odd-disk': 300}
    checksums = {name: devstack.create_lv('first', name, extents)
                 for name, extents in names.items()}
    before = devstack.lvs('first')
    pool = '"$(hostname)@first#first"'
    print(devstack.openstack(f'volume adoption list --host {pool}'))
    print(devstack.openstack(f"volume adoption plan --host {pool} --match "
                             "'*disk' --output ~/plan.yaml"))
    print(devstack.openstack('volume adoption apply ~/plan.yaml'))
    volumes = devstack.volumes()
    _expect('the status of two volumes', sorted(volumes.values()),
            ['available', 'available'])
    _expect('the names of their LVs',
            {uuid: name.removeprefix('volume-') in volumes
             for uuid, name in devstack.lvs('first').items()},
            dict.fromkeys(before, True))
    print(devstack.openstack('volume adoption undo ~/plan.yaml.journal'))
    _expect('the names after the undo', devstack.lvs('first'), before)
    _expect('the data after the undo',
            {name: devstack.checksum('first', name) for name in names},
            checksums)
    _expect('volumes after the undo', devstack.volumes(), {})
    devstack.root('rm', f'{_STACK}/plan.yaml', f'{_STACK}/plan.yaml.journal')
    devstack.root('lvremove', '--yes', 'stack-volumes-first')


def _adopt_by_api(devstack: DevStack, backend: str) -> None:
    """Manage and unmanage an LV by its UUID, and remove it."""
    checksum = devstack.create_lv(backend, 'db01', 256)
    (uuid, _), = devstack.lvs(backend).items()
    host = devstack.root('hostname').strip()
    volume = devstack.api('manageable_volumes', {'volume': {
        'host': f'{host}@{backend}#{backend}', 'ref': {'source-id': uuid},
        'name': 'db01', 'volume_type': backend}})['volume']['id']
    status = polling.wait_for(
        'the end of manage', lambda: devstack.volumes()[volume],
        lambda found: found not in ('creating', 'managing'))
    _expect('the status', status, 'available')
    _expect('the LV', devstack.lvs(backend), {uuid: f'volume-{volume}'})
    devstack.api(f'volumes/{volume}/action', {'os-unmanage': {}})
    polling.wait_for('the end of unmanage', devstack.volumes,
                     lambda found: volume not in found)
    _expect('the LV', devstack.lvs(backend), {uuid: 'db01'})
    _expect('its data', devstack.checksum(backend, 'db01'), checksum)
    devstack.root('lvremove', '--yes', f'stack-volumes-{backend}')


def _create_in_tree(devstack: DevStack) -> None:
    """Create and delete a volume on the other backend, of type lvm."""
    # `openstack volume create` looks for Glance.
    volume = devstack.api('volumes', {'volume': {
        'size': 1, 'volume_type': _IN_TREE}})['volume']['id']
    _expect('its status', polling.wait_for(
        'the end of create', lambda: devstack.volumes()[volume],
        lambda found: found != 'creating'), 'available')
    devstack.openstack(f'volume delete {volume}')
    polling.wait_for('the end of delete', devstack.volumes,
                     lambda found: volume not in found)


def check_totals(printed: str) -> None:
    """Print the totals of a run of Tempest that has succeeded.

    :raises RuntimeError: no test has passed
    """
    totals = printed.partition('Totals')[2]
    print(totals)
    passed = re.search(r'Passed: *(\d+)', totals)
    if passed is None or passed[1] == '0':
        raise RuntimeError('Tempest has run no test')


def _unstack(devstack: DevStack) -> None:
    devstack.script('unstack', './unstack.sh')
    check_left('unstack.sh', devstack.left(), ())


def check_left(script: str, left: dict[str, list[str]],
                also: tuple[str, ...]) -> None:
    """Print what a script has left, and check that no storage is left.

    :param also: other kinds that must not be left
    :raises RuntimeError: something is left that must not be
    """
    print(f'{script} left:')
    for kind, found in left.items():
        print(f"    {kind}: {' '.join(found) or 'nothing'}")
    for kind in ('volume groups', 'loop devices', 'lvm.conf', *also):
        _expect(f'{kind} after {script}', left[kind], [])


def _expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise RuntimeError(f'{what}: {found!r} and not {wanted!r}')


if __name__ == '__main__':
    signals.unwind_when_stopped()
    sys.exit(main(*sys.argv[1:]))
