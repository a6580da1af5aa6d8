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


"""The driver on a volume group that another host uses too, without a cluster.

tests/lab/lvmlockd_stand_in.py says what stands in for lvmlockd.
"""


from cinder import context
from cinder import exception
from cinder import objects
import pytest

from cinder_lvm_manage import peers

CONNECTOR = {'initiator': 'iqn.lab:one', 'host': 'compute'}


@pytest.fixture
def driver(load, lvm):
    """The driver on a shared group."""
    return load(lvm_manage_without_device_mapper=False,
                lvm_manage_local_coordinator=True)


@pytest.fixture
def managed(driver, group, volume):
    """The volume of an LV that was inactive."""
    group.create('data1', '4m')
    managed = volume()
    driver.manage_existing(managed, {'source-name': 'data1'})
    return managed


def test_a_listing_says_that_lvm_cannot_tell_who_has_it_active(
        driver, group, lvm):
    group.create('data1', '4m')
    group.create('data2', '4m')
    lvm.activate(group.names()['data1'], 'there')
    lvm.activate(group.names()['data2'], 'here')
    listed = driver.get_manageable_volumes([], None, 10, 0, ['reference'],
                                           ['asc'])
    assert [entry['extra_info'].get('active_elsewhere')
            for entry in listed] == ['unknown', None]


@pytest.mark.parametrize('active', [False, True])
def test_a_managed_lv_can_be_used_on_any_host(driver, group, lvm, volume,
                                              active):
    group.create('data1', '4m')
    if active:
        lvm.activate(group.names()['data1'], 'here')
    managed = volume()
    driver.manage_existing(managed, {'source-name': 'data1'})
    assert lvm.active() == {}
    assert group.names().keys() == {managed.name}
    driver.unmanage(managed)
    assert lvm.active() == {}
    assert group.names().keys() == {'data1'}
    assert group.tags('data1') == set()


def test_an_lv_that_another_host_has_active_is_not_managed(
        driver, group, lvm, volume, caplog):
    group.create('data1', '4m')
    lvm.activate(group.names()['data1'], 'there')
    changes = group.changes()
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='is active on another host'):
        driver.manage_existing(volume(), {'source-name': 'data1'})
    assert group.changes() == changes
    assert 'Failed to perform manage_existing' in caplog.text


def test_an_export_keeps_the_lv_active(driver, group, lvm, managed):
    admin = context.get_admin_context()
    lv_uuid = group.names()[managed.name]
    journal = group.tags(managed.name)
    driver.create_export(admin, managed, CONNECTOR)
    assert lvm.active() == {lv_uuid: 'here'}
    assert group.tags(managed.name) == journal | {
        'cinder_lvm_export:host=lab/lvm'}
    driver.extend_volume(managed, 1)
    assert lvm.active() == {lv_uuid: 'here'}
    driver.remove_export(admin, managed)
    assert lvm.active() == {}
    assert group.tags(managed.name) == journal


def test_after_an_export_that_fails_this_host_is_asked_first(
        driver, group, lvm, managed, monkeypatch):
    """Something of the target may be left, and keep the LV active."""
    def fail(*_args):
        raise exception.ISCSITargetCreateFailed(volume_id=managed.id)

    journal = group.tags(managed.name)
    admin = context.get_admin_context()
    monkeypatch.setattr(driver.target_driver, 'create_export', fail)
    with pytest.raises(exception.ISCSITargetCreateFailed):
        driver.create_export(admin, managed, CONNECTOR)
    assert lvm.active() == {}
    assert group.tags(managed.name) == journal | {
        'cinder_lvm_export:host=lab/lvm'}
    driver.remove_export(admin, managed)
    assert group.tags(managed.name) == journal


def test_a_new_volume_is_inactive(driver, group, lvm, volume):
    new = volume()
    driver.create_volume(new)
    assert group.names().keys() == {new.name}
    assert lvm.active() == {}
    driver.delete_volume(new)
    assert group.names() == {}


@pytest.mark.parametrize('method', [
    lambda driver, volume: driver.delete_volume(volume),
    lambda driver, volume: driver.unmanage(volume),
    lambda driver, volume: driver.extend_volume(volume, 2),
    lambda driver, volume: driver.create_export(
        context.get_admin_context(), volume, CONNECTOR),
    lambda driver, volume: driver.initialize_connection(volume, CONNECTOR),
], ids=['delete', 'unmanage', 'extend', 'create_export', 'connect'])
def test_nothing_is_done_with_a_volume_that_another_host_has(
        driver, group, lvm, managed, method):
    managed.launched_at = managed.created_at
    managed.save()
    lvm.activate(group.names()[managed.name], 'there')
    changes = group.changes()
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='is active on another host'):
        method(driver, managed)
    assert group.changes() == changes


def tag(group, volume, host):
    group.lvm('lvchange', '--addtag', f'cinder_lvm_export:host={host}/lvm',
              f'{group.name}/{volume.name}')


def test_a_volume_whose_host_failed_can_be_detached(driver, group, lvm,
                                                    managed):
    tag(group, managed, 'there')
    assert driver.terminate_connection(managed, CONNECTOR) is False
    driver.remove_export(context.get_admin_context(), managed)
    assert lvm.active() == {}
    assert 'cinder_lvm_export' not in ' '.join(group.tags(managed.name))


class Attached:
    """A volume with an export, and its attachments.

    What Cinder's API and its manager do around the driver is done here.
    """

    def __init__(self, driver, volume, *connectors):
        self._admin = context.get_admin_context()
        self._driver = driver
        self._id = volume.id
        self.attachments = []
        for connector in connectors:
            self.attach(connector)
        self._save('in-use')

    def volume(self):
        return objects.Volume.get_by_id(self._admin, self._id)

    def attach(self, connector):
        attachment = objects.VolumeAttachment(
            self._admin, volume_id=self._id, connector=connector,
            attach_status='attached' if connector else 'reserved')
        attachment.create()
        self.attachments.append(attachment)
        if connector:
            self._driver.create_export(self._admin, self.volume(), connector)

    def disconnect(self):
        return self._driver.terminate_connection(self.volume(), CONNECTOR)

    def remove_export(self):
        self._driver.remove_export(self._admin, self.volume())

    def forget_attachments(self):
        for attachment in self.attachments:
            attachment.destroy()
        self._save('available')

    def _save(self, status):
        volume = self.volume()
        volume.status = status
        volume.save()


@pytest.mark.parametrize('other', [
    pytest.param(dict(CONNECTOR, initiator='iqn.lab:two'), id='at once'),
    pytest.param(None, id='without a connector')])
def test_an_export_ends_although_no_attachment_was_the_last(
        driver, group, lvm, managed, other):
    journal = group.tags(managed.name)
    attached = Attached(driver, managed, CONNECTOR, other)
    assert attached.disconnect() is True
    if other:
        assert attached.disconnect() is True
    driver.get_volume_stats(refresh=True)
    assert lvm.active() == {group.names()[managed.name]: 'here'}
    attached.forget_attachments()
    driver.get_volume_stats(refresh=True)
    assert lvm.active() == {}
    assert group.tags(managed.name) == journal
    changes = group.changes()
    driver.get_volume_stats(refresh=True)
    assert group.changes() == changes


def test_an_export_that_could_not_be_removed_is_removed_later(
        driver, lvm, managed, monkeypatch, caplog):
    def fail(*_args):
        raise exception.ISCSITargetRemoveFailed(volume_id=managed.id)

    attached = Attached(driver, managed, CONNECTOR)
    assert attached.disconnect() is False
    with monkeypatch.context() as broken:
        broken.setattr(driver.target_driver, 'remove_export', fail)
        with pytest.raises(exception.ISCSITargetRemoveFailed):
            attached.remove_export()
        attached.forget_attachments()
        driver.get_volume_stats(refresh=True)
        assert (f'Volume {managed.id} is not attached any more, but its '
                'export cannot be removed') in caplog.text
        assert [*lvm.active().values()] == ['here']
    driver.get_volume_stats(refresh=True)
    assert lvm.active() == {}


@pytest.mark.parametrize('other', [
    pytest.param(dict(CONNECTOR, initiator='iqn.lab:two'), id='connected'),
    pytest.param(None, id='connecting')])
def test_an_export_stays_for_an_attachment_that_cinder_has_not_seen(
        driver, lvm, managed, other):
    """The other one began during a detach, or could not be connected."""
    attached = Attached(driver, managed, CONNECTOR, other)
    attached.remove_export()
    driver.get_volume_stats(refresh=True)
    assert [*lvm.active().values()] == ['here']
    attached.forget_attachments()
    driver.get_volume_stats(refresh=True)
    assert lvm.active() == {}


@pytest.mark.parametrize('status', ['deleting', 'unmanaging',
                                    'error_managing_deleting'])
def test_the_export_of_a_volume_that_is_deleted_ends(driver, lvm, managed,
                                                     status):
    attached = Attached(driver, managed, CONNECTOR, None)
    volume = attached.volume()
    volume.status = status
    volume.save()
    attached.remove_export()
    assert lvm.active() == {}


def test_a_new_export_is_not_taken_for_the_one_before(driver, lvm, managed):
    """Not even if Cinder has no record of what uses it."""
    attached = Attached(driver, managed, CONNECTOR, None)
    assert attached.disconnect() is True
    attached.attach(CONNECTOR)
    attached.forget_attachments()
    driver.get_volume_stats(refresh=True)
    assert [*lvm.active().values()] == ['here']


def test_an_export_without_attachments_is_left_to_who_asked_for_it(
        driver, lvm, managed):
    """The API allows os-initialize_connection without anything before it."""
    admin = context.get_admin_context()
    driver.create_export(admin, managed, CONNECTOR)
    managed.status = 'available'
    managed.save()
    assert driver.terminate_connection(managed, CONNECTOR) is False
    driver.get_volume_stats(refresh=True)
    assert [*lvm.active().values()] == ['here']
    driver.remove_export(admin, managed)
    assert lvm.active() == {}


def test_an_export_that_another_host_has_since_is_left_to_it(
        driver, lvm, group, managed, caplog):
    attached = Attached(driver, managed, CONNECTOR, None)
    assert attached.disconnect() is True
    attached.forget_attachments()
    lvm.expire('here')
    lvm.activate(group.names()[managed.name], 'there')
    changes = group.changes()
    driver.get_volume_stats(refresh=True)
    driver.get_volume_stats(refresh=True)
    assert [*lvm.active().values()] == ['there']
    assert group.changes() == changes
    assert 'cannot be removed' not in caplog.text


def test_a_service_of_a_cluster_needs_a_shared_group(load):
    driver = load(lvm_manage_local_coordinator=True)
    driver.cluster_name = 'lab@lvm'
    with pytest.raises(exception.VolumeBackendAPIException,
                       match='is not shared'):
        driver.check_for_setup_error()


@pytest.mark.parametrize(('option', 'value', 'why'), [
    ('lvm_type', 'thin', 'lvm_type is thin'),
    ('lvm_type', 'auto', 'lvm_type is auto'),
    ('lvm_manage_local_coordinator', False,
     'backend_url in section coordination has the scheme file'),
])
def test_a_service_does_not_start_in_a_cluster(clustered, monkeypatch, option,
                                               value, why):
    monkeypatch.setattr(clustered.configuration, option, value, raising=False)
    with pytest.raises(exception.VolumeBackendAPIException, match=why):
        clustered.check_for_setup_error()


@pytest.fixture
def clustered(driver, managed):
    """The driver as it starts in a cluster, to which the volume belongs."""
    driver.cluster_name = managed.cluster_name = 'lab@lvm'
    managed.save()
    return driver


@pytest.mark.parametrize(('exported_by', 'active_on', 'fields', 'ended'), [
    (None, 'here', {'status': 'available'}, True),
    ('lab', 'here', {'status': 'available'}, True),
    ('there', 'here', {'status': 'available'}, True),
    ('lab', 'here', {'status': 'error'}, True),
    (None, 'here', {'status': 'extending'}, True),
    (None, 'here', {'status': 'in-use'}, False),
    ('there', 'here', {'status': 'in-use'}, False),
    ('lab', 'here', {'status': 'in-use'}, False),
    # Cinder connects to these without an attachment.
    ('lab', 'here', {'status': 'attaching'}, False),
    ('lab', 'here', {'status': 'backing-up'}, False),
    ('lab', 'here', {'status': 'restoring-backup'}, False),
    ('lab', 'here', {'status': 'available', 'migration_status': 'migrating'},
     False),
])
def test_a_service_that_starts_deactivates_what_it_left(
        clustered, group, lvm, managed, exported_by, active_on, fields,
        ended):
    """What it may export keeps a tag that names it."""
    journal = group.tags(managed.name)
    managed.update(fields)
    managed.save()
    if exported_by:
        tag(group, managed, exported_by)
    lvm.activate(group.names()[managed.name], active_on)
    before = lvm.active()
    clustered.check_for_setup_error()
    if ended:
        assert lvm.active() == {}
        assert group.tags(managed.name) == journal
    else:
        assert lvm.active() == before
        assert group.tags(managed.name) == journal | {
            'cinder_lvm_export:host=lab/lvm'}


@pytest.mark.parametrize(('exported_by', 'active_on'), [
    ('lab', None), (None, 'there'), ('there', 'there')])
def test_a_service_that_starts_leaves_the_rest_alone(
        clustered, group, lvm, managed, exported_by, active_on):
    if exported_by:
        tag(group, managed, exported_by)
    if active_on:
        lvm.activate(group.names()[managed.name], active_on)
    before = lvm.active(), group.tags(managed.name)
    clustered.check_for_setup_error()
    assert (lvm.active(), group.tags(managed.name)) == before


@pytest.mark.parametrize('connector', [None, CONNECTOR])
def test_a_service_that_starts_ends_an_export_that_no_server_knows(
        clustered, group, lvm, managed, connector):
    managed.status = 'attaching'
    managed.save()
    objects.VolumeAttachment(
        context.get_admin_context(), volume_id=managed.id,
        connector=connector, attach_status='attaching').create()
    tag(group, managed, 'lab')
    lvm.activate(group.names()[managed.name], 'here')
    clustered.check_for_setup_error()
    assert bool(lvm.active()) is bool(connector)


def test_a_service_starts_although_an_lv_cannot_be_deactivated(
        clustered, group, lvm, managed, monkeypatch, caplog):
    def fail(*_args):
        raise exception.ISCSITargetRemoveFailed(volume_id=managed.id)

    managed.status = 'available'
    managed.save()
    monkeypatch.setattr(clustered.target_driver, 'remove_export', fail)
    lvm.activate(group.names()[managed.name], 'here')
    clustered.check_for_setup_error()
    assert f'Cannot deactivate LV {managed.name}: ' in caplog.text
    assert lvm.active() == {group.names()[managed.name]: 'here'}


def test_a_service_that_starts_names_an_unknown_exporter(
        clustered, group, managed, caplog):
    tag(group, managed, 'renamed')
    clustered.check_for_setup_error()
    assert (f'Volume {managed.id} was exported by renamed@lvm, which is no '
            'service of cluster lab@lvm.') in caplog.text


def test_a_service_is_asked_only_when_all_exports_are_ensured(
        clustered, monkeypatch):
    listening = []
    monkeypatch.setattr(peers.Peers, 'listen',
                        lambda self: listening.append(self))
    clustered.check_for_setup_error()
    assert listening == []
    clustered.set_initialized()
    assert listening == [clustered._peers]
