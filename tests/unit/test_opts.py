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

from importlib import metadata

from oslo_config import cfg
from oslo_utils.imageutils import format_inspector
import pytest

from cinder_lvm_manage import contents
from cinder_lvm_manage import opts


def test_the_sample_generator_finds_the_options_of_a_backend():
    entry_point, = metadata.entry_points(group='oslo.config.opts',
                                         name='cinder_lvm_manage')
    assert entry_point.load()() == [('backend_defaults', opts.manage_opts)]


def test_an_unknown_image_format_is_an_error():
    conf = cfg.ConfigOpts()
    conf([])
    conf.register_opts(opts.manage_opts)
    conf.set_override('lvm_manage_image_formats', ['qcow2', 'vhd'])
    with pytest.raises(ValueError, match=r'Valid values are .*qcow2'):
        conf.set_override('lvm_manage_image_formats', ['raw'])


def test_each_image_format_of_oslo_utils_can_be_allowed():
    assert set(opts.IMAGE_FORMATS) | contents.RAW == set(
        format_inspector.ALL_FORMATS)
