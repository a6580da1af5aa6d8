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

"""The devices that processes have open, found by the real find as root."""

import contextlib
import os
import pathlib
import subprocess
import threading

from os_brick.privileged import rootwrap
import pytest

from cinder_lvm_manage.volume_group import _ENDED_MEANWHILE
from cinder_lvm_manage.volume_group import VolumeGroup


@pytest.fixture
def device(tmp_path):
    """A loop device's node and its major:minor."""
    image = tmp_path / 'image'
    image.write_bytes(bytes(4096))
    node = subprocess.check_output(
        ['losetup', '--find', '--show', image], text=True).strip()
    number = pathlib.Path('/sys/block', pathlib.Path(node).name, 'dev')
    yield pathlib.Path(node), number.read_text().strip()
    subprocess.run(['losetup', '--detach', node], check=True)


def open_files(device):
    group = VolumeGroup('vg', 'sudo', None, False, 60)
    return list(group.open_files([device]).lines)


def test_the_process_that_has_a_device_open_is_found(device):
    node, number = device
    with node.open('rb') as file:
        process = subprocess.Popen(['sleep', '1000'], stdin=file)
    try:
        major, minor = map(int, number.split(':'))
        assert f'/proc/{process.pid}/fd/0 {major:x}:{minor:x}' in open_files(
            number)
    finally:
        process.kill()
        process.wait()
    assert f'/proc/{process.pid}/fd/0' not in ' '.join(open_files(number))


def test_a_mount_in_another_namespace_is_found(tmp_path):
    process = subprocess.Popen(
        ['unshare', '--mount', 'bash', '-c',
         f'mount -t tmpfs lab {tmp_path} && echo && exec sleep 1000'],
        stdout=subprocess.PIPE)
    try:
        assert process.stdout
        process.stdout.read(1)
        number = os.stat(f'/proc/{process.pid}/root{tmp_path}').st_dev
        device = f'{os.major(number)}:{os.minor(number)}'
        line, = [line for line in open_files(device)
                 if line.startswith(f'/proc/{process.pid}/mountinfo:')]
        assert f' {device} / {tmp_path} ' in line
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def processes_that_come_and_go():
    stopped = threading.Event()

    def start():
        while not stopped.is_set():
            subprocess.run(['true'], check=True)

    thread = threading.Thread(target=start)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def test_processes_that_end_meanwhile_are_no_problem(device):
    said = set()

    def execute(*command, **options):
        out, err = rootwrap.execute(*command, **options)
        said.update(err.splitlines())
        return out, err

    group = VolumeGroup('vg', 'sudo', None, False, 60)
    group.set_execute(execute)
    with processes_that_come_and_go():
        for _ in range(20):
            group.open_files([device[1]])
    # In a container root may not read the files of every process.
    assert {line for line in said if not _ENDED_MEANWHILE.fullmatch(line)
            and 'Permission denied' not in line} == set()
