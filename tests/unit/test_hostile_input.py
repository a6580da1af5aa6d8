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


"""Whatever comes in from outside is understood or refused, never run."""

import json
import string

from hypothesis import example
from hypothesis import given
from hypothesis import strategies as st
import pytest

from cinder_lvm_manage import adoption
from cinder_lvm_manage import errors
from cinder_lvm_manage import listing
from cinder_lvm_manage import logical_volume
from cinder_lvm_manage.naming import CinderNames
from cinder_lvm_manage.reference import Reference
from tests.unit.reports import inventory

ZOO = inventory('zoo')
LEGAL = string.ascii_letters + string.digits + '+_.-'

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8)
references = anything | st.dictionaries(
    st.sampled_from(['source-name', 'source-id', 'name', '']), anything)
lv_names = st.text(LEGAL, min_size=1, max_size=127).filter(
    lambda name: not name.startswith('-') and name not in ('.', '..'))


@given(references)
@example({'source-name': '--config=x'})
@example({'source-name': '../../etc/passwd'})
@example({'source-name': 'a\n'})
@example({'source-name': '$(reboot)'})
@example({'source-name': 'vg/lv'})
@example({'source-id': 'AAAAAA-AAAA-AAAA-AAAA-AAAA-AAAA-AAAAAA\n'})
def test_a_reference_is_of_lvms_form_or_refused(existing_ref):
    try:
        reference = Reference.parse(existing_ref)
    except errors.InvalidReference as refused:
        assert len(str(refused)) < 1000  # noqa: PT017 - may not be raised
    else:
        assert (logical_volume.is_lv_name(reference.name)
                or logical_volume.is_lv_uuid(reference.uuid))


@given(lv_names)
def test_every_legal_name_is_a_reference(name):
    assert Reference.parse({'source-name': name}).name == name


@given(st.text())
def test_a_name_with_any_other_character_is_none(name):
    assert logical_volume.is_lv_name(name) <= (set(name) <= set(LEGAL))


@given(anything | st.text().map(lambda text: {'source-name': text})
       | anything.map(lambda value: json.dumps(value, default=str)))
def test_a_marker_is_understood_or_refused(marker):
    try:
        listing.page(ZOO.lvs, marker, 1, 0, ['reference'], ['asc'])
    except errors.InvalidPage as refused:
        assert len(str(refused)) < 1000  # noqa: PT017 - may not be raised


@given(lv_names, st.uuids().map(str),
       st.frozensets(st.sampled_from(['inactive', 'skipped', 'manual'])),
       st.lists(st.text(LEGAL + '/=!:&#', min_size=1)))
def test_a_journal_is_read_as_it_was_written(name, adopter, state, others):
    journal = adoption.Journal(adopter, name, state)
    assert all(set(tag) <= set(LEGAL + '/=!:&#') and len(tag) <= 1024
               for tag in journal.tags)
    lv = ZOO.lvs[0]._replace(tags=(*others, *journal.tags))
    if not any(tag.startswith('cinder_lvm_manage:') for tag in others):
        assert adoption.Journal.of(lv) == journal


@given(st.lists(st.text()))
def test_tags_that_somebody_else_wrote_are_a_journal_or_none(tags):
    journal = adoption.Journal.of(ZOO.lvs[0]._replace(tags=tuple(
        'cinder_lvm_manage:' + tag for tag in tags)))
    assert journal is None or logical_volume.is_lv_name(journal.former_name)


@given(st.text().filter(lambda text: '%' not in text), st.uuids().map(str))
@example('volume.*', '00000000-0000-4000-8000-000000000000')
@example('(', '00000000-0000-4000-8000-000000000000')
def test_a_name_template_is_taken_literally(prefix, id_):
    names = CinderNames(prefix + '%s', 'snapshot-%s')
    assert names.volume_id(prefix + id_) == id_
    assert names.volume_id(f'x{prefix}{id_}x') is None


@pytest.mark.parametrize('template', ['volume-%s', '%s', 'a%sb', 'x.%s'])
def test_other_templates_are_understood(template):
    id_ = '00000000-0000-4000-8000-000000000000'
    assert CinderNames(template, 's-%s').volume_id(template % id_) == id_
