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


"""What the programs of tests/run decide without a container."""

from __future__ import annotations

import configparser
import json
import os
import pathlib
import platform
import re
import subprocess

import pytest

from tests.run import container
from tests.run import debian_packages
from tests.run import devstack

REPOSITORIES = ('cinder', 'devstack', 'keystone', 'requirements', 'tempest')


@pytest.fixture
def prints(monkeypatch):
    """Let each command print a text."""
    def set_output(text):
        monkeypatch.setattr(subprocess, 'check_output',
                            lambda *args, **kwargs: text)
    return set_output


def test_apt_gets_another_release_from_the_same_place(prints, monkeypatch):
    monkeypatch.setattr(platform, 'freedesktop_os_release',
                        lambda: {'VERSION_CODENAME': 'bookworm'})
    prints('http://a/debian/ bookworm main\n'
           'http://a/debian/ bookworm main\n'
           'http://b/security/ bookworm-security main\n'
           'http://c/other/ stable main\n')
    assert debian_packages.apt_sources('trixie') == [
        'deb http://a/debian/ trixie main',
        'deb http://b/security/ trixie-security main']


def test_apt_without_lists_is_an_error(prints):
    prints('')
    with pytest.raises(RuntimeError, match='apt-get update'):
        debian_packages.apt_sources('trixie')


def test_pip_keeps_indexes_on_the_network_and_certificates(prints, tmp_path):
    certificates = tmp_path / 'host.pem'
    certificates.write_text('PEM')
    root = tmp_path / 'root'
    (root / 'etc').mkdir(parents=True)
    prints(f":env:.cert='{certificates}'\n"
           "global.constraint='/etc/constraints.txt'\n"
           "global.extra-index-url='file:///srv/pypi https://c/simple'\n"
           "global.find-links='/opt/wheels'\n"
           "global.index-url='https://b/simple'\n")
    assert container.pip_conf(root).splitlines()[1:] == [
        'cache-dir = /var/cache/pip',
        'disable-pip-version-check = true',
        'default-timeout = 180',
        'cert = /etc/pip-certificates.pem',
        'extra-index-url = https://c/simple',
        'index-url = https://b/simple']
    assert (root / 'etc/pip-certificates.pem').read_text() == 'PEM'


def test_loop_devices_are_those_of_the_files_of_the_root(prints, tmp_path):
    backing = tmp_path / 'opt' / 'file'
    backing.parent.mkdir()
    backing.touch()
    inode = backing.stat().st_ino
    prints(json.dumps({'loopdevices': [
        {'name': '/dev/loop0', 'back-file': '/opt/file', 'back-ino': inode},
        {'name': '/dev/loop1', 'back-file': '/opt/file',
         'back-ino': inode + 1},
        {'name': '/dev/loop2', 'back-file': '/opt/other',
         'back-ino': inode}]}))
    assert container.loop_devices(tmp_path) == ['/dev/loop0']


def test_no_loop_devices_are_no_output_of_losetup(prints, tmp_path):
    prints('')
    assert container.loop_devices(tmp_path) == []


@pytest.mark.parametrize('unset', [None, ''])
def test_without_git_base_the_error_says_what_it_can_be(unset):
    with pytest.raises(RuntimeError, match='GIT_BASE is not set') as raised:
        devstack.git_base_in_container(unset)
    for name in REPOSITORIES:
        assert f'openstack/{name}.git' in str(raised.value)


def test_a_folder_without_a_repository_is_refused(tmp_path):
    for name in REPOSITORIES[:-1]:
        folder = tmp_path / 'openstack' / f'{name}.git'
        folder.mkdir(parents=True)
        (folder / 'HEAD').touch()
    with pytest.raises(RuntimeError, match=r'has no openstack/tempest\.git\.'):
        devstack.git_base_in_container(str(tmp_path))


def test_a_folder_is_seen_at_another_place(tmp_path):
    for name in REPOSITORIES:
        folder = tmp_path / 'openstack' / f'{name}.git'
        folder.mkdir(parents=True)
        (folder / 'HEAD').touch()
    assert devstack.git_base_in_container(os.path.relpath(tmp_path)) == (
        'file:///git', {tmp_path: '/git'})


def test_a_url_needs_no_folder():
    assert devstack.git_base_in_container('https://example.org/') == (
        'https://example.org', {})


@pytest.mark.parametrize('kind', ['volume groups', 'loop devices',
                                  'lvm.conf', 'units'])
def test_storage_that_is_left_is_a_failure(kind):
    kinds = ('volume groups', 'loop devices', 'lvm.conf', 'units')
    left: dict[str, list[str]] = {each: [] for each in kinds}
    devstack.check_left('clean.sh', left, ('units',))
    with pytest.raises(RuntimeError, match=f'{kind} after clean.sh'):
        devstack.check_left('clean.sh', {**left, kind: ['it']}, ('units',))


def test_a_run_of_tempest_has_a_test_that_passed():
    devstack.check_totals('======\nTotals\n======\n - Passed: 42\n')
    for printed in ('', 'Totals\n - Passed: 0\n - Skipped: 42\n'):
        with pytest.raises(RuntimeError, match='no test'):
            devstack.check_totals(printed)


def deps(conf, section):
    """The packages of a section of tox.ini, and of those it refers to."""
    text = conf.get(section, 'deps', fallback=conf['testenv']['deps'])
    return text + ''.join(
        deps(conf, named) for named in re.findall(r'\{\[(.*?)\]deps\}', text))


def test_an_environment_that_needs_debian_packages_has_bindep():
    conf = configparser.ConfigParser(interpolation=None)
    conf.read(pathlib.Path(__file__).parents[2] / 'tox.ini')
    needing = [name for name in conf.sections() if 'bindep' in conf[name]]
    assert 'testenv:devstack-real' in needing
    assert [name for name in needing
            if not re.search('bindep>=|/test-requirements.txt',
                             deps(conf, name))] == []
