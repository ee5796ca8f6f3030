"""Generate and compile the ROS 2 messages in msg/ as one C extension.

rclpy on rmw_fastrtps_cpp needs two C type supports of a message: fastrtps_c to
serialize it, introspection_c to register its type.  ROS finds them through
shared libraries it opens by name; here both are linked into the one extension
and DISPATCH hands them out.

Only pip runs this. colcon goes by package.xml and CMakeLists.txt, which generate
the same messages, with the same type hashes.
"""
from glob import glob
import os
from pathlib import Path
import shutil

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

PKG = 'rgbt_tracker_ros'
DEPS = ['std_msgs', 'builtin_interfaces']  # all whose messages ours hold, at any depth
HERE = Path(__file__).parent
MSGS = sorted(p.relative_to(HERE).as_posix() for p in HERE.glob('msg/*.msg'))

DISPATCH = """\
#include <string.h>
#include "{pkg}/msg/detail/{file}__functions.h"
#include "{pkg}/msg/detail/{file}__type_support.h"

#define HANDLE(ts) ROSIDL_TYPESUPPORT_INTERFACE__MESSAGE_SYMBOL_NAME(ts, {pkg}, msg, {msg})

const rosidl_message_type_support_t * HANDLE(rosidl_typesupport_fastrtps_c)(void);
const rosidl_message_type_support_t * HANDLE(rosidl_typesupport_introspection_c)(void);

static const rosidl_message_type_support_t *
pick(const rosidl_message_type_support_t * handle, const char * identifier)
{{
  const rosidl_message_type_support_t * const all[] = {{
    handle, HANDLE(rosidl_typesupport_fastrtps_c)(),
    HANDLE(rosidl_typesupport_introspection_c)()}};
  for (size_t i = 0; i < 3; ++i) {{
    if (strcmp(all[i]->typesupport_identifier, identifier) == 0) {{return all[i];}}
  }}
  return NULL;
}}

const rosidl_message_type_support_t * HANDLE(rosidl_typesupport_c)(void)
{{
  static const rosidl_message_type_support_t handle = {{
    "rosidl_typesupport_c", NULL, pick,
    {pkg}__msg__{msg}__get_type_hash,
    {pkg}__msg__{msg}__get_type_description,
    {pkg}__msg__{msg}__get_type_description_sources}};
  return &handle;
}}
"""


class BuildMsgs(build_ext):

    def run(self):
        import numpy
        import rosidl_generator_py
        # .../lib/pythonX.Y/site-packages/rosidl_generator_py/__init__.py -> prefix of the wheels
        prefix = Path(rosidl_generator_py.__file__).parents[4]
        os.environ['AMENT_PREFIX_PATH'] = os.pathsep.join(
            filter(None, [str(prefix), os.environ.get('AMENT_PREFIX_PATH')]))
        gen = Path(self.build_temp).absolute() / 'gen'
        out = gen / PKG
        shutil.rmtree(gen, ignore_errors=True)
        self.generate(out, prefix / 'share')

        ext, = self.extensions
        ext.sources = [str(p) for p in sorted(out.rglob('*.c')) + sorted(out.rglob('*.cpp'))]
        inc = prefix / 'include'
        ext.include_dirs = [str(gen), numpy.get_include(), str(inc),
                            *(str(d) for d in inc.iterdir() if (d / d.name).is_dir())]
        ext.library_dirs = [str(prefix / 'lib')]
        ext.libraries = [f'{d}__{k}' for d in DEPS for k in (
            'rosidl_generator_py', 'rosidl_generator_c',
            'rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c')]
        ext.libraries += ['rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c',
                          'rosidl_runtime_c', 'rcutils', 'fastcdr']
        super().run()

        # the Python half of the messages, beside the extension
        dest = Path(self.get_ext_fullpath(ext.name)).parent / 'msg'
        dest.mkdir(parents=True, exist_ok=True)
        for p in out.glob('msg/*.py'):
            shutil.copy(p, dest)

    @staticmethod
    def generate(out, share):
        # The classes behind `rosidl generate`.  The command itself stops on these
        # wheels: each registers its entry point twice ("Found duplicate entry point").
        from rosidl_adapter.msg import convert_msg_to_idl
        from rosidl_generator_c.cli import GenerateC
        from rosidl_generator_py.cli import GeneratePython
        from rosidl_generator_type_description.cli import HashTypeDescription
        from rosidl_pycommon import convert_camel_case_to_lower_case_underscore as snake
        from rosidl_typesupport_fastrtps_c.cli import GenerateFastRTPSCTypesupport
        from rosidl_typesupport_introspection_c.cli import GenerateIntrospectionCTypesupport
        include = [str(share / d) for d in DEPS]
        for m in MSGS:
            convert_msg_to_idl(HERE.absolute(), PKG, Path(m), out / 'idl' / 'msg')
        idl = [f"{out / 'idl'}:{Path(m).with_suffix('.idl').as_posix()}" for m in MSGS]
        hashes = HashTypeDescription('hash').generate_type_hashes(PKG, list(idl), include, out)
        GenerateC('c').generate(PKG, list(idl), include, out, hashes)
        for generator in (
                GenerateFastRTPSCTypesupport('fastrtps_c'),
                GenerateIntrospectionCTypesupport('introspection_c'),
                GeneratePython('py', typesupport_implementations=['rosidl_typesupport_c'])):
            generator.generate(PKG, list(idl), include, out)
        for m in MSGS:
            name = Path(m).stem
            text = DISPATCH.format(pkg=PKG, msg=name, file=snake(name))
            (out / f'{name}_dispatch.c').write_text(text)


# the ament index markers by which `ros2 pkg` and `ros2 interface` find the package
INDEX = 'share/ament_index/resource_index'
for kind, text in (('packages', ''), ('rosidl_interfaces', '\n'.join(MSGS))):
    marker = HERE / 'build' / kind / PKG
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(text)

setup(
    packages=find_packages(include=['rgbt_tracker_ros*']),
    cmdclass={'build_ext': BuildMsgs},
    ext_modules=[Extension(
        f'{PKG}.{PKG}_s__rosidl_typesupport_c', sources=[], language='c++',
        extra_compile_args=['-O1', '-g0', '-w'])],
    data_files=[
        (f'{INDEX}/packages', [f'build/packages/{PKG}']),
        (f'{INDEX}/rosidl_interfaces', [f'build/rosidl_interfaces/{PKG}']),
        (f'share/{PKG}', ['package.xml']),
        (f'share/{PKG}/msg', MSGS),
        (f'share/{PKG}/launch', sorted(glob('launch/*.py'))),
        (f'share/{PKG}/config', sorted(glob('config/*'))),
    ],
)
