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

"""Tempest against a cloud with this driver: python -m tests.shows.tempest_run.

Runs Tempest's volume tests, those of cinder-tempest-plugin and this package's
own, and prints what passed, failed and was skipped, and why. Its exit status
is 1 when a test failed. With --in-tree a cloud with Cinder's own driver is
tested besides, and it is 1 when a test passed on that one alone. As root.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from collections.abc import Mapping
import configparser
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from typing import Any

import subunit
import testtools

from tests.lab import cloud
from tests.lab import keystone
from tests.lab import processes
from tests.lab import signals

OURS = 'cinder_lvm_manage.driver.LVMManageDriver'
IN_TREE = 'cinder.volume.drivers.lvm.LVMVolumeDriver'
_TESTS = (r'^(tempest\.api\.volume|cinder_tempest_plugin\.api'
          r'|cinder_lvm_manage_tempest_plugin)\.')
_SECONDS_TO_STOP = 60
_SCRIPTS = pathlib.Path(sysconfig.get_path('scripts'))

# Tests that do not say, or not in a way that Tempest heeds here, what they
# need: regular expressions on their names and tags. What they need is not
# here, whatever the driver; servers are in no lab.
_NEED_SERVER = (r'VolumesBackupsTest\.test_incremental_backup\[',)
_NEED_IMAGE = (r'\[.*\bimage\b', r'FromImageTest\.', r'VolumesImageMetadata\.',
               r'VolumesExtendTest\.test_volume_extend\[')
_NEED_DEVICE = (r'CreateVolumesFromSnapshotTest\.',
                r'CreateVolumesFromSourceVolumeTest\.',
                r'VolumeDependencyTests\.', r'GroupsV314Test\.',
                r'VolumeRetypeWithMigrationTest\.')


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a test.

    :ivar status: success, fail or skip
    :ivar text: why it was skipped, or the traceback
    """

    test: str
    status: str
    text: str


class Outcomes:
    """Of the tests of one run, in their order."""

    def __init__(self) -> None:
        self.all: dict[str, Outcome] = {}

    def add(self, outcome: Outcome) -> None:
        """One test has ended."""
        self.all[outcome.test] = outcome

    def of(self, status: str) -> list[Outcome]:
        """Those of one status."""
        return [each for each in self.all.values() if each.status == status]


def main() -> int:
    """Run the tests; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='tests.shows.tempest_run', description=(__doc__ or '').partition(
            '\n\n')[0])
    parser.add_argument('tests', nargs='?', default=_TESTS,
                        help='a regular expression, for fewer of them')
    parser.add_argument('--in-tree', action='store_true',
                        help="test Cinder's own LVM driver too")
    parser.add_argument('--device-mapper', action='store_true',
                        help='with snapshots, images and backups; needs '
                             'device-mapper')
    parser.add_argument('--logs', type=pathlib.Path,
                        help="a folder to keep the services' logs in; what "
                             'is in it is deleted')
    options = parser.parse_args()
    drivers = {'ours': OURS} | (
        {'in-tree': IN_TREE} if options.in_tree else {})
    columns = {}
    for column, driver in drivers.items():
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            try:
                columns[column] = _run(folder, driver, options)
            finally:
                if options.logs:
                    _keep(folder, options.logs / column)
    _tell(columns)
    return _judge(columns)


def _run(folder: pathlib.Path, driver: str,
         options: argparse.Namespace) -> Outcomes:
    print(f'\n{driver}', flush=True)
    started = time.monotonic()
    with cloud.running(folder, driver, options.device_mapper) as tested:
        print(f'Keystone at {tested.identity.url}, Cinder at '
              f"{tested.cinder_url}, backends {', '.join(tested.pools)}; "
              f'up after {time.monotonic() - started:.0f} seconds', flush=True)
        outcomes = _tempest(folder, tested, options)
    print(f'all stopped after {time.monotonic() - started:.0f} seconds',
          flush=True)
    return outcomes


def _tempest(folder: pathlib.Path, tested: cloud.Cloud,
             options: argparse.Namespace) -> Outcomes:
    # Tempest deletes each project's security groups, or finds none.
    tested.identity.offer('network', 'none', tested.identity.url)
    conf_path = _write_conf(folder, tested)
    command = [str(_SCRIPTS / 'tempest'), 'run', '--config-file',
               str(conf_path)]
    environment = {**os.environ,
                   'PATH': f"{_SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([str(_SCRIPTS / 'stestr'), 'init'], cwd=folder, check=True)
    listed = subprocess.run(
        [*command, '--list-tests', '--regex', options.tests], cwd=folder,
        env=environment, check=True, stdout=subprocess.PIPE,
        text=True).stdout.split()
    outcomes = Outcomes()
    chosen = folder / 'tests'
    with chosen.open('w') as file:
        for test in listed:
            reason = _left_out(test, options.device_mapper)
            if reason:
                outcomes.add(Outcome(_name(test), 'skip', reason))
            else:
                file.write(f'{test}\n')
    with (folder / 'tempest-run.log').open('wb') as log:
        process = processes.start(
            *command, '--subunit', '--load-list', str(chosen),
            '--concurrency', '1' if options.device_mapper else '2',
            cwd=folder, env=environment, stdin=subprocess.DEVNULL,
            stderr=log, stdout=subprocess.PIPE)
    _watch(process, outcomes)
    return outcomes


def _watch(process: subprocess.Popen[bytes], outcomes: Outcomes) -> None:
    """Add what becomes of each test, until the last."""
    try:
        result = testtools.StreamToDict(lambda test: _add(outcomes, test))
        result.startTestRun()
        subunit.ByteStreamToStreamResult(
            process.stdout, non_subunit_name='stdout').run(result)
        result.stopTestRun()
        if process.wait(_SECONDS_TO_STOP) and not outcomes.of('fail'):
            raise RuntimeError(f'tempest exited with {process.returncode}: '
                               'see tempest-run.log')
    finally:
        processes.stop(process, _SECONDS_TO_STOP)


def _left_out(test: str, device_mapper: bool) -> str | None:
    if any(re.search(part, test) for part in _NEED_SERVER):
        return 'left out: there is no Nova'
    if device_mapper:
        return None
    if any(re.search(part, test) for part in _NEED_IMAGE):
        return 'left out: there is no image service without device-mapper'
    if any(re.search(part, test) for part in _NEED_DEVICE):
        return ('left out: needs snapshots or copies data, without '
                'device-mapper')
    return None


def _name(test: str) -> str:
    """Without its tags."""
    return re.sub(r'\[.*\]$', '', test)


def _add(outcomes: Outcomes, test: Mapping[str, Any]) -> None:
    if test['status'] == 'exists' or test['id'] == 'stdout':
        return
    texts = {name: content.as_text()
             for name, content in test['details'].items()
             if content.content_type.type == 'text'}
    status = test['status']
    outcome = Outcome(_name(test['id']),
                      status if status in ('success', 'skip') else 'fail',
                      texts.get('reason') or texts.get('traceback', ''))
    begin, end = test['timestamps']
    seconds = (end - begin).total_seconds() if begin and end else 0
    print(f'{outcome.status:8}{seconds:6.1f} s  {outcome.test}', flush=True)
    outcomes.add(outcome)


def _write_conf(folder: pathlib.Path, tested: cloud.Cloud) -> pathlib.Path:
    conf = configparser.ConfigParser(interpolation=None)
    copies = str(tested.image is not None)
    seconds = '1200' if tested.image else '300'
    conf.read_dict({
        'DEFAULT': {'log_file': folder / 'tempest.log', 'debug': 'true',
                    'use_stderr': 'false'},
        'oslo_concurrency': {'lock_path': folder / 'tempest-lock'},
        'auth': {
            'use_dynamic_credentials': 'true',
            'create_isolated_networks': 'false',
            'admin_username': 'admin',
            'admin_password': keystone.PASSWORD,
            'admin_project_name': 'admin',
            'admin_domain_name': 'Default',
        },
        'identity': {'uri_v3': tested.identity.url, 'auth_version': 'v3',
                     'region': keystone.REGION},
        # Where there is no Glance, and for Neutron, whole classes of volume
        # tests would be left out or fail else, for the sake of one test each.
        'service_available': {'cinder': 'true', 'neutron': 'true',
                              'nova': 'false', 'glance': 'true',
                              'swift': 'false'},
        'compute': {'image_ref': tested.image or '',
                    'image_ref_alt': tested.image or ''},
        'volume': {
            'catalog_type': 'block-storage',
            'min_microversion': '3.0',
            'max_microversion': 'latest',
            'backend_names': ','.join(cloud.NAMES),
            'storage_protocol': 'iSCSI',
            'build_timeout': seconds,
        },
        'volume-feature-enabled': {
            'multi_backend': 'true',
            'manage_volume': 'true',
            'manage_snapshot': 'true',
            'snapshot': copies,
            'clone': copies,
            'volume_revert': copies,
            'backup': copies,
        },
    })
    path = folder / 'tempest.conf'
    with path.open('w') as file:
        conf.write(file)
    return path


def _keep(folder: pathlib.Path, kept: pathlib.Path) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for path in folder.glob('*.log'):
        shutil.copy(path, kept)


def _tell(columns: Mapping[str, Outcomes]) -> None:
    for column, outcomes in columns.items():
        for outcome in outcomes.of('fail'):
            print(f'\nfailed, {column}: {outcome.test}\n{outcome.text}')
    print('\nSkipped:')
    for line in _skips(columns):
        print(line)
    print('\n' + ''.join(f'{text:>10}' for text in ('', *columns)))
    for title, status in (('passed', 'success'), ('failed', 'fail'),
                          ('skipped', 'skip')):
        print(f'{title:10}' + ''.join(
            f'{len(outcomes.of(status)):10}' for outcomes in columns.values()))


def _skips(columns: Mapping[str, Outcomes]) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for outcomes in columns.values():
        for outcome in outcomes.of('skip'):
            tests = reasons.setdefault(outcome.text.strip(), [])
            if outcome.test not in tests:
                tests.append(outcome.test)
    for reason, tests in sorted(reasons.items()):
        yield f'  {reason}: {len(tests)}'
        yield from (f'    {test}' for test in sorted(tests))


def _judge(columns: Mapping[str, Outcomes]) -> int:
    ours = columns['ours']
    wrong = [outcome.test for outcome in ours.of('fail')]
    if not ours.of('success'):
        print('No test has passed.')
        return 1
    if 'in-tree' in columns:
        passed = {outcome.test for outcome in ours.of('success')}
        alone = [outcome.test for outcome in columns['in-tree'].of('success')
                 if outcome.test not in passed]
        print('\nPasses on the in-tree driver alone:', *alone or ['nothing'],
              sep='\n  ')
        wrong += alone
    return 1 if wrong else 0


if __name__ == '__main__':
    signals.unwind_when_stopped()
    sys.exit(main())
