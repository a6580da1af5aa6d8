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

"""README.rst tells every reason and every option, in the code's words."""

import pathlib
import types

import pytest

from cinder_lvm_manage import opts
from cinder_lvm_manage import rules

README = ' '.join(pathlib.Path(__file__).parents[2].joinpath(
    'README.rst').read_text().split())

RULES = rules.AS_ANY + rules.AS_VOLUME + rules.AS_SNAPSHOT

# What stands in the README for the names that a reason speaks of.
WORDS = {
    'vg': 'VG',
    'lv': types.SimpleNamespace(name='LV', origin='ORIGIN', pool='POOL',
                                attr='ATTR', size='SIZE', provisioning='THIN'),
    'claim': types.SimpleNamespace(owner='ID', origin_owner='ID', parent='ID'),
    'case': types.SimpleNamespace(
        dependents='LVS', extend_to='SIZE', users=', USER',
        inventory=types.SimpleNamespace(free='SIZE'),
        policy=types.SimpleNamespace(thin_pool='POOL'))}


@pytest.mark.parametrize('rule', RULES, ids=lambda rule: rule.why)
def test_a_reason_stands_there_with_its_remedy(rule):
    row = f'* - {rule.why.format(**WORDS)} - {rule.remedy.format(**WORDS)} '
    assert row in README


@pytest.mark.parametrize('opt', opts.manage_opts, ids=lambda opt: opt.name)
def test_an_option_stands_there_with_default_and_meaning(opt):
    assert f'* - ``{opt.name}`` - {opt.default} - {opt.help} ' in README
