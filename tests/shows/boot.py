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

"""Servers of Nova boot from disks of other hypervisors that Cinder adopted.

`python -m tests.shows.boot FOLDER`, as root; needs device-mapper, and disks
of tests.lab.boot_disk in the folder. LVs that look like those of Proxmox VE
have a boot loader, a kernel and a root file system: one for BIOS and one for
UEFI, both thick, and a thin linked clone of a template.
They are adopted by a plan. A server of Nova boots from each over iSCSI and
writes to its disk. Then the servers are deleted, the LVs released, and their
names and data compared with what is expected.

It prints the commands, their output, and how long each step takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

from oslo_utils import units
import tenacity

from tests.lab import boot_disk
from tests.lab import compute
from tests.lab import keystone
from tests.lab import polling
from tests.lab import service_conf
from tests.lab import signals
from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.keystone import Keystone
from tests.lab.scratch import ScratchVolumeGroup
from tests.lab.service_conf import SCRIPTS
from tests.lab.terminal import Terminal
from tests.lab.volume_api import wait_for_pools

BIOS, UEFI, TEMPLATE, CLONE = DISKS = (
    'vm-101-disk-0', 'vm-102-disk-0', 'base-200-disk-0', 'vm-201-disk-0')
# What the operator runs, before, for each server, and after.
_ADOPT = (
    'lvs -o lv_name,lv_attr,lv_size,origin,lv_tags thick thin',
    ('openstack volume adoption list --host lab@thick#thick '
     '--host lab@thin#thin -c Name -c Size -c Safe -c Owner -c Contents '
     '-c Layout'),
    ('openstack volume adoption show --host lab@thin#thin vm-201-disk-0 '
     "-c Size -c Layout -c Safe -c 'If Managed'"),
    ('openstack volume adoption plan --host lab@thick#thick '
     "--host lab@thin#thin --match 'vm-*' --bootable --output plan.yaml"),
    'cat plan.yaml',
    'openstack volume adoption apply plan.yaml',
    'openstack volume list -c Name -c Status -c Size',
    'openstack flavor create --ram 256 --vcpus 1 --disk 0 small -c name',
)
_START = (
    'openstack --os-compute-api-version 2.37 server create --flavor small '
    '--volume {disk} --nic none --wait {disk} -c name -c status')
_CONSOLE = 'openstack console log show {disk}'
_DELETE = 'openstack server delete {disk} --wait'
_RELEASE = (
    'openstack volume adoption undo plan.yaml.journal',
    'lvs -o lv_name,lv_attr,lv_size,origin,lv_tags thick thin',
)
_FIRMWARE = {BIOS: 'bios', UEFI: 'uefi', CLONE: 'bios'}
_SECONDS = 1800
_COLUMNS = 100
# A question takes a second in a guest kernel.
_PAUSE = tenacity.wait_fixed(3)


class Shell:
    """Runs commands and prints them with their output and duration."""

    def __init__(self, folder: pathlib.Path,
                 environment: dict[str, str]) -> None:
        """Describe where the commands run."""
        self._folder = folder
        self._environment = {
            **os.environ, **environment, 'PYTHONWARNINGS': 'ignore',
            'COLUMNS': str(_COLUMNS),
            'PATH': f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}

    def run(self, command: str) -> str:
        """Run a command; return its output.

        :raises SystemExit: it failed
        """
        print(f'\n$ {command}', flush=True)
        start = time.monotonic()
        done = subprocess.run(['bash', '-c', command], cwd=self._folder,
                              env=self._environment, text=True, check=False,
                              # A guest's console is a terminal without input,
                              # on which `undo` would wait for an answer.
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        print(done.stdout.rstrip())
        print(f'({time.monotonic() - start:.0f} seconds)', flush=True)
        if done.returncode:
            raise SystemExit(f'`{command}`: exit status {done.returncode}')
        return done.stdout

    def draw(self, command: str, name: str) -> None:
        """Draw a picture of a terminal that shows a command's output.

        :param name: of the file
        :raises SystemExit: the command failed
        """
        status, picture, _ = Terminal(
            self._environment, str(self._folder), _COLUMNS).run(command)
        if status:
            raise SystemExit(f'`{command}`: exit status {status}: {picture}')
        self._folder.joinpath(name).write_text(
            picture.abridged(head=4, tail=16).svg(''))


class Show:
    """A cloud with two backends, and the disks in their groups."""

    def __init__(self, groups: dict[str, ScratchVolumeGroup],
                 identity: Keystone, urls: dict[str, str],
                 shell: Shell, images: dict[str, pathlib.Path]) -> None:
        """Describe a cloud.

        :param urls: of the APIs cinder and nova
        :param images: the files that the disks are copies of, by firmware
        """
        self._groups = groups
        self._identity = identity
        self._urls = urls
        self._shell = shell
        self._images = images

    def run(self, disks: Collection[str]) -> None:
        """Adopt the disks, boot servers from them, and release them.

        :param disks: those that a server boots from
        :raises SystemExit: a command failed, or a disk is not as expected
        """
        before = self._names()
        shell = self._shell
        for command in _ADOPT:
            shell.run(command)
        for disk in disks:
            self._boot(disk)
        for command in _RELEASE:
            shell.run(command)
        if self._names() != before:
            raise SystemExit(f'LVs before: {before}, after: {self._names()}')
        for disk in disks:
            self._check(disk, _FIRMWARE[disk])
        template = pathlib.Path('/dev', self._groups['thin'].name, TEMPLATE)
        if template.read_bytes() != self._images['bios'].read_bytes():
            raise SystemExit(f'{template} has changed')

    def _names(self) -> dict[str, dict[str, str]]:
        return {name: group.names() for name, group in self._groups.items()}

    def _boot(self, disk: str) -> None:
        shell = self._shell
        shell.run(_START.format(disk=disk))
        start = time.monotonic()
        line = polling.wait_for(
            'the greeting', lambda: self._greeting(disk),
            lambda text: bool(text), seconds=_SECONDS, pause=_PAUSE)
        print(f'\nConsole of {disk} after {time.monotonic() - start:.0f} '
              f'seconds: {line}', flush=True)
        console = _CONSOLE.format(disk=disk)
        shell.run(f'{console} | tail -n 8')
        shell.draw(console, f'{disk}.svg')
        shell.run(_DELETE.format(disk=disk))
        polling.wait_for('the volume', lambda: self._get(
            'cinder', 'volumes', disk)['status'], 'available'.__eq__,
            seconds=_SECONDS, pause=_PAUSE)

    def _get(self, service: str, kind: str, name: str) -> dict[str, Any]:
        found, = self._identity.admin.get(
            f'{self._urls[service]}/{kind}/detail',
            params={'name': name}).json()[kind]
        return dict(found)

    def _greeting(self, disk: str) -> str:
        """:raises SystemExit: the server is in error"""
        server = self._get('nova', 'servers', disk)
        if server['status'] == 'ERROR':
            raise SystemExit(f"server {disk}: {server['fault']}")
        reply = self._identity.admin.post(
            f"{self._urls['nova']}/servers/{server['id']}/action",
            json={'os-getConsoleOutput': {}}, raise_exc=False)
        found = re.search(f'{boot_disk.GREETING}.*', reply.json().get(
            'output', '')) if reply.ok else None
        return found[0].strip() if found else ''

    def _check(self, disk: str, firmware: str) -> None:
        """Compare a disk with what its server should have left.

        :raises SystemExit: it differs
        """
        group = next(group for group in self._groups.values()
                     if disk in group.names())
        group.lvm('lvchange', '--activate', 'y', '--ignoreactivationskip',
                  f'{group.name}/{disk}')
        device = pathlib.Path('/dev', group.name, disk)
        start = boot_disk.ROOT_START[firmware]
        written = self._shell.run(
            f"debugfs -R 'cat {boot_disk.WRITTEN}' '{device}?offset={start}' "
            '2>/dev/null')
        image = self._images[firmware].read_bytes()
        with device.open('rb') as file:
            loader = file.read(start)
        if written != 'up\n' or loader != image[:start]:
            raise SystemExit(f'{device} is not as expected: {written!r}')


def main() -> None:
    """Print the transcript."""
    parser = argparse.ArgumentParser(
        prog='tests.shows.boot',
        description=(__doc__ or '').partition('\n\n')[0])
    parser.add_argument('disks', type=pathlib.Path,
                        help='folder with the disks of tests.lab.boot_disk')
    parser.add_argument('--only', metavar='DISK', action='append',
                        choices=list(_FIRMWARE),
                        help='boot a server from this disk only (repeat for '
                             f"more); one of {', '.join(_FIRMWARE)}")
    parser.add_argument('--logs', type=pathlib.Path,
                        help="folder for the services' logs, and pictures of "
                             'the consoles; its contents are deleted')
    parser.add_argument('--inside', action='store_true',
                        help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        os.execvp('unshare', [  # noqa: S606
            'unshare', '--mount', sys.executable, '-m', 'tests.shows.boot',
            '--inside', *sys.argv[1:]])
    compute.private_libvirt()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        try:
            _run(folder, boot_disk.images(options.disks),
                 options.only or list(_FIRMWARE))
        finally:
            if options.logs:
                shutil.rmtree(options.logs, ignore_errors=True)
                options.logs.mkdir(parents=True)
                for path in (*folder.glob('*.log'), *folder.glob('*.svg')):
                    shutil.copy(path, options.logs)


def _run(folder: pathlib.Path, images: dict[str, pathlib.Path],
         disks: Collection[str]) -> None:
    start = time.monotonic()

    def report(what: str) -> None:
        print(f'{time.monotonic() - start:4.0f} seconds: {what}',
              flush=True)

    with contextlib.ExitStack() as cleanup:
        thick = cleanup.enter_context(ScratchVolumeGroup(
            'thick', size=4 * units.Gi, device_mapper=True))
        thin = cleanup.enter_context(ScratchVolumeGroup(
            'thin', size=4 * units.Gi, device_mapper=True, beside=thick))
        _create_disks(thick, thin, images)
        report('the disks')
        identity = cleanup.enter_context(keystone.running(
            folder, f'sqlite:///{folder}/keystone.sqlite?timeout=60'))
        report('Keystone')
        cinder = cleanup.enter_context(CinderDeployment(
            Backend(thick, service_conf.ISCSI, 'thick'),
            Backend(thin, {**service_conf.ISCSI, 'lvm_type': 'thin'}, 'thin'),
            default_options={'auth_strategy': 'keystone'},
            sections={'keystone_authtoken': identity.conf()}))
        cleanup.callback(shutil.copy, cinder.log_path, folder)
        cinder_url = cinder.url.rpartition('/')[0]
        identity.offer('block-storage', 'cinder', cinder_url)
        wait_for_pools(lambda: identity.admin.get(
            f'{cinder_url}/scheduler-stats/get_pools').json(), 2)
        report('Cinder')
        nova_url = cleanup.enter_context(compute.running(folder, identity,
                                                         report))
        report('a compute host')
        shell = Shell(folder, {**identity.credentials, **thick.environment})
        Show({'thick': thick, 'thin': thin}, identity,
             {'cinder': cinder_url, 'nova': nova_url}, shell,
             images).run(disks)
    report('all was as expected')


def _create_disks(thick: ScratchVolumeGroup, thin: ScratchVolumeGroup,
                  images: dict[str, pathlib.Path]) -> None:
    for disk in (BIOS, UEFI):
        thick.create(disk, f'{boot_disk.SIZE}b')
        _write(thick, disk, images[_FIRMWARE[disk]])
    pool = f'{thin.name}-pool'
    thin.lvm('lvcreate', '--type', 'thin-pool', '--size', '1g', '--name',
             pool, thin.name)
    thin.lvm('lvcreate', '--thin', '--virtualsize', f'{boot_disk.SIZE}b',
             '--name', TEMPLATE, f'{thin.name}/{pool}')
    _write(thin, TEMPLATE, images['bios'])
    thin.lvm('lvchange', '--permission', 'r', f'{thin.name}/{TEMPLATE}')
    thin.lvm('lvcreate', '--snapshot', '--setactivationskip', 'n',
             '--permission', 'rw', '--name', CLONE,
             f'{thin.name}/{TEMPLATE}')


def _write(group: ScratchVolumeGroup, disk: str, image: pathlib.Path) -> None:
    with pathlib.Path('/dev', group.name, disk).open('r+b') as device:
        device.write(image.read_bytes())
        os.fsync(device.fileno())


if __name__ == '__main__':
    signals.unwind_when_stopped()
    main()
