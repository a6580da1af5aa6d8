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

"""Sphinx's settings; see doc/requirements.txt and `tox -e docs`."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / '_ext'))

extensions = [
    'openstackdocstheme',
    'reno.sphinxext',
    'oslo_config.sphinxext',
    'oslo_config.sphinxconfiggen',
    'code_tables',
]

project = 'cinder_lvm_manage'
copyright = 'The cinder_lvm_manage developers'
openstackdocs_auto_name = False
# Not one of the projects whose releases OpenStack's site numbers.
openstackdocs_auto_version = False
templates_path = ['_templates']
# An option's two dashes are to stay two.
smartquotes = False

html_theme = 'openstackdocs'
html_theme_options = {
    'analytics_tracking_code': '',
    'display_badge': False,
    'root_title': 'cinder_lvm_manage',
}
html_static_path = ['_static']
html_css_files = ['pages.css']
pygments_style = 'native'
highlight_language = 'none'

# Relative to this directory; the generator's own settings are those of
# `tox -e genconfig`.
config_generator_config_file = '../../etc/config-generator.conf'
sample_config_basename = '_sample/cinder_lvm_manage'
