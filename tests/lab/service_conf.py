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

"""The configuration files of the OpenStack services that the labs run.

A function for each service returns its options by section. write() writes
them to a file, together with what a lab adds.
"""

from __future__ import annotations

from collections.abc import Mapping
import configparser
import json
import pathlib
import sysconfig
from typing import TypeAlias

from oslo_utils import units

from tests.lab.scratch import ScratchVolumeGroup

# Values of volume_driver: this driver, and Cinder's own.
OURS = 'cinder_lvm_manage.driver.LVMManageDriver'
IN_TREE = 'cinder.volume.drivers.lvm.LVMVolumeDriver'

# Options of a backend whose volumes can be attached, where tgtd runs.
ISCSI = {'target_helper': 'tgtadm', 'target_protocol': 'iscsi',
         'target_ip_address': '127.0.0.1'}

# Where pip installs the files that a wheel has for /etc and /usr/bin.
ETC = pathlib.Path(sysconfig.get_path('data'), 'etc')
SCRIPTS = pathlib.Path(sysconfig.get_path('scripts'))

Options: TypeAlias = Mapping[str, object]
Sections: TypeAlias = Mapping[str, Options]

# Cinder never releases the quota of a volume whose manage was refused, not
# even when that volume is deleted.
UNLIMITED: Options = {'quota_volumes': -1, 'quota_gigabytes': -1,
                      'quota_snapshots': -1}

# The requests of Cinder and of the labs. By default Glance allows none of
# them without a token.
_IMAGE_REQUESTS = ('add_image', 'delete_image', 'download_image', 'get_image',
                   'modify_image', 'upload_image')


def write(path: pathlib.Path, *layers: Sections) -> pathlib.Path:
    """Write a configuration file, and return its path.

    :param layers: a later one overrides the options of an earlier one
    """
    conf = configparser.ConfigParser(interpolation=None)
    for sections in layers:
        conf.read_dict(sections)
    with path.open('w') as file:
        conf.write(file)
    return path


def cinder(path: pathlib.Path, backends: Mapping[str, Options],
           unprivileged: bool = False) -> Sections:
    """Return the options that every Cinder of the labs has.

    Unless a lab overrides it, this is a Cinder in one process, with messages
    in memory and SQLite, and without Keystone.

    :param path: of the file; Cinder keeps its own files in the same folder
    :param backends: the options of each backend, by the backend's name
    :param unprivileged: become root by sudo and rootwrap, as on an operator's
        host
    """
    folder = path.parent
    helper = {} if unprivileged else {
        'helper_command': f'{SCRIPTS}/privsep-helper --config-file {path}'}
    return {
        'DEFAULT': {
            'host': 'lab',
            'debug': 'true',
            'state_path': folder,
            'transport_url': 'fake://',
            'auth_strategy': 'noauth',
            'api_paste_config': ETC / 'cinder' / 'api-paste.ini',
            'resource_query_filters_file':
                ETC / 'cinder' / 'resource_filters.json',
            'osapi_volume_listen': '127.0.0.1',
            'osapi_volume_listen_port': 0,
            'enabled_backends': ','.join(backends),
            'scheduler_driver_init_wait_time': 1,
            'backup_driver': 'cinder.backup.drivers.posix.PosixBackupDriver',
            # Cinder holds as much of a backup in memory more than once; a
            # process in a guest is limited, see tests/run/guest.py.
            'backup_file_size': 4 * units.Mi,
        },
        'database': {'connection': f'sqlite:///{folder}/cinder.sqlite',
                     'sqlite_synchronous': 'false'},
        'oslo_concurrency': {'lock_path': folder / 'lock'},
        'coordination': {'backend_url': f'file://{folder}/coordination'},
        'cinder_sys_admin': helper,
        'privsep_osbrick': helper,
        **backends,
    }


def lvm_backend(volume_group: ScratchVolumeGroup, name: str,
                volume_driver: str, unprivileged: bool = False) -> Options:
    """Return the options of a backend on a volume group.

    :param unprivileged: the group's lvm.conf is in /etc/lvm
    """
    lvm_conf = {} if unprivileged else {
        'lvm_conf_file': volume_group.lvm_conf}
    return {
        'volume_driver': volume_driver,
        'volume_backend_name': name,
        'volume_group': volume_group.name,
        'lvm_type': 'default',
        **lvm_conf,
        'lvm_suppress_fd_warnings': 'true',
        'lvm_manage_without_device_mapper': not volume_group.device_mapper,
        'target_helper': 'fake',
        'volume_clear': 'none',
    }


def glance(folder: pathlib.Path, database: str,
           authtoken: Options | None) -> Sections:
    """Return the options of a Glance that stores images as files.

    :param folder: for its files; its policy is written there
    :param database: SQLAlchemy's URL
    :param authtoken: the section keystone_authtoken; None if every request
        that Cinder makes is allowed without a token
    """
    policy_path = folder / 'policy.json'
    policy_path.write_text(json.dumps(
        {} if authtoken else dict.fromkeys(_IMAGE_REQUESTS, '@')))
    return {
        'DEFAULT': {'log_file': folder.parent / 'glance.log',
                    'use_stderr': 'false',
                    'enabled_backends': 'images:file',
                    'node_staging_uri': f'file://{folder}/staging'},
        'oslo_concurrency': {'lock_path': folder / 'lock'},
        'database': {'connection': database, 'sqlite_synchronous': 'false'},
        'glance_store': {'default_backend': 'images'},
        'images': {'filesystem_store_datadir': folder / 'images'},
        **{f'os_glance_{store}_store': {
            'filesystem_store_datadir': folder / store}
           for store in ('staging', 'tasks')},
        'paste_deploy': {
            'config_file': ETC / 'glance' / 'glance-api-paste.ini',
            'flavor': 'keystone' if authtoken else ''},
        'keystone_authtoken': authtoken or {},
        'oslo_policy': {'policy_file': policy_path},
    }


def keystone(folder: pathlib.Path, database: str) -> Sections:
    """Return the options of a Keystone.

    :param folder: for its keys and its log
    :param database: SQLAlchemy's URL
    """
    return {
        'DEFAULT': {'log_file': folder / 'keystone.log',
                    'use_stderr': 'false'},
        'database': {'connection': database, 'sqlite_synchronous': 'false'},
        # Validating a token takes a tenth of the time.
        'cache': {'backend': 'oslo_cache.dict'},
        'identity': {'password_hash_rounds': 4},
        'fernet_tokens': {'key_repository': folder / 'fernet-keys'},
        'credential': {'key_repository': folder / 'credential-keys'},
    }


def placement(database: str, authtoken: Options) -> Sections:
    """Return the options of a Placement.

    :param database: SQLAlchemy's URL
    :param authtoken: the section keystone_authtoken
    """
    return {
        'DEFAULT': {'use_stderr': 'true'},
        'api': {'auth_strategy': 'keystone'},
        'placement_database': {'connection': database,
                               'sync_on_startup': 'true'},
        'keystone_authtoken': authtoken,
    }


def nova(path: pathlib.Path, databases: Mapping[str, str], transport_url: str,
         authtoken: Options, nothing_url: str) -> Sections:
    """Return the options of all services of a Nova with libvirt and QEMU.

    :param path: of the file; Nova keeps its own files in the same folder
    :param databases: SQLAlchemy's URLs of nova_api and nova
    :param authtoken: the section keystone_authtoken
    :param nothing_url: of a network API without ports; nothing is fetched from
        the image API
    """
    folder = path.parent
    client = {key: value for key, value in authtoken.items()
              if not key.startswith(('service_token', 'www_'))}
    helper = {'helper_command':
                  f'{SCRIPTS}/privsep-helper --config-file {path}'}
    return {
        'DEFAULT': {
            'host': 'lab',
            'my_ip': '127.0.0.1',
            'state_path': folder,
            'transport_url': transport_url,
            'compute_driver': 'libvirt.LibvirtDriver',
            'allow_resize_to_same_host': 'true',
            # Much slower than this in a guest kernel.
            'service_down_time': 600,
            'rpc_response_timeout': 300,
            'block_device_allocate_retries': 300,
            # The scheduler soon looks for new hosts.
            'periodic_fuzzy_delay': 0,
        },
        'api_database': {'connection': databases['nova_api']},
        'database': {'connection': databases['nova']},
        'oslo_concurrency': {'lock_path': folder / 'lock'},
        'keystone_authtoken': authtoken,
        'service_user': {**client, 'send_service_user_token': 'true'},
        'placement': client,
        'cinder': {**client,
                   'catalog_info': 'block-storage:cinder:publicURL'},
        'neutron': {**client, 'endpoint_override': nothing_url},
        'glance': {**client, 'endpoint_override': nothing_url},
        'scheduler': {'workers': 1,
                      'discover_hosts_in_cells_interval': 10},
        'conductor': {'workers': 1},
        'vnc': {'enabled': 'false'},
        'libvirt': {
            'virt_type': 'qemu',
            'cpu_mode': 'none',
            # MiB; by default QEMU reserves a GiB.
            'tb_cache_size': 32,
        },
        'nova_sys_admin': helper,
        'privsep_osbrick': helper,
    }
