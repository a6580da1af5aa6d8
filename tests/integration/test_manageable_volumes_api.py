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

import json
import re
import subprocess
import sys

import pytest

from tests.lab import zoo


@pytest.fixture
def api(cinder):
    return cinder.api


@pytest.fixture
def managed(api, group):
    """A function that manages an LV, which is unmanaged at the end."""
    volumes = []

    def manage(ref, **fields):
        reply = api.manage(ref, **fields)
        assert reply.status == 202, reply
        volumes.append(reply.body['volume']['id'])
        return api.wait(volumes[-1], 'available')

    yield manage
    for volume_id in volumes:
        if api.show(volume_id).status != 404:
            assert api.unmanage(volume_id).status == 202
            api.wait_until_gone(volume_id)


def names(reply):
    assert reply.status == 200, reply
    return [entry['reference']['source-name']
            for entry in reply.body['manageable-volumes']]


def entry_of(api, name):
    entry, = (entry for entry in api.manageable_volumes(
                  detail=True).body['manageable-volumes']
              if entry['reference']['source-name'] == name)
    return entry


def test_the_summary_has_reference_size_and_safety(api):
    reply = api.manageable_volumes(sort='reference:asc')
    entries = reply.body['manageable-volumes']
    assert {'reference': {'source-name': 'size-1g-4m'}, 'size': 2,
            'safe_to_manage': True} in entries
    assert {'reference': {'source-name': 'scratch-pool'}, 'size': 1,
            'safe_to_manage': False} in entries
    assert 'scratch-pool_tdata' not in names(reply)


def test_the_detail_has_reasons_and_properties(api, group):
    pool = entry_of(api, 'scratch-pool')
    assert pool['reason_not_safe'] == (
        'is a thin pool (manage the thin volumes in it)')
    assert pool['cinder_id'] is None
    info = entry_of(api, 'tagged')['extra_info']
    assert info['source_id'] == group.names()['tagged']
    assert info['size_bytes'] == '4194304'
    assert info['layout'] == 'linear'
    assert set(info['tags'].split(',')) == {'backup', 'owner=db/primary'}


@pytest.mark.parametrize('host', ['lab@lvm', 'lab@lvm#lvm'])
def test_a_host_is_named_with_or_without_its_pool(api, host):
    assert 'size-1g' in names(api.manageable_volumes(host=host))


@pytest.mark.parametrize(('sort', 'key', 'reverse'), [
    ('reference:asc', 'reference', False),
    ('reference:desc', 'reference', True),
    ('size:asc', 'size', False), ('size:desc', 'size', True),
    ('size', 'size', True)])
def test_the_listing_is_sorted(api, sort, key, reverse):
    entries = api.manageable_volumes(sort=sort).body['manageable-volumes']
    values = [str(entry[key]) if key == 'reference' else entry[key]
              for entry in entries]
    assert values == sorted(values, reverse=reverse)


def test_pages_by_marker_show_everything_once(api):
    everything = names(api.manageable_volumes(sort='size:asc'))
    shown = []
    query: dict[str, str] = {}
    while page := names(api.manageable_volumes(sort='size:asc', limit=10,
                                               **query)):
        assert len(page) <= 10
        shown += page
        query = {'marker': json.dumps({'source-name': page[-1]})}
    assert shown == everything
    assert len(shown) > 30


def test_a_marker_may_be_a_uuid(api, group):
    everything = names(api.manageable_volumes(sort='reference:asc'))
    marker = json.dumps({'source-id': group.names()[everything[4]]})
    assert names(api.manageable_volumes(
        sort='reference:asc', marker=marker, offset=1,
        limit=2)) == everything[6:8]


@pytest.mark.parametrize('query', [
    {'marker': '{"source-name": "nope"}'}, {'marker': 'nope'},
    {'marker': '{"source-name": "a/b"}'}, {'sort': 'name:asc'},
    {'sort': 'size:up'}, {'limit': -1}])
def test_a_bad_page_is_a_bad_request(api, query):
    assert api.manageable_volumes(**query).status == 400


def test_listing_needs_microversion_3_8(api, cinder):
    for microversion, status in (('3.7', 404), ('3.8', 200)):
        assert api.request('GET', 'manageable_volumes',
                           params={'host': cinder.host},
                           microversion=microversion).status == status


def test_an_lv_is_managed_by_name_with_every_field_of_the_api(
        api, group, managed):
    uuid = group.names()['size-1g-4m']
    volume = managed({'source-name': 'size-1g-4m'}, name='data',
                     description='from before', bootable=True,
                     metadata={'origin': 'lab'}, availability_zone='nova',
                     volume_type='__DEFAULT__')
    assert volume['size'] == 2
    assert volume['name'] == 'data'
    assert volume['description'] == 'from before'
    assert volume['bootable'] == 'true'
    assert volume['metadata'] == {'origin': 'lab'}
    assert volume['availability_zone'] == 'nova'
    assert volume['volume_type'] == '__DEFAULT__'
    assert group.names()[f"volume-{volume['id']}"] == uuid
    entry = entry_of(api, f"volume-{volume['id']}")
    assert entry['cinder_id'] == volume['id']
    assert 'already managed' in entry['reason_not_safe']


def test_an_lv_is_managed_by_uuid_and_restored_by_unmanage(
        api, group, managed):
    before = group.names()
    volume = managed({'source-id': before['size-4m']})
    assert volume['size'] == 1
    assert api.unmanage(volume['id']).status == 202
    api.wait_until_gone(volume['id'])
    assert group.names() == before
    assert group.tags('size-4m') == set()
    managed({'source-name': 'size-4m'})


def test_a_volume_that_cinder_made_is_unmanaged_and_managed_again(api, group,
                                                                  managed):
    made = api.create(1).body['volume']['id']
    api.wait(made, 'available')
    assert api.unmanage(made).status == 202
    api.wait_until_gone(made)
    assert f'volume-{made}' in group.names()
    volume = managed({'source-name': f'volume-{made}'})
    assert api.delete(volume['id']).status == 202
    api.wait_until_gone(volume['id'])
    assert f"volume-{volume['id']}" not in group.names()


@pytest.mark.parametrize(('ref', 'why'), [
    ({'source-name': 'scratch-pool'}, 'is a thin pool'),
    ({'source-name': 'scratch-pool_tdata'}, 'is internal to LVM'),
    ({'source-name': 'thick-snapshot'}, 'is a snapshot of origin'),
    ({'source-name': 'read-only'}, 'is read-only'),
    ({'source-name': 'moving'}, 'is locked by a pvmove'),
    ({'source-name': 'thin'}, "this backend's volumes are thick"),
    ({'source-name': zoo.SNAPSHOT}, 'is a snapshot of'),
    ({'source-name': 'nope'}, 'has no LV with source-name nope'),
    ({'source-name': 'other/size-1g'}, 'a reference is'),
    ({'source-name': '--help'}, 'a reference is'),
    ({'source-name': 'x' * 5000}, 'a reference is'),
    ({'source-id': 'size-1g'}, 'a reference is'),
    ({'source-name': 'size-1g', 'source-id': 'x'}, 'a reference is'),
    ({}, 'a reference is')])
def test_a_refused_manage_ends_in_error_managing_and_is_logged(
        cinder, api, group, ref, why):
    before, changes = group.names(), group.changes()
    reply = api.manage(ref)
    assert reply.status == 202
    refused = reply.body['volume']['id']
    api.wait(refused, 'error')
    assert cinder.database.status(refused) == 'error_managing'
    logged = [line for line in cinder.log_text().splitlines()
              if f'as volume {refused}: ' in line]
    assert len(logged) == 1
    assert 'WARNING' in logged[0]
    assert why in logged[0]

    assert api.delete(refused).status == 202
    api.wait_until_gone(refused)
    assert group.names() == before
    assert group.changes() == changes


def test_a_bare_string_is_refused(cinder, api):
    reply = api.manage('size-1g')
    assert reply.status == 202
    refused = reply.body['volume']['id']
    api.wait(refused, 'error')
    assert f'as volume {refused}: a reference is' in (
        cinder.log_text())


def test_a_managed_lv_is_not_managed_again(cinder, api, managed):
    owner = managed({'source-name': 'size-1.5g'})
    name = f"volume-{owner['id']}"
    assert api.manage({'source-name': name}).status == 400
    uuid = entry_of(api, name)['extra_info']['source_id']
    refused = api.manage({'source-id': uuid}).body['volume']['id']
    api.wait(refused, 'error')
    assert f"is already managed as volume {owner['id']}" in cinder.log_text()
    assert api.delete(refused).status == 202
    api.wait_until_gone(refused)
    assert name in names(api.manageable_volumes())


def test_snapshots_are_listed_managed_and_unmanaged(cinder, api, group,
                                                    managed):
    before = group.names()
    origin = managed({'source-name': 'origin-of-two'})
    listed = api.request('GET', 'manageable_snapshots/detail', params={
        'host': cinder.host}).body['manageable-snapshots']
    safe = {entry['reference']['source-name']: entry for entry in listed
            if entry['safe_to_manage']}
    assert safe.keys() == {'thick-snapshot-1', 'thick-snapshot-2'}
    snapshots = []
    for name, entry in safe.items():
        assert entry['extra_info']['origin_volume_id'] == origin['id']
        reply = api.request('POST', 'manageable_snapshots', {'snapshot': {
            'volume_id': origin['id'], 'ref': {'source-name': name}}})
        assert reply.status == 202
        snapshots.append(reply.body['snapshot']['id'])
        snapshot = api.wait(snapshots[-1], 'available', kind='snapshot')
        assert snapshot['size'] == 2
    assert {f'_snapshot-{id_}' for id_ in snapshots} <= group.names().keys()
    for snapshot_id in snapshots:
        assert api.request('POST', f'snapshots/{snapshot_id}/action',
                           {'os-unmanage': {}}).status == 202
        api.wait_until_gone(snapshot_id, kind='snapshot')
    assert api.unmanage(origin['id']).status == 202
    api.wait_until_gone(origin['id'])
    assert group.names() == before


def test_an_origin_of_unmanaged_snapshots_is_not_deleted(cinder, api, group,
                                                         managed):
    before = group.names()
    origin = managed({'source-name': 'origin'})
    assert api.delete(origin['id']).status == 202
    api.wait(origin['id'], 'available')
    assert group.names()[f"volume-{origin['id']}"] == before['origin']
    assert ('LVM would also remove thick-snapshot, which Cinder does not '
            'manage') in cinder.log_text()


@pytest.mark.parametrize(('ref', 'why'), [
    ({'source-name': 'thick-snapshot'}, 'is a snapshot of LV origin, which'),
    ({'source-name': 'size-1g'}, 'is not a snapshot'),
    (None, 'a reference is'), ('thick-snapshot-1', 'a reference is')])
def test_another_lv_is_not_managed_as_snapshot(cinder, api, group, managed,
                                               ref, why):
    origin = managed({'source-name': 'origin-of-two'})
    before = group.changes()
    reply = api.request('POST', 'manageable_snapshots', {'snapshot': {
        'volume_id': origin['id'], 'ref': ref}})
    assert reply.status == 202
    refused = reply.body['snapshot']['id']
    api.wait(refused, 'error', kind='snapshot')
    assert re.search(f'as snapshot {refused}: .*{why}',
                     cinder.log_text())
    assert api.request('DELETE', f'snapshots/{refused}').status == 202
    api.wait_until_gone(refused, kind='snapshot')
    assert group.changes() == before


def test_an_operator_adopts_an_lv_with_the_cinder_client(cinder, group):
    before = group.names()
    cinder_client(cinder, 'manage', '--name', 'by-client', '--bootable',
                  '--id-type', 'source-id', cinder.host, before['striped'])
    volume, = (volume for volume in
               cinder.api.request('GET', 'volumes/detail').body['volumes']
               if volume['name'] == 'by-client')
    cinder.api.wait(volume['id'], 'available')
    listed = cinder_client(cinder, 'manageable-list', '--detailed', 'True',
                           cinder.host)
    row, = (line for line in listed.splitlines()
            if f"volume-{volume['id']}" in line)
    assert 'already managed' in row
    cinder_client(cinder, 'unmanage', volume['id'])
    cinder.api.wait_until_gone(volume['id'])
    assert group.names() == before


def cinder_client(cinder, *words):
    """Run python-cinderclient with these words, and return its output."""
    endpoint, _, project = cinder.url.rpartition('/')
    done = subprocess.run(
        [f'{sys.prefix}/bin/cinder', '--os-auth-type', 'noauth',
         '--os-endpoint', endpoint, '--os-user-id', 'admin',
         '--os-project-id', project, '--os-volume-api-version', '3.66',
         *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
