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

"""Samples of devices that hang or fail, and a libblkid that does."""

import json
import os
import subprocess
import sys
import time

import pytest

from cinder_lvm_manage import samples as module
from cinder_lvm_manage.samples import ReaderError
from cinder_lvm_manage.samples import Samples
from tests.unit.contents import recorded

MIB = 1 << 20


@pytest.fixture
def lv(tmp_path):
    """Makes files that stand in for the devices of LVs."""
    def lv(name: str, sample: str = 'ext4') -> str:
        recorded(sample).write(tmp_path / name)
        return str(tmp_path / name)
    return lv


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, '_DEVICE_SECONDS', 0.5)
    monkeypatch.setattr(module, '_READ_SECONDS', 2)


def read(*paths: str) -> list[str]:
    sizes = {path: os.path.isfile(path) and os.path.getsize(path)
             for path in paths}
    with Samples({path: size or 64 * MIB
                  for path, size in sizes.items()}) as samples:
        found = samples.contents(subprocess.run(
            samples.READER, input=samples.request, text=True, check=True,
            stdout=subprocess.PIPE, timeout=10).stdout)
    assert list(found) == list(paths)
    return list(map(str, found.values()))


def libblkid(monkeypatch, folder, script: str) -> None:
    """Put a script in place of the one that calls libblkid."""
    path = folder / 'libblkid.py'
    path.write_text('import json, os, signal, sys, time\n'
                    'request = json.load(sys.stdin)\n' + script)
    monkeypatch.setattr(module, '_LIBBLKID', (sys.executable, '-I', str(path)))


def test_no_devices():
    assert read() == []


def test_an_unreadable_device_does_not_affect_others(lv, tmp_path):
    assert read(lv('first'), str(tmp_path / 'missing'), str(tmp_path),
                '/proc/self/mem', lv('last')) == [
        'ext4 file system "data"',
        'not read: No such file or directory',
        'not read: Is a directory',
        'not read: Input/output error',
        'ext4 file system "data"']


def test_a_hanging_device_does_not_affect_others(lv, tmp_path, quick):
    hanging = str(tmp_path / 'hanging')
    os.mkfifo(hanging)
    # More than are read at once, so that some wait behind the one that hangs.
    others = [lv(f'lv{number}') for number in range(20)]
    assert read(hanging, *others) == [
        'not read: no answer within 0.5 seconds',
        *['ext4 file system "data"'] * 20]


def test_the_time_limit_holds_if_all_devices_hang(tmp_path, quick):
    # Without the limit, they would take a minute.
    hanging = [str(tmp_path / f'hanging{number}') for number in range(1000)]
    for path in hanging:
        os.mkfifo(path)
    start = time.monotonic()
    assert set(read(*hanging)) == {
        'not read: no answer within 0.5 seconds',
        'not read: reading all LVs took longer than 20 seconds'}
    assert time.monotonic() - start < 30


def test_bytes_that_were_read_before_an_error_are_used(lv, tmp_path):
    path = lv('lv')
    size = os.path.getsize(path)
    os.truncate(path, 128 * 1024)
    with Samples({path: size}) as samples:
        found = samples.contents(subprocess.run(
            samples.READER, input=samples.request, text=True, check=True,
            stdout=subprocess.PIPE, timeout=10).stdout)
    assert str(found[path]) == (
        'ext4 file system "data"; not read: Input/output error')
    assert found[path].failed


def test_the_reader_writes_to_a_memory_file_only(tmp_path):
    target = tmp_path / 'target'
    target.write_text('unharmed')
    with Samples({'/dev/zero': MIB}) as samples:
        request = json.loads(samples.request) | {'target': str(target)}
        done = subprocess.run(samples.READER, input=json.dumps(request),
                              text=True, check=False, capture_output=True)
    assert done.returncode
    assert 'is not a memory file' in done.stderr
    assert target.read_text() == 'unharmed'


@pytest.mark.parametrize('report', [
    '', 'killed', '[]', '["", ""]', '[1]', '{"a": ""}', 'null', '[' * 100000])
def test_a_malformed_report_is_an_error(report):
    with Samples({'/dev/zero': MIB}) as samples, pytest.raises(ReaderError):
        samples.contents(report)


def test_a_sample_that_crashes_libblkid_does_not_affect_others(
        lv, tmp_path, monkeypatch):
    # Every third one does, each in another way.
    libblkid(monkeypatch, tmp_path, """
print('libblkid', flush=True)
count = len(request['devices'])
for left in range(count, 0, -1):
    if left == 7:
        os.abort()
    if left == 4:
        print('free(): invalid pointer', file=sys.stderr)
        os.kill(os.getpid(), signal.SIGSEGV)
    if left == 1:
        raise OSError('no')
    print('{"TYPE": "swap"}', flush=True)
""")
    assert read(*map(lv, 'abcdefghi')) == [
        'swap area', 'swap area', 'not identified: libblkid failed on it'] * 3


def test_images_are_recognized_without_libblkid(lv, tmp_path, monkeypatch,
                                                caplog):
    libblkid(monkeypatch, tmp_path, 'import ctypes\n'
             'ctypes.CDLL("libblkid.so.0")')
    assert read(lv('a', 'qcow2'), lv('b')) == [
        'qcow2 image of 10 GiB; not identified: libblkid failed to start',
        'not identified: libblkid failed to start']
    assert 'libblkid.so.0' in caplog.text


def test_identification_has_a_time_limit(lv, tmp_path, monkeypatch):
    monkeypatch.setattr(module, '_IDENTIFY_SECONDS', 0.5)
    libblkid(monkeypatch, tmp_path, """
print('libblkid', flush=True)
print('{"TYPE": "swap"}', flush=True)
time.sleep(request['seconds'])
""")
    late = ('not identified: identifying the contents of all LVs took longer '
            'than 0.5 seconds')
    assert read(*map(lv, 'abc')) == ['swap area', late, late]


def test_memory_is_freed(lv):
    paths = [lv('a')]
    before = len(os.listdir('/proc/self/fd'))
    for _ in range(3):
        read(*paths)
    assert len(os.listdir('/proc/self/fd')) == before
