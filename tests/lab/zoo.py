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

"""The zoo: LVs of every kind, as metadata of a real volume group."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from typing import Any

from oslo_utils import units

from tests.lab.metadata import EXTENT
from tests.lab.metadata import linear
from tests.lab.metadata import logical_volume
from tests.lab.metadata import logical_volumes
from tests.lab.metadata import segment
from tests.lab.scratch import ScratchVolumeGroup

# Names from Cinder's default templates.
VOLUME_ID = '11111111-1111-4111-8111-111111111111'
CLONE_ID = '22222222-2222-4222-8222-222222222222'
SNAPSHOT_ID = '33333333-3333-4333-8333-333333333333'
VOLUME = f'volume-{VOLUME_ID}'
CLONE = f'volume-{CLONE_ID}'
SNAPSHOT = f'_snapshot-{SNAPSHOT_ID}'
CLONE_IN_THE_MAKING = f'clone-snap-{CLONE_ID}'

GIB = units.Gi // EXTENT

_HIDDEN = ('READ', 'WRITE')


@dataclasses.dataclass
class _Zoo:
    """The texts of LVs, and the first free extent of pv0."""

    vg_name: str
    texts: list[str] = dataclasses.field(default_factory=list)
    free: int = 0

    def disk(self, extents: int) -> str:
        """Return a linear segment on free extents."""
        self.free += extents
        return linear(self.free - extents, extents)

    def add(self, name: str, *segments: str, **fields: Any) -> None:
        self.texts.append(logical_volume(name, *segments, **fields))

    def linear(self, name: str, extents: int, **fields: Any) -> None:
        self.add(name, self.disk(extents), **fields)

    def hidden(self, *names: str, extents: int = 1) -> None:
        for name in names:
            self.linear(name, extents, status=_HIDDEN)

    def thin_pool(self, name: str, extents: int = GIB) -> None:
        self.hidden(f'{name}_tdata', extents=extents)
        self.hidden(f'{name}_tmeta')
        self.add(name, segment(
            'thin-pool', extents, metadata=f'{name}_tmeta',
            pool=f'{name}_tdata', transaction_id=1, chunk_size=128,
            discards='passdown', zero_new_blocks=1))

    def thin(self, name: str, device_id: int, extents: int = GIB,
             pool: str | None = None, flags: tuple[str, ...] = (),
             **fields: Any) -> None:
        self.add(name, segment(
            'thin', extents, thin_pool=pool or f'{self.vg_name}-pool',
            transaction_id=0, device_id=device_id, **fields), flags=flags)

    def snapshot(self, number: int, name: str, origin: str, extents: int,
                 store: str = 'cow_store') -> None:
        """Add a copy-on-write snapshot that can store one changed extent."""
        self.linear(name, 1)
        self.add(f'snapshot{number}', segment(
            'snapshot', extents, chunk_size=8, origin=origin,
            **{store: name}))

    def raid(self, name: str, level: str, images: int, extents: int,
             **fields: Any) -> None:
        parts = []
        for image in range(images):
            self.hidden(f'{name}_rmeta_{image}')
            self.hidden(f'{name}_rimage_{image}', extents=extents)
            parts += [f'{name}_rmeta_{image}', f'{name}_rimage_{image}']
        data = {'raid1': images, 'raid5_ls': images, 'raid10': images}[level]
        total = {'raid1': 1, 'raid5_ls': images - 1, 'raid10': images // 2}
        self.add(name, segment(
            level, extents * total[level], device_count=data,
            region_size=4096, raids=parts, **fields))


def build(vg: ScratchVolumeGroup) -> None:
    """Add the zoo to an empty group of two physical volumes."""
    zoo = _Zoo(vg.name)
    _linear(zoo)
    _thin(zoo)
    _thick_snapshots(zoo)
    _redundant(zoo)
    _cached(zoo)
    _vdo(zoo)
    _odd(zoo)
    vg.restore(logical_volumes(zoo.texts))


def _linear(zoo: _Zoo) -> None:
    zoo.linear('size-4m', 1)
    zoo.linear('size-1g', GIB)
    zoo.linear('size-1g-4m', GIB + 1)
    zoo.linear('size-1.5g', GIB + GIB // 2)
    zoo.linear('size-100g-4m', 100 * GIB + 1)
    zoo.add('two-segments', zoo.disk(1), linear(zoo.free + 1, 1, start=1))
    zoo.free += 2
    zoo.add('striped', segment('striped', 2, stripe_count=2, stripe_size=128,
                               stripes=['pv0', zoo.free, 'pv1', 0]))
    zoo.free += 1
    zoo.linear('tagged', 1, tags=('backup', 'owner=db/primary'))
    zoo.linear('read-only', 1, status=('READ', 'VISIBLE'))
    zoo.linear('skip-activation', 1, flags=('ACTIVATION_SKIP',))
    zoo.linear('x' * 100, 1)
    zoo.linear('Odd+name_1.2', 1)


def _thin(zoo: _Zoo) -> None:
    zoo.linear('lvol0_pmspare', 1, status=_HIDDEN)
    zoo.thin_pool(f'{zoo.vg_name}-pool')
    zoo.thin_pool('other-pool')
    zoo.thin_pool('empty-pool')
    zoo.thin('thin', 1)
    zoo.thin('thin-snapshot', 2, origin='thin', flags=('ACTIVATION_SKIP',))
    zoo.thin('thin-snapshot-of-snapshot', 3, origin='thin-snapshot')
    zoo.thin('thin-merging', 4)
    zoo.thin('thin-merging-snapshot', 5, origin='thin-merging',
             merge='thin-merging')
    zoo.thin('thin-in-other-pool', 1, pool='other-pool')
    zoo.thin(VOLUME, 6)
    zoo.thin(CLONE, 7, origin=VOLUME)
    zoo.thin(SNAPSHOT, 8, origin=VOLUME)
    zoo.linear('external-origin', GIB, status=('READ', 'VISIBLE'))
    zoo.thin('thin-on-external-origin', 9, external_origin='external-origin')


def _thick_snapshots(zoo: _Zoo) -> None:
    zoo.linear('origin', GIB)
    zoo.snapshot(0, 'thick-snapshot', 'origin', GIB)
    zoo.linear('origin-of-two', GIB + 1)
    zoo.snapshot(1, 'thick-snapshot-1', 'origin-of-two', GIB + 1)
    zoo.snapshot(2, 'thick-snapshot-2', 'origin-of-two', GIB + 1)
    zoo.linear('merging-origin', GIB)
    zoo.snapshot(3, 'merging-snapshot', 'merging-origin', GIB,
                 store='merging_store')
    zoo.linear('cloned', GIB)
    zoo.snapshot(4, CLONE_IN_THE_MAKING, 'cloned', GIB)


def _redundant(zoo: _Zoo) -> None:
    zoo.hidden('mirror_mimage_0', 'mirror_mimage_1', 'mirror_mlog')
    zoo.add('mirror', segment(
        'mirror', 1, mirror_count=2, mirror_log='mirror_mlog',
        region_size=1024, mirrors=['mirror_mimage_0', 0,
                                   'mirror_mimage_1', 0]))
    zoo.raid('raid1', 'raid1', 2, 1)
    zoo.raid('raid5', 'raid5_ls', 3, 1, stripe_size=128)
    zoo.raid('raid10', 'raid10', 4, 1, stripe_size=128)


def _cached(zoo: _Zoo) -> None:
    pool_settings = {'chunk_size': 128, 'cache_mode': 'writethrough',
                     'policy': 'smq'}
    for pool in ('cache-pool', 'used_cpool'):
        zoo.hidden(f'{pool}_cdata', f'{pool}_cmeta')
    zoo.add('cache-pool', segment(
        'cache-pool', 1, data='cache-pool_cdata',
        metadata='cache-pool_cmeta', metadata_format=2, **pool_settings))
    zoo.add('used_cpool', segment(
        'cache-pool', 1, data='used_cpool_cdata',
        metadata='used_cpool_cmeta', metadata_format=2, **pool_settings),
        status=_HIDDEN)
    zoo.hidden('cached_corig', extents=2)
    zoo.add('cached', segment('cache', 2, cache_pool='used_cpool',
                              origin='cached_corig'))
    zoo.linear('fast_cvol', 2, status=_HIDDEN, flags=('CACHE_VOL',))
    zoo.hidden('writecached_wcorig', extents=2)
    zoo.add('writecached', segment(
        'writecache', 2, origin='writecached_wcorig', writecache='fast_cvol',
        writecache_block_size=4096))


def _vdo(zoo: _Zoo) -> None:
    zoo.hidden('vdo-pool_vdata', extents=2 * GIB)
    zoo.add('vdo-pool', segment(
        'vdo-pool', 2 * GIB, data='vdo-pool_vdata', header_size=1024,
        virtual_extents=10 * GIB, use_compression=1, use_deduplication=1,
        use_metadata_hints=1, minimum_io_size=4096,
        block_map_cache_size_mb=128, block_map_era_length=16380,
        use_sparse_index=0, index_memory_size_mb=256, max_discard=1,
        slab_size_mb=512, ack_threads=1, bio_threads=4, bio_rotation=64,
        cpu_threads=2, hash_zone_threads=1, logical_threads=1,
        physical_threads=1, write_policy='auto'))
    zoo.add('vdo', segment('vdo', 10 * GIB, vdo_pool='vdo-pool',
                           vdo_offset=0))


def _odd(zoo: _Zoo) -> None:
    zoo.add('error-target', segment('error', 1))
    zoo.add('zero-target', segment('zero', 1))
    zoo.linear('locked', 1, status=('READ', 'WRITE', 'VISIBLE', 'LOCKED'))
    zoo.add('pvmove0', segment('mirror', 1, mirror_count=2, extents_moved=0,
                               region_size=1024,
                               mirrors=['pv0', zoo.free, 'pv1', 1]),
            status=('READ', 'WRITE', 'PVMOVE', 'LOCKED'))
    zoo.free += 1
    zoo.add('moving', segment('striped', 1, stripe_count=1,
                              stripes=['pvmove0', 0]),
            status=('READ', 'WRITE', 'VISIBLE', 'LOCKED'))
    zoo.linear('lvmlock', 1, status=_HIDDEN)


def build_small(vg: ScratchVolumeGroup) -> None:
    """Add one LV that is safe to manage to an empty group."""
    vg.restore(logical_volumes([logical_volume('sound', linear(0, 1))]))


def build_partial(vg: ScratchVolumeGroup) -> None:
    """Add two LVs to an empty group, one of them on a missing disk."""
    vg.restore(logical_volumes([
        logical_volume('sound', linear(0, 1)),
        logical_volume('partial', linear(0, 1, pv='pv1'))]))
    vg.lose_physical_volume()


def make_read_only(vg: ScratchVolumeGroup) -> None:
    """Remove WRITE from the group's flags, which no LVM command does."""
    vg.edit(r'(RESIZEABLE", "READ)", "WRITE', r'\1')


def origin_with_snapshot(origin: str, snapshot: str) -> str:
    """Return the metadata of a thick origin of 1 GiB with one snapshot."""
    zoo = _Zoo('')
    zoo.linear(origin, GIB)
    zoo.snapshot(0, snapshot, origin, GIB)
    return logical_volumes(zoo.texts)


def linears(*names: str) -> str:
    """Return the metadata of linear LVs of one extent."""
    zoo = _Zoo('')
    for name in names:
        zoo.linear(name, 1)
    return logical_volumes(zoo.texts)


def raids(*names: str) -> str:
    """Return the metadata of RAID LVs, each of eight hidden LVs."""
    zoo = _Zoo('')
    for name in names:
        zoo.raid(name, 'raid10', 4, 1, stripe_size=128)
    return logical_volumes(zoo.texts)


def thin_snapshot_with_snapshot(vg_name: str, origin: str, snapshot: str,
                                thick_snapshot: str) -> str:
    """Return the metadata of a thin snapshot that has a thick snapshot."""
    zoo = _Zoo(vg_name)
    zoo.linear('lvol0_pmspare', 1, status=_HIDDEN)
    zoo.thin_pool(f'{vg_name}-pool')
    zoo.thin(origin, 1)
    zoo.thin(snapshot, 2, origin=origin)
    zoo.snapshot(0, thick_snapshot, snapshot, GIB)
    return logical_volumes(zoo.texts)


def guests(count: int) -> str:
    """Return the metadata of `count` LVs, as disks of another hypervisor.

    Of ten LVs, one has a thick snapshot, one is read-only, one is not
    activated at boot, and the size of one is not a whole number of GiB.
    """
    zoo = _Zoo('')
    for number in range(count):
        name = f'vm-{number:03}-disk-0'
        match number % 10:
            case 6:
                zoo.linear(name, GIB + 3)
            case 7:
                zoo.linear(name, GIB)
                zoo.snapshot(number, f'vm-{number:03}-before', name, GIB)
            case 8:
                zoo.linear(name, GIB, status=('READ', 'VISIBLE'))
            case 9:
                zoo.linear(name, GIB, flags=('ACTIVATION_SKIP',))
            case _:
                zoo.linear(name, GIB)
    return logical_volumes(zoo.texts)


def thin_volumes_with_snapshots(vg_name: str, count: int) -> str:
    """Return the metadata of `count` thin LVs with a snapshot each."""
    zoo = _Zoo(vg_name)
    zoo.thin_pool(f'{vg_name}-pool')
    for number in range(count):
        zoo.thin(f'thin-{number:05}', 2 * number + 1)
        zoo.thin(f'snap-{number:05}', 2 * number + 2,
                 origin=f'thin-{number:05}')
    return logical_volumes(zoo.texts)


def half_thin(vg_name: str, count: int, name: Callable[[int], str]) -> str:
    """Return the metadata of `count` LVs, of which half are thin.

    Of four LVs two are linear, one is thin, and one is a snapshot of that.

    :param name: returns the name for a number
    """
    zoo = _Zoo(vg_name)
    zoo.thin_pool(f'{vg_name}-pool')
    for number in range(count):
        if number % 4 < 2:
            zoo.linear(name(number), 3)
        else:
            fields: dict[str, Any] = (
                {'origin': name(number - 1)} if number % 4 == 3 else {})
            zoo.thin(name(number), number, extents=3, **fields)
    return logical_volumes(zoo.texts)
