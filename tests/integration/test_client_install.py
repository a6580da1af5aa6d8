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

"""The client is installed on a workstation without Cinder and the driver."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import venv

CHECKOUT = pathlib.Path(__file__).parents[2]


def output(*command):
    return subprocess.run(
        list(map(str, command)), check=True, text=True,
        stdout=subprocess.PIPE, env={
            # It would add this checkout to the environment.
            **{name: value for name, value in os.environ.items()
               if name != 'PYTHONPATH'},
            # The copy has no Git history.
            'PBR_VERSION': '1.0'}).stdout


def test_the_client_needs_no_cinder(tmp_path):
    # A build leaves files beside the source.
    source = shutil.copytree(
        CHECKOUT / 'client', tmp_path / 'client',
        ignore=shutil.ignore_patterns('build', '*.egg-info'))
    # It is used once: pip itself and compiled files are not worth their time.
    venv.create(tmp_path / 'venv')
    pip = (sys.executable, '-m', 'pip', '--python', tmp_path / 'venv',
           '--disable-pip-version-check')
    output(*pip, 'install', '--quiet', '--no-compile', source)
    packages = {package['name'].lower().replace('_', '-') for package
                in json.loads(output(*pip, 'list', '--format', 'json'))}
    assert 'osc-volume-adopt' in packages
    assert not {'cinder', 'cinder-lvm-manage', 'os-brick'} & packages
    # This imports all commands.
    printed = output(tmp_path / 'venv' / 'bin' / 'openstack', 'volume',
                     'adoption')
    for command in ('list', 'show', 'plan', 'apply', 'undo', 'status',
                    'report', 'audit', 'recover'):
        assert f'volume adoption {command}' in printed
