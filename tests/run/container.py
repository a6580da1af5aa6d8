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

"""Runs commands in a container that boots Debian's systemd.

systemd-nspawn boots a root file system that mmdebstrap has built, of any
Debian release. The container has a network namespace of its own, which
slirp4netns connects to the network: its servers cannot be reached from
outside. It has the host's kernel, and so no device-mapper if the host has
none. It gets its packages from where the host's apt and pip get theirs.

The host's systemd, if it runs one, does not know the container. The container
ends with this process, even if the process is killed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from typing import Any

from tests.lab import polling
from tests.lab import processes
from tests.run import debian_packages

_CHECKOUT = pathlib.Path(__file__).parents[2]
PROGRAMS = {'systemd-nspawn': 'systemd-container',
            'mmdebstrap': 'mmdebstrap', 'slirp4netns': 'slirp4netns'}
# The packages of mmdebstrap's variant "important", and others that a
# developer's machine has.
_PACKAGES = ('ca-certificates', 'curl', 'dbus', 'git', 'iproute2', 'kmod',
             'locales', 'lsb-release', 'procps', 'python3', 'python3-pip',
             'python3-venv', 'sudo', 'systemd', 'systemd-sysv')
_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
_CACHES = {'apt': '/var/cache/apt/archives', 'pip': '/var/cache/pip'}
_PIP_SETTINGS = ('index-url', 'extra-index-url', 'proxy', 'trusted-host')
_CERTIFICATES = 'etc/pip-certificates.pem'
# slirp4netns forwards it to the host's name servers.
_NAME_SERVER = '10.0.2.3'
# systemd-nspawn's /dev has no loop devices. All numbers are the host's, where
# other programs use the first ones: hundreds, if they are tests of this
# repository. The kernel adds a device when a program asks for a free number,
# and then its node must exist. It also adds one when a program that scans /dev
# opens its node, so there are not more of them.
_LOOP_NODES = """[Unit]
Description=Device nodes of loop devices
DefaultDependencies=no
Before=local-fs-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=mknod /dev/loop-control c 10 237
ExecStart=python3 -c "import os, stat; [os.mknod(f'/dev/loop{n}', \\
    stat.S_IFBLK, os.makedev(7, n)) for n in range(1024)]"
ExecStart=sh -c 'chgrp disk /dev/loop*; chmod 660 /dev/loop*'

[Install]
WantedBy=sysinit.target
"""
# These units fail in a container, or may start to work at any time.
_MASKED = ('apt-daily-upgrade.timer', 'apt-daily.timer', 'e2scrub_all.timer',
           'networking.service', 'systemd-timesyncd.service')


def check_host() -> None:
    """Check that this host has the programs.

    :raises RuntimeError: one is missing
    """
    missing = [package for program, package in PROGRAMS.items()
               if not shutil.which(program)]
    if missing:
        raise RuntimeError('packages for a container are not installed: '
                           f"apt-get install {' '.join(missing)}")


def clone_checkout(bare: pathlib.Path) -> None:
    """Make a bare clone of the checkout, and print its last commit.

    Its branch is main, whichever the checkout's is.
    """
    shutil.rmtree(bare, ignore_errors=True)
    commit = _git('rev-parse', 'HEAD')
    _git('clone', '--quiet', '--bare', str(_CHECKOUT), str(bare))
    _git('--git-dir', str(bare), 'update-ref', 'refs/heads/main', commit)
    _git('--git-dir', str(bare), 'symbolic-ref', 'HEAD', 'refs/heads/main')
    print('Commit', _git('log', '--max-count=1', '--format=%h %s'))
    changed = _git('status', '--porcelain')
    if changed:
        print(f'Changes that are not committed are ignored:\n{changed}')


def _git(*arguments: str) -> str:
    return subprocess.run(['git', *arguments], cwd=_CHECKOUT, check=True,
                          stdout=subprocess.PIPE, text=True).stdout.strip()


@contextlib.contextmanager
def unpacked(release: str, folder: pathlib.Path,
             packages: Sequence[str] = ()) -> Iterator[pathlib.Path]:
    """Make a root file system, and remove it at the end.

    :param release: Debian's name for it, such as trixie
    :param packages: to be installed in it
    :param folder: keeps what later runs can use: the packages of the release
        as a tar file, and the caches of apt and pip
    """
    base = folder / f'{release}.tar'
    if not base.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f'{release}.unfinished.tar'
        debian_packages.unpack_release(release, unfinished, 'important',
                                       (*_PACKAGES, *packages))
        unfinished.rename(base)
    root = folder / f'{release}.root'
    # It is left over if an earlier run was killed.
    _remove(root)
    try:
        root.mkdir()
        _call('tar', '--extract', '--preserve-permissions', '--numeric-owner',
              '--xattrs', '--xattrs-include=*', '--file', base, '--directory',
              root)
        _configure(root)
        yield root
    finally:
        _remove(root)


@dataclasses.dataclass(frozen=True)
class Container:
    """A container that has booted.

    :ivar root: its root file system
    """

    root: pathlib.Path
    _leader: int

    def command(self, *command: str, user: str = 'root',
                folder: str = '/') -> list[str]:
        """Return the command with which the host runs a command in it.

        The command has a systemd unit of its own. When the unit ends, so does
        everything that the command has started.
        """
        environment = {'PATH': _PATH, 'TERM': 'dumb', 'LANG': 'C.UTF-8'}
        return ['nsenter', f'--target={self._leader}', '--mount', '--uts',
                '--ipc', '--net', '--pid', '--', 'env', '-i', f'PATH={_PATH}',
                'systemd-run', '--quiet', '--pipe', '--wait', '--collect',
                f'--uid={user}', f'--working-directory={folder}',
                '--property=LimitNOFILE=65536',
                *(f'--setenv={name}={value}'
                  for name, value in environment.items()),
                '--', *command]

    def output(self, *command: str, **options: Any) -> str:
        """Return what a command prints.

        :raises RuntimeError: it failed
        """
        done = subprocess.run(
            self.command(*command, **options), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f'`{command[-1]}` exited with '
                               f'{done.returncode}: '
                               f'{done.stderr}{done.stdout}')
        return done.stdout


@contextlib.contextmanager
def booted(root: pathlib.Path, log: pathlib.Path,
           read_only: Mapping[pathlib.Path, str] | None = None
           ) -> Iterator[Container]:
    """Boot a root file system that unpacked() made.

    :param log: the file for the messages of systemd-nspawn and slirp4netns
    :param read_only: folders of the host, and their paths in the container
    """
    with contextlib.ExitStack() as stack:
        network = processes.start('unshare', '--net', 'sleep', 'infinity',
                                  stdin=subprocess.DEVNULL)
        stack.callback(processes.stop, network, 10)
        namespace = f'/proc/{network.pid}/ns/net'
        own = os.readlink('/proc/self/ns/net')
        polling.wait_for('a network namespace',
                         lambda: os.readlink(namespace) != own)
        interfaces = pathlib.Path(f'/proc/{network.pid}/net/dev')
        stack.enter_context(processes.running(
            'slirp4netns', '--configure', '--mtu=1500',
            '--disable-host-loopback', '--netns-type=path', namespace, 'tap0',
            log=log, up=lambda: 'tap0' in interfaces.read_text()))
        binds = [f'--bind={_cache(root, name)}:{path}'
                 for name, path in _CACHES.items()]
        binds += [f'--bind-ro={path}:{seen}'
                  for path, seen in (read_only or {}).items()]
        leader = stack.enter_context(_nspawn(
            '--network-namespace-path', namespace, *binds, root=root,
            log=log))
        container = Container(root, leader)
        container.output('sh', '-c', 'systemctl is-system-running --wait || '
                         'test "$(systemctl is-system-running)" = degraded')
        container.output('apt-get', 'update', '-qq')
        yield container


@contextlib.contextmanager
def _nspawn(*options: str, root: pathlib.Path,
            log: pathlib.Path) -> Iterator[int]:
    """Boot the container; yield the host's number of its process 1.

    SIGTERM makes systemd-nspawn shut the container down.
    """
    with processes.running(
            'systemd-nspawn', '--quiet', '--register=no', '--keep-unit',
            '--resolv-conf=off', '--timezone=off', '--boot',
            # The first is for dmesg, a command of the documentation. The
            # second is for the privileged daemon of Cinder's LVM driver.
            '--capability=CAP_SYSLOG,CAP_NET_ADMIN',
            f'--machine={_host_name(root)}', f'--directory={root}', *options,
            log=log, up=lambda: True, seconds_to_stop=120) as nspawn:
        children = pathlib.Path(
            f'/proc/{nspawn.pid}/task/{nspawn.pid}/children')

        def leader() -> int | None:
            for child in map(int, children.read_text().split()):
                if pathlib.Path(f'/proc/{child}/comm'
                                ).read_text().strip() == 'systemd':
                    return child
            return None

        found = polling.wait_for('the start of systemd', leader)
        assert found
        # systemctl and systemd-run need it.
        bus = pathlib.Path(f'/proc/{found}/root/run/dbus/system_bus_socket')
        polling.wait_for('the D-Bus socket', bus.exists)
        yield found


def _configure(root: pathlib.Path) -> None:
    name = _host_name(root)
    units = root / 'etc' / 'systemd' / 'system'
    resolv_conf = root / 'etc' / 'resolv.conf'
    resolv_conf.unlink(missing_ok=True)
    for path, text in (
            (resolv_conf, f'nameserver {_NAME_SERVER}\n'),
            (root / 'etc' / 'hostname', f'{name}\n'),
            (root / 'etc' / 'hosts',
             f'127.0.0.1 localhost\n127.0.1.1 {name}\n'),
            (root / 'etc' / 'apt' / 'apt.conf.d' / '80retries',
             'Acquire::Retries "5";\n'),
            (root / 'etc' / 'locale.gen', 'en_US.UTF-8 UTF-8\n'),
            # Repositories of the host belong to root.
            (root / 'etc' / 'gitconfig', '[safe]\n\tdirectory = *\n'),
            (root / 'etc' / 'pip.conf', pip_conf(root)),
            (units / 'loop-nodes.service', _LOOP_NODES)):
        path.write_text(text)
    _call('chroot', root, 'locale-gen', stdout=subprocess.DEVNULL)
    # As systemctl's enable and mask, which warn that /proc is not mounted.
    wanted = units / 'sysinit.target.wants' / 'loop-nodes.service'
    wanted.parent.mkdir(exist_ok=True)
    wanted.symlink_to('../loop-nodes.service')
    for each in _MASKED:
        (units / each).symlink_to('/dev/null')
    for each in _CACHES:
        _cache(root, each).mkdir(exist_ok=True)
    # Every user writes to it; root ignores one that is not root's.
    _cache(root, 'pip').chmod(0o1777)


def _cache(root: pathlib.Path, name: str) -> pathlib.Path:
    return root.with_name(f'{root.stem}.{name}')


def _host_name(root: pathlib.Path) -> str:
    return f'lab-{root.stem}'


def pip_conf(root: pathlib.Path) -> str:
    """Return the host's settings of pip that also apply in the container.

    These are its indexes on the network. Certificates are copied.
    """
    listed = subprocess.check_output(
        [sys.executable, '-m', 'pip', 'config', 'list'], text=True)
    settings = {}
    for line in listed.splitlines():
        key, _, quoted = line.partition('=')
        name = re.sub(r'^(global|:env:)\.', '', key)
        value = str(ast.literal_eval(quoted))
        if name == 'cert':
            shutil.copy(value, root / _CERTIFICATES)
            settings[name] = f'/{_CERTIFICATES}'
        elif name in _PIP_SETTINGS:
            settings[name] = ' '.join(
                each for each in value.split() if not each.startswith('file:'))
    lines = ['[global]', f"cache-dir = {_CACHES['pip']}",
             'disable-pip-version-check = true', 'default-timeout = 180']
    lines += [f'{name} = {value}' for name, value in settings.items() if value]
    return '\n'.join((*lines, ''))


def loop_devices(root: pathlib.Path) -> list[str]:
    """Return the loop devices of files of a root file system."""
    listed = subprocess.check_output(
        ['losetup', '--list', '--json', '--output',
         'NAME,BACK-FILE,BACK-INO'], text=True)
    # The names of files are those in the container.
    return [str(device['name'])
            for device in json.loads(listed or '{"loopdevices": []}'
                                     )['loopdevices']
            if (backing := root / str(device['back-file']).lstrip('/')
                ).exists()
            and backing.stat().st_ino == int(device['back-ino'])]


def print_disk_use(root: pathlib.Path) -> None:
    """Print the size of a root file system, and of the files beside it."""
    kept = sorted(root.parent.glob(f'{root.stem}.[!r]*'))
    print(subprocess.check_output(
        ['du', '--summarize', '--one-file-system', '--human-readable', root,
         *kept], text=True), end='', flush=True)


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Print the seconds that something took."""
    began = time.monotonic()
    yield
    print(f'{what}: {time.monotonic() - began:.0f} s', flush=True)


def _remove(root: pathlib.Path) -> None:
    for device in loop_devices(root):
        _call('losetup', '--detach', device)
    if root.exists():
        _call('rm', '--recursive', '--force', '--one-file-system', root)
    # systemd-nspawn leaves its lock.
    root.with_name(f'.#{root.name}.lck').unlink(missing_ok=True)


def _call(*command: str | pathlib.Path, **options: Any) -> None:
    subprocess.run(command, check=True, **options)
