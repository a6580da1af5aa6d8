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

"""The plugin, run by the functions of the DevStack in DEVSTACK_DIR.

stack.sh leaves out what else DevStack changes on a machine. Real are git, pip
and bindep, the volume groups on loop devices, and the Cinder that starts with
the configuration that DevStack wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
import configparser
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from tests.lab.deployment import Backend
from tests.lab.deployment import CinderDeployment
from tests.lab.scratch import ScratchVolumeGroup

_CHECKOUT = pathlib.Path(__file__).parents[2]

_LOCAL_CONF = """
[[local|localrc]]
DEST={dest}
DATA_DIR={dest}/data
HOST_IP=127.0.0.1
SERVICE_HOST=127.0.0.1
SERVICE_PASSWORD=secret
STACK_USER=root
ENABLED_SERVICES=c-vol,tempest
INSTALL_TEMPEST=False
TEMPEST_VENV_UPPER_CONSTRAINTS=/dev/null
VOLUME_GROUP_NAME={groups}
VOLUME_BACKING_FILE_SIZE=1G

enable_plugin cinder-lvm-manage file://{checkout}
CINDER_ENABLED_BACKENDS=lvm_manage:first,lvm_manage:second
"""

# It overrides lvm.conf, which DevStack changes. No device-mapper is needed.
_LVMLOCAL_CONF = """
global {
    activation = 0
}
devices {
    use_devicesfile = 0
    hints = "none"
}
backup {
    backup = 0
    archive = 0
}
"""


class DevStack:
    """A copy of DevStack, which sees a copy of /etc.

    :ivar dest: the folder that it installs into
    :ivar etc: the files of /etc that it has changed
    :ivar groups: the prefix of the names of its volume groups
    """

    def __init__(self, source: str, folder: pathlib.Path) -> None:
        self.dest = folder / 'stack'
        self.etc = folder / 'etc'
        self.groups = f'devstack-{os.getpid()}'
        self._folder = folder
        self._top = folder / 'devstack'
        shutil.copytree(source, self._top, symlinks=True,
                        ignore=shutil.ignore_patterns('.git'))
        for path in (self.dest, self.etc / 'lvm', folder / 'work'):
            path.mkdir(parents=True)
        # DevStack clones only what does not exist.
        (self.dest / 'cinder-lvm-manage').symlink_to(_CHECKOUT)
        (self.etc / 'lvm' / 'lvmlocal.conf').write_text(_LVMLOCAL_CONF)
        (self._top / 'local.conf').write_text(_LOCAL_CONF.format(
            dest=self.dest, checkout=_CHECKOUT, groups=self.groups))

    def run(self, script: str) -> str:
        """Run stack, unstack or clean, each in its own shell."""
        overlay = (f'lowerdir=/etc,upperdir={self.etc},'
                   f'workdir={self._folder}/work')
        done = subprocess.run(
            ['unshare', '--mount', 'bash', '-ec',
             f'mount -t overlay -o {overlay} overlay /etc; exec "$@"', '-',
             'bash', _CHECKOUT / 'tests' / 'devstack' / 'stack.sh', script],
            cwd=self._top, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
            env=os.environ | {'TMPDIR': str(self._folder),
                              'LVM_SUPPRESS_FD_WARNINGS': '1'})
        assert done.returncode == 0, f'{script}: {done.stdout[-9000:]}'
        return done.stdout

    def loop_devices(self) -> list[str]:
        listed = subprocess.run(
            ['losetup', '--list', '--noheadings', '--output',
             'NAME,BACK-FILE'],
            stdout=subprocess.PIPE, text=True, check=True).stdout
        return [line.split()[0] for line in listed.splitlines()
                if self.groups in line]

    def left_behind(self) -> list[str]:
        """Return what exists of the backends on this machine."""
        groups = StackedVolumeGroup(self, '').lvm(
            'vgs', '--noheadings', '--options', 'vg_name').split()
        files = map(str, self._folder.rglob('*'))
        return self.loop_devices() + [
            name for name in [*groups, *files] if self.groups in name]


class StackedVolumeGroup(ScratchVolumeGroup):
    """The volume group that DevStack created for a backend."""

    def __init__(self, devstack: DevStack, backend: str) -> None:
        super().__init__(f'{devstack.groups}-{backend}')
        self.lvm_conf = devstack.etc / 'lvm' / 'lvm.conf'
        self.environment = {'LVM_SYSTEM_DIR': str(self.lvm_conf.parent),
                            'LVM_SUPPRESS_FD_WARNINGS': '1',
                            'LC_ALL': 'C'}


@pytest.fixture(scope='module')
def devstack() -> Iterator[DevStack]:
    """DevStack after stack.sh."""
    source = os.environ.get('DEVSTACK_DIR')
    if source is None:
        pytest.skip('DEVSTACK_DIR names no checkout of openstack/devstack')
    with tempfile.TemporaryDirectory() as folder:
        devstack = DevStack(source, pathlib.Path(folder))
        try:
            devstack.run('stack')
            yield devstack
        finally:
            # There are none unless a test failed.
            for device in devstack.loop_devices():
                subprocess.run(['losetup', '--detach', device], check=True)


def _read(path: pathlib.Path) -> configparser.ConfigParser:
    conf = configparser.ConfigParser(interpolation=None)
    conf.read_string(path.read_text())
    return conf


def _installed(environment: pathlib.Path) -> dict[str, dict[str, str]]:
    """Return what pip lists in a virtual environment, by name."""
    listed = subprocess.run(
        [environment / 'bin' / 'pip', 'list', '--local', '--format', 'json'],
        stdout=subprocess.PIPE, text=True, check=True)
    return {each['name']: each for each in json.loads(listed.stdout)}


def test_driver_and_client_are_installed_beside_cinder(
        devstack: DevStack) -> None:
    installed = _installed(devstack.dest / 'data' / 'venv')
    checkout = devstack.dest / 'cinder-lvm-manage'
    assert {name: each['editable_project_location']
            for name, each in installed.items()
            if 'editable_project_location' in each} == {
        'cinder': str(devstack.dest / 'cinder'),
        'cinder_lvm_manage': str(checkout),
        'osc-volume-adopt': str(checkout / 'client')}


def test_a_cinder_without_its_tags_is_not_replaced(
        devstack: DevStack) -> None:
    cinder = _installed(devstack.dest / 'data' / 'venv')['cinder']
    assert cinder['version'].startswith('0.0.')


def test_tempest_has_the_tests_and_no_cinder(devstack: DevStack) -> None:
    environment = devstack.dest / 'tempest' / '.tox' / 'tempest'
    plugins = subprocess.run(
        [environment / 'bin' / 'tempest', 'list-plugins'],
        stdout=subprocess.PIPE, text=True, check=True).stdout
    assert 'cinder_lvm_manage_tempest_plugin' in plugins
    assert {name for name in _installed(environment)
            if 'cinder' in name or name == 'os-brick'} == {
        'cinder-lvm-manage-tempest-plugin'}


def test_names_of_tempest_tests_start_with_the_package(
        devstack: DevStack) -> None:
    python = devstack.dest / 'tempest' / '.tox' / 'tempest' / 'bin' / 'python'
    script = ('from cinder_lvm_manage_tempest_plugin.plugin import *\n'
              'print(*LVMManageTempestPlugin().load_tests())')
    tests, top = subprocess.check_output(
        [python, '-c', script], cwd=devstack.dest, text=True).split()
    package = pathlib.PurePath('cinder_lvm_manage_tempest_plugin')
    assert pathlib.PurePath(tests).relative_to(top) == package / 'tests'


@pytest.mark.parametrize('backend', ['first', 'second'])
def test_a_backend_has_what_lvm_has_and_this_driver(
        devstack: DevStack, backend: str) -> None:
    conf = _read(devstack.etc / 'cinder' / 'cinder.conf')
    assert conf['DEFAULT']['enabled_backends'] == 'first,second'
    assert conf[backend].items() >= {
        'volume_driver': 'cinder_lvm_manage.driver.LVMManageDriver',
        'volume_backend_name': backend,
        'volume_group': f'{devstack.groups}-{backend}',
        'lvm_type': 'default',
        'target_helper': 'lioadm',
        'target_protocol': 'iscsi',
        'target_port': '3260',
        'target_prefix': 'iqn.2010-10.org.openstack:',
        'volume_clear': 'zero',
    }.items()


def test_tempest_tests_managing(devstack: DevStack) -> None:
    conf = _read(devstack.dest / 'tempest' / 'etc' / 'tempest.conf')
    features = conf['volume-feature-enabled']
    assert features['manage_volume'] == 'True'
    assert features['manage_snapshot'] == 'True'


@pytest.mark.parametrize('backend', ['first', 'second'])
def test_a_cinder_starts_with_it_and_manages(
        devstack: DevStack, backend: str) -> None:
    group = StackedVolumeGroup(devstack, backend)
    group.create('disk', '8m')
    conf = _read(devstack.etc / 'cinder' / 'cinder.conf')
    options = {**conf[backend], 'target_helper': 'fake',
               'lvm_conf_file': str(group.lvm_conf),
               'lvm_manage_without_device_mapper': 'true'}
    with CinderDeployment(Backend(group, options, backend)) as cinder:
        reply = cinder.api.manage({'source-name': 'disk'})
        volume = cinder.api.wait(reply.body['volume']['id'], 'available')
    assert group.names().keys() == {f"volume-{volume['id']}"}


def test_unstack_and_clean_leave_nothing_behind(devstack: DevStack) -> None:
    assert devstack.left_behind()
    devstack.run('unstack')
    assert devstack.left_behind() == []
    assert 'devstack' not in (devstack.etc / 'lvm' / 'lvm.conf').read_text()
    devstack.run('clean')
    assert devstack.left_behind() == []
