"""Start rgbt_tracker on two camera topics."""
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

from rgbt_tracker_ros.processes import shm_variables

CONFIG = Path(__file__).resolve().parents[1] / 'config'

# name: (default, description)
ARGUMENTS = {
    'namespace': ('', 'namespace of the node and of its topics'),
    'params_file': ('', 'parameters (YAML); empty: config/tracker.yaml of this package'),
    'use_sim_time': ('', 'true or false; empty: as params_file says'),
    'rgb_topic': ('rgb/image_raw', 'RGB images; camera_info is expected beside them'),
    'thermal_topic': ('thermal/image_raw', 'thermal images'),
    'image_transport': ('', 'raw or compressed; empty: as params_file says'),
    'device': ('', 'auto, cpu or cuda:N; empty: as params_file says'),
    'autostart': ('', 'true or false; empty: as params_file says'),
    'log_level': ('info', 'debug, info, warn, error or fatal'),
    'respawn': ('false', 'start the node again when it ends'),
}


def make_node(context):
    """Return the node; a list, as launch wants it."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    overrides = {name: given[name] for name in ('image_transport', 'device') if given[name]}
    overrides |= {name: is_true(name, given[name])
                  for name in ('use_sim_time', 'autostart') if given[name]}
    return [Node(
        package='rgbt_tracker_ros', executable='tracker_node', name='rgbt_tracker',
        namespace=given['namespace'], output='screen',
        parameters=[given['params_file'] or str(CONFIG / 'tracker.yaml'), overrides],
        remappings=remappings('rgb', given['rgb_topic'], ('camera_info',))
        + remappings('thermal', given['thermal_topic']),
        # for this node alone: what else includes this file keeps its own transports
        additional_env=shm_variables(context.environment, processes=2),
        respawn=is_true('respawn', given['respawn']), respawn_delay=2.0,
        ros_arguments=['--log-level', given['log_level']])]


def remappings(stream, topic, beside=()):
    """Return the remappings of a camera's topics: raw, compressed, and those beside them."""
    base = topic.rsplit('/', 1)[0] + '/' if '/' in topic else ''
    return [(f'{stream}/image_raw', topic),
            (f'{stream}/image_raw/compressed', f'{topic}/compressed'),
            *((f'{stream}/{name}', f'{base}{name}') for name in beside)]


def is_true(name, text):
    """Return the truth of a launch argument."""
    if text.lower() not in ('true', 'false'):
        raise ValueError(f'{name} is {text!r}; it must be true or false')
    return text.lower() == 'true'


def generate_launch_description():
    """Return what `ros2 launch` starts."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, (default, text) in ARGUMENTS.items()),
        OpaqueFunction(function=make_node)])
