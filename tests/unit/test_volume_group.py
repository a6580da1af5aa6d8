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

"""VolumeGroup against programs that stand in for an lvm that misbehaves."""

import os
import pathlib
import time
from unittest import mock

import pytest

from cinder_lvm_manage import block_device
from cinder_lvm_manage import errors
from cinder_lvm_manage import samples
from cinder_lvm_manage import volume_group as volume_group_module
from cinder_lvm_manage.volume_group import VolumeGroup
from tests.unit.contents import recorded
from tests.unit.reports import inventory

PV_UUID = 'AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA'
REPORT = """
{"report": [{"vg": [{"vg_name": "vg", "vg_exported": "0", "vg_partial": "0",
                     "vg_permissions": "writeable",
                     "vg_extent_size": "4194304", "vg_mda_free": "520192",
                     "vg_tags": "", "vg_shared": "0"}],
             "pv": [{"pv_name": "/dev/sdx",
                     "pv_uuid": "AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA",
                     "pv_major": "8", "pv_minor": "1", "pv_free": "4194304",
                     "pv_allocatable": "1"}],
             "lv": [], "pvseg": [], "seg": []}]}
"""


class Lvm:
    """The commands that VolumeGroup runs, as shell scripts."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self.calls = folder / 'calls'

    def write(self, script: str) -> None:
        for command in ('lvm', 'lvrename', 'lvchange', 'lvextend', 'lvcreate',
                        'find'):
            path = self._folder / command
            path.write_text('#!/bin/bash\n'
                            f'echo "${{0##*/}} $@" >> {self.calls}\n'
                            f'{script}\n')
            path.chmod(0o755)


@pytest.fixture
def lvm(tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path), prepend=':')
    return Lvm(tmp_path)


def volume_group(conf_file=None, suppress_fd_warnings=False, timeout=10):
    return VolumeGroup('vg', 'sudo', conf_file, suppress_fd_warnings, timeout)


def test_an_inventory_is_one_command(lvm):
    lvm.write(f"echo '{REPORT}'")
    assert volume_group().inventory().vg_name == 'vg'
    assert len(lvm.calls.read_text().splitlines()) == 1


def test_a_warning_beside_the_report_is_logged_for_the_operator(lvm, caplog):
    lvm.write(f"echo '  WARNING: a PV is old.' >&2; echo '{REPORT}'")
    assert volume_group().inventory().lvs == ()
    record, = caplog.records
    assert record.levelname == 'WARNING'
    assert record.getMessage() == ('`lvm fullreport vg` succeeded, but LVM '
                                   'printed: WARNING: a PV is old.')


@pytest.mark.parametrize('warning', [
    'WARNING: Activation disabled. No device-mapper interaction',
    'WARNING: This metadata update is NOT backed up.',
    'Internal error: WARNING: Failed to properly detect layout and role',
    'File descriptor 7 (/dev/x) leaked on lvm invocation. Parent PID 1: sh'])
def test_a_warning_that_helps_nobody_is_not(lvm, caplog, warning):
    lvm.write(f"echo '  {warning}' >&2; echo '{REPORT}'")
    volume_group().inventory()
    assert not caplog.records


def test_a_failure_has_the_command_its_exit_code_and_lvms_messages(lvm):
    lvm.write("echo '  Volume group \"vg\" not found' >&2\n"
              "echo '  Cannot process volume group vg' >&2; exit 5")
    with pytest.raises(errors.LVMCommandFailed) as failed:
        volume_group().rename('a', 'b')
    assert str(failed.value) == (
        '`lvrename vg a b` failed with exit code 5: Volume group "vg" not '
        'found; Cannot process volume group vg')
    assert failed.value.command == ('lvrename', 'vg', 'a', 'b')
    assert failed.value.exit_code == 5
    assert failed.value.messages == ('Volume group "vg" not found',
                                     'Cannot process volume group vg')


def test_of_a_report_the_error_shows_the_command_without_its_options(lvm):
    lvm.write('exit 5')
    with pytest.raises(errors.LVMCommandFailed,
                       match=r'`lvm fullreport vg` failed with exit code 5: '
                             'LVM printed no reason'):
        volume_group().inventory()


@pytest.mark.parametrize(('warning', 'field', 'value'), [
    (f'WARNING: Not using device /dev/sdy for PV {PV_UUID}.', 'duplicates',
     ('/dev/sdy',)),
    (f"WARNING: Not using device /dev/sdy for PV {PV_UUID.replace('A', 'B')}.",
     'duplicates', ()),
    ('Reading VG vg without a lock.', 'locked', False),
    ('WARNING: Unrecognised segment type tuna', 'unknown_types', ('tuna',)),
    ('WARNING: something else', 'locked', True)])
def test_lvm_says_of_a_group_what_its_report_has_no_field_for(
        lvm, warning, field, value):
    lvm.write(f"echo '  {warning}' >&2; echo '{REPORT}'")
    assert getattr(volume_group().inventory(), field) == value


def test_a_crash_of_lvm_is_tried_again(lvm):
    lvm.write(f'[ $(wc -l < {lvm.calls}) -lt 3 ] && exit 139\n'
              f"echo '{REPORT}'")
    assert volume_group().inventory().vg_name == 'vg'


def test_a_crash_every_time_is_an_error(lvm):
    lvm.write('exit 139')
    with pytest.raises(errors.VolumeGroupError, match='exit code 139'):
        volume_group().rename('a', 'b')
    assert len(lvm.calls.read_text().splitlines()) == 3


def test_no_other_failure_is_tried_again(lvm):
    lvm.write('exit 5')
    with pytest.raises(errors.VolumeGroupError):
        volume_group().rename('a', 'b')
    assert lvm.calls.read_text() == 'lvrename vg a b\n'


def test_a_command_that_hangs_is_stopped(lvm):
    lvm.write('exec sleep 600')
    started = time.monotonic()
    with pytest.raises(errors.VolumeGroupError, match='timed out after 1 sec'):
        volume_group(timeout=1).inventory()
    assert time.monotonic() - started < 300


@pytest.mark.parametrize('printed', [
    '', 'garbage', '{"report": [', '[]', '{}', 'null', '{"report": []}',
    '{"report": [{"vg": []}]}', '{"report": [{"vg": [{}], "lv": []}]}',
    REPORT.replace('"lv": []', '"lv": [{"lv_name": "a"}]'),
    REPORT.replace('"vg_name": "vg"', '"vg_name": "another"'),
    REPORT.replace('"0"', '""', 1), REPORT.replace('writeable', ''),
    REPORT.replace('4194304', '4.00m'), REPORT.replace('"seg": []', '"x": 1'),
    REPORT.replace('"lv": []', '"lv": 7'),
    'WARNING: on the wrong stream\n' + REPORT, '\\xff\\xfe'])
def test_a_report_that_is_none_is_an_error(lvm, printed):
    lvm.write(f"printf '%b' '{printed}'")
    with pytest.raises(errors.VolumeGroupError, match='cannot be relied on'):
        volume_group().inventory()


@pytest.mark.parametrize(('method', 'arguments', 'command'), [
    ('change', (['a', 'b'], ['c']),
     'lvchange --addtag a --addtag b --deltag c vg/data1'),
    ('change', (['a'], [], False),
     'lvchange --addtag a --setactivationskip n vg/data1'),
    ('change', ([], ['a'], None, True),
     'lvchange --deltag a --setautoactivation y vg/data1'),
    ('activate', (),
     'lvchange --activate y --yes --ignoreactivationskip vg/data1'),
    ('deactivate', (), 'lvchange --activate n vg/data1'),
    ('extend', (1073741824,), 'lvextend --size 1073741824b vg/data1'),
    ('create_thick_snapshot', ('monday',),
     'lvcreate --snapshot --extents 100%ORIGIN --name monday vg/data1')])
def test_a_change_is_one_command(lvm, method, arguments, command):
    lvm.write('')
    getattr(volume_group(), method)('data1', *arguments)
    assert lvm.calls.read_text() == f'{command}\n'


@pytest.mark.parametrize('name', ['', '-f', 'a/b', 'a b', '@t', 'x' * 128])
def test_no_lv_gets_a_name_that_is_none(lvm, name):
    lvm.write('')
    with pytest.raises(errors.VolumeGroupError, match='cannot be named'):
        volume_group().rename('data1', name)
    assert not lvm.calls.exists()


@pytest.mark.parametrize('conf_file_is_there', [True, False])
def test_reads_and_writes_have_the_same_environment(
        lvm, tmp_path, monkeypatch, conf_file_is_there):
    monkeypatch.setenv('LC_ALL', 'de_DE.UTF-8')
    monkeypatch.setenv('LVM_SYSTEM_DIR', '/nowhere')
    conf_file = tmp_path / 'lvm.conf'
    if conf_file_is_there:
        conf_file.touch()
    seen = tmp_path / 'seen'
    lvm.write('echo "$LC_ALL $LVM_SYSTEM_DIR $LVM_SUPPRESS_FD_WARNINGS"'
              f" >> {seen}; echo '{REPORT}'")
    vg = volume_group(str(conf_file), suppress_fd_warnings=True)
    vg.inventory()
    vg.rename('a', 'b')
    vg.change('b', add_tags=['t'])
    system_dir = str(tmp_path) if conf_file_is_there else '/nowhere'
    assert seen.read_text() == f'C {system_dir} 1\n' * 3


OPEN_FILE = '/proc/12/fd/5 fe:3'


@pytest.mark.parametrize(('said', 'exit_code', 'complete'), [
    ('', 0, True), ('', 1, True),
    ("find: '/proc/9': No such file or directory", 1, True),
    ("find: '/proc/9/fd': No such file or directory", 1, True),
    ("find: '/proc/9/fd/3': No such process", 1, True),
    ("stat: cannot statx '/proc/9/fd/3': No such file or directory", 1, True),
    ("find: '/proc/1/fd/0': Permission denied", 1, False),
    ("find: 'stat': No such file or directory", 1, False)])
def test_open_files_that_could_not_be_read_are_logged(
        lvm, caplog, said, exit_code, complete):
    lvm.write(f'echo "{OPEN_FILE}"; echo -n "{said}" >&2; exit {exit_code}')
    assert volume_group().open_files(['254:3']) == ([OPEN_FILE], complete)
    assert ('WARNING' in caplog.text) is not complete
    assert complete or (
        'Cannot determine all processes that hold LVs of volume group vg '
        f'open: {said} (one of 1 problems).') in caplog.text


@pytest.mark.parametrize(('script', 'why'), [
    ('exec sleep 60', '`find /proc` took longer than 1 seconds'),
    ('echo gone wrong >&2; exit 2', 'gone wrong'), ('exit 3', 'exit code 3')])
def test_a_look_for_open_files_that_fails_is_logged(lvm, caplog, script, why):
    lvm.write(script)
    assert volume_group(timeout=1).open_files(['254:3']) == ([], False)
    assert f'open: {why} (one of 1 problems).' in caplog.text


LVS = inventory('device-mapper')


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """A function that creates files in place of LVs' device nodes."""
    def create(*names):
        for name in names:
            recorded('qcow2').write(tmp_path / name)
            os.truncate(tmp_path / name, LVS.by_name[name].size)
        return VolumeGroup(f'..{tmp_path}', 'sudo', None, False, 60)

    monkeypatch.setattr(volume_group_module, '_leads_to',
                        lambda node, lv: pathlib.Path(node).is_file())
    return create


def contents_of(vg, *names):
    found = vg.contents([LVS.by_name[name] for name in names])
    assert found.keys() == set(names)
    return [str(found[name]) for name in names]


def test_contents_of_an_lv_are_read_if_it_has_a_device(nodes):
    vg = nodes('active', 'inactive', 'suspended')
    assert contents_of(vg, 'active', 'inactive', 'suspended', 'origin') == [
        'qcow2 image of 10 GiB', 'qcow2 image of 10 GiB',
        'not read: suspended', 'not read: it has no device node']


def test_without_a_device_there_is_no_command(nodes, monkeypatch, caplog):
    vg = nodes('suspended')
    monkeypatch.setattr(samples.Samples, 'READER', ('false',))
    assert contents_of(vg, 'inactive', 'suspended') == [
        'not read: inactive', 'not read: suspended']
    assert contents_of(vg) == []
    assert not caplog.records


@pytest.mark.parametrize(('number', 'read'), [
    (LVS.by_name['active'].device, True), ('254:99', False), ('', False)])
def test_the_node_of_another_device_is_not_read(nodes, monkeypatch, number,
                                                read):
    vg = nodes('active')
    monkeypatch.undo()
    monkeypatch.setattr(block_device, 'number', lambda path: number)
    assert (contents_of(vg, 'active')
            != ['not read: it has no device node']) is read


def test_a_file_in_place_of_a_device_is_not_read(nodes, monkeypatch):
    vg = nodes('active')
    monkeypatch.undo()
    assert contents_of(vg, 'active') == ['not read: it has no device node']


def test_contents_are_noted_if_no_file_can_be_opened(nodes, monkeypatch,
                                                     caplog):
    vg = nodes('active')
    monkeypatch.setattr(os, 'memfd_create', mock.Mock(
        side_effect=OSError(24, 'Too many open files')))
    assert contents_of(vg, 'active', 'inactive') == [
        'not read: see the log of cinder-volume', 'not read: inactive']
    assert 'Too many open files' in caplog.text


@pytest.mark.parametrize(('reader', 'why'), [
    (('sh', '-c', 'echo no such luck >&2; exit 3'), 'no such luck'),
    (('echo', 'garbage'), 'device_reader.py printed garbage'),
    (('false',), 'exit code 1'),
    (('sleep', '60'), 'device_reader.py took longer than 1 seconds')])
def test_a_reader_that_fails_is_logged_and_noted(nodes, monkeypatch, caplog,
                                                 reader, why):
    monkeypatch.setattr(samples.Samples, 'READER', reader)
    monkeypatch.setattr(samples.Samples, 'SECONDS', -9)
    assert contents_of(nodes('active'), 'active', 'inactive') == [
        'not read: see the log of cinder-volume', 'not read: inactive']
    record, = (record for record in caplog.records
               if record.name == 'cinder_lvm_manage.volume_group')
    assert record.levelname == 'WARNING'
    assert why in record.getMessage()
