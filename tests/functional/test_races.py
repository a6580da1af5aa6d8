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


"""Concurrent operations on one volume group."""

from concurrent import futures
import contextlib
import multiprocessing

from cinder import exception

PARALLEL = 50


def at_once(work, items):
    """Return what the work returns or raises for each of the items."""
    with futures.ThreadPoolExecutor(len(items)) as pool:
        done = [pool.submit(work, item) for item in items]
    return [each.exception() or each.result() for each in done]


def test_of_many_manages_of_one_lv_one_wins_and_is_named_to_the_others(
        group, driver, volume):
    group.create('data1', '4m')
    uuid = group.names()['data1']
    volumes = [volume() for _ in range(PARALLEL)]
    outcomes = at_once(lambda each: driver.manage_existing(
        each, {'source-name': 'data1'}), volumes)
    winner, = (each for each, outcome in zip(volumes, outcomes, strict=True)
               if outcome is None)
    assert group.names() == {winner.name: uuid}
    assert group.tags(winner.name) == {f'cinder_lvm_manage:id={winner.id}',
                                       'cinder_lvm_manage:name=data1'}
    for outcome in outcomes:
        if outcome is not None:
            assert isinstance(outcome, exception.ManageExistingAlreadyManaged)
            assert f'is already managed as volume {winner.id}' in str(outcome)


def test_many_manages_of_different_lvs_all_succeed(group, driver, volume):
    volumes = {f'data{number}': volume() for number in range(PARALLEL)}
    for name in volumes:
        group.create(name, '4m')
    before = group.names()
    assert at_once(lambda name: driver.manage_existing(
        volumes[name], {'source-name': name}), volumes) == [None] * PARALLEL
    assert group.names() == {volume.name: before[name]
                             for name, volume in volumes.items()}


def test_manage_unmanage_delete_and_listing_do_not_disturb_each_other(
        group, driver, volume):
    old, new = ([volume() for _ in range(8)] for _ in range(2))
    for number in range(8):
        group.create(f'old{number}', '4m')
        group.create(f'new{number}', '4m')
        driver.manage_existing(old[number], {'source-name': f'old{number}'})
    uuids = group.names()

    def work(number):
        ref = {'source-name': f'new{number}'}
        driver.manage_existing(new[number], ref)
        entries = driver.get_manageable_volumes(
            [], None, None, None, ['reference'], ['asc'])
        assert len(entries) == 16
        if number % 2:
            driver.unmanage(old[number])
        else:
            # The volume never was available, so its LV is released.
            driver.delete_volume(old[number])

    assert at_once(work, range(8)) == [None] * 8
    assert group.names() == (
        {f'old{number}': uuids[old[number].name] for number in range(8)}
        | {new[number].name: uuids[f'new{number}'] for number in range(8)})


def test_two_services_on_one_group_do_not_manage_the_same_lv(
        group, driver, volume):
    names = [f'data{number}' for number in range(10)]
    for name in names:
        group.create(name, '4m')
    uuids = set(group.names().values())

    def manage_all():
        for name in names:
            with contextlib.suppress(exception.ManageExistingAlreadyManaged):
                driver.manage_existing(volume(), {'source-name': name})

    other_service = multiprocessing.get_context('fork').Process(
        target=manage_all, daemon=True)
    other_service.start()
    manage_all()
    other_service.join()
    assert other_service.exitcode == 0
    managed = group.names()
    assert set(managed.values()) == uuids
    assert all(name.startswith('volume-') for name in managed)
