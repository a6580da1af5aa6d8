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

"""CinderApi: what it makes of Cinder's answers."""

import json
from unittest import mock

import ddt
from openstack import connection
from openstack import exceptions

from osc_volume_adopt import errors
from osc_volume_adopt.api import CinderApi
from osc_volume_adopt.errors import BackendError
from osc_volume_adopt.manageable import Location
from osc_volume_adopt.tests.unit import fakes


def api(*responses):
    """The API of a Cinder that answers thus, one after another."""
    to = mock.create_autospec(connection.Connection, instance=True)
    to.block_storage = mock.Mock(spec=['request'])
    to.block_storage.request.side_effect = responses
    return CinderApi(to)


def rows(*names, what='volumes', **more):
    return fakes.answer(200, json.dumps({f'manageable-{what}': [
        fakes.SAFE | {'reference': {'source-name': name}} | more
        for name in names]}))


@ddt.ddt
class CinderApiTest(fakes.InAFolder):

    @ddt.data(401, 403, 500)
    def test_an_error_is_raised_with_cinders_message(self, status):
        with self.assertRaisesRegex(exceptions.HttpException, f'{status}.*no'):
            list(api(fakes.answer(status)).manageable(fakes.HOST))

    def test_all_pages_are_listed(self):
        self.assertEqual(['a', 'b', 'c'], [lv.name for lv in api(
            rows('a', 'b'), rows('c'), rows()).manageable(fakes.HOST)])

    def test_all_pages_of_snapshots_are_listed(self):
        of = {'source-name': 'data1'}
        cinder = api(*(rows(*names, what='snapshots', source_reference=of)
                       for names in ('ab', 'c', '')))
        self.assertEqual(
            [('a', 'data1'), ('b', 'data1'), ('c', 'data1')],
            [(snapshot.lv.name, snapshot.origin)
             for snapshot in cinder.manageable_snapshots(fakes.HOST)])

    def test_all_pages_of_volume_types_are_read(self):
        links = [{'rel': 'next', 'href': 'http://proxy/types?marker=id-a'}]
        first, last = ({'volume_types': [{'id': f'id-{name}', 'name': name}]}
                       for name in 'ab')
        cinder = api(*(fakes.answer(200, json.dumps(page)) for page in (
            first | {'volume_type_links': links}, last)))
        self.assertEqual({'a', 'b'}, cinder.volume_types().keys())
        call = cinder._connection.block_storage.request.call_args
        self.assertEqual({'marker': 'id-a'}, call.kwargs['params'])

    def test_the_transfer_of_one_volume_is_cancelled(self):
        """Cinder lists only that one, as all may not fit on a page."""
        transfers = [{'id': f't-{name}', 'volume_id': f'v-{name}'}
                     for name in 'ab']
        cinder = api(fakes.answer(200, json.dumps({'transfers': transfers})),
                     fakes.answer(202))
        cinder.cancel_transfer('v-b')
        listed, cancelled = (
            cinder._connection.block_storage.request.call_args_list)
        self.assertEqual('v-b', listed.kwargs['params']['volume_id'])
        self.assertEqual(('/volume-transfers/t-b', 'DELETE'), cancelled.args)

    @ddt.data((fakes.HOST, 'host', 'lab@lvm#lvm'),
              (Location(cluster='c@lvm#lvm'), 'cluster', 'c@lvm#lvm'))
    @ddt.unpack
    def test_a_request_names_either_a_host_or_a_cluster(self, location, key,
                                                        name):
        created = fakes.answer(202, json.dumps({'volume': {'id': 'x'}}))
        cinder = api(rows(), created)
        list(cinder.manageable(location))
        self.assertEqual('x', cinder.manage(
            location, {'source-name': 'a'}, {'name': 'b'}))
        request = cinder._connection.block_storage.request
        listed, managed = request.call_args_list
        for call, sent in ((listed, listed.kwargs['params']),
                           (managed, managed.kwargs['json']['volume'])):
            self.assertEqual({key: name}, {
                each: sent[each] for each in ('host', 'cluster')
                if each in sent})
            # Cinder ignores the cluster of a manage before 3.16, and that of
            # a listing before 3.17.
            self.assertEqual('3.17', call.kwargs['microversion'])

    def test_a_driver_that_ignores_markers_is_reported(self):
        with self.assertRaisesRegex(BackendError, 'ignores the marker'):
            list(api(rows('a'), rows('a')).manageable(fakes.HOST))

    def test_a_volume_with_other_metadata_is_not_taken(self):
        # Cinder's answer if the filter is disabled.
        answer = fakes.answer(200, json.dumps({'volumes': [
            {'id': 'theirs', 'metadata': {}},
            {'id': 'ours', 'metadata': {'mark': 'x', 'more': 'y'}}]}))
        self.assertEqual(['ours'], [
            volume['id'] for volume in api(answer).volumes_with(
                {'mark': 'x'})])

    def test_what_does_not_exist_is_none(self):
        gone = fakes.answer(404, '{"itemNotFound": {"code": 404}}')
        self.assertIsNone(api(gone).volume('x'))
        self.assertIsNone(api(gone).snapshot('x'))
        self.assertIsNone(api(gone).default_volume_type())

    @ddt.data(CinderApi.volume, CinderApi.snapshots, CinderApi.unmanage)
    def test_an_answer_that_is_not_json_is_an_error_of_the_api(self, ask):
        # Another exception would end the run of all volumes.
        with self.assertRaisesRegex(exceptions.SDKException,
                                    'of cinder to a (GET|POST) request is not '
                                    'JSON'):
            ask(api(fakes.answer(200, '<html>Maintenance</html>')), 'x')

    @ddt.data('default backend - 404', '', '{"message": "no Route matched"}')
    def test_a_proxy_does_not_say_that_a_volume_is_gone(self, text):
        # Otherwise the journal would lose the volume.
        for ask in (CinderApi.volume, CinderApi.snapshot):
            with self.assertRaises(exceptions.NotFoundException):
                ask(api(fakes.answer(404, text)), 'x')

    @ddt.data(
        (401, ('Authentication failed for GET /v3/p/volumes (HTTP 401, no). '
              'The token is invalid or has expired: authenticate again, then '
              'retry.')),
        (403, ('This needs an administrator: GET /v3/p/volumes was refused '
              '(HTTP 403, no). Use credentials with the admin role.')),
        (500, ('The server failed to process GET /v3/p/volumes (HTTP 500, '
              'no). See the logs of cinder-api and cinder-volume.')),
        (400, 'GET /v3/p/volumes was refused (HTTP 400, no).'))
    @ddt.unpack
    def test_an_error_is_explained(self, status, text):
        self.assertEqual(text, errors.explain(fakes.refusal(status)))
