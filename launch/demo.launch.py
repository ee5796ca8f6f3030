"""Start rgbt_player on the clip that comes with the package (or another), and rgbt_tracker."""
from pathlib import Path

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
import yaml

from rgbt_tracker_ros.processes import shm_variables

HERE = Path(__file__).resolve().parent

# name: (default, type, description); each is a parameter of rgbt_player
ARGUMENTS = {
    'rgb': ('', str, 'video or folder of images; empty with thermal empty too: the shipped clip'),
    'thermal': ('', str, 'the same for the thermal camera'),
    'rate': ('0.0', float, 'Hz; 0: as the file says'),
    'loop': ('false', bool, 'play again and again'),
    'compressed': ('false', bool, 'publish compressed images; the tracker then asks for these'),
    'fault': ('none', str, 'rehearse a failure: stop, freeze or late, 1 s after the start'),
    'fault_stream': ('rgb', str, 'the camera that fails: rgb or thermal'),
}


def actions(context):
    """Return the tracker, and the player, which ends everything when it is through."""
    # as launch reads the parameter: the tracker has to listen to what the player sends
    compressed = yaml.safe_load(context.launch_configurations['compressed']) is True
    return [
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(HERE / 'tracker.launch.py')),
            launch_arguments={
                'params_file': LaunchConfiguration('params_file'),
                'image_transport': 'compressed' if compressed else 'raw'}.items()),
        Node(package='rgbt_tracker_ros', executable='player_node', name='rgbt_player',
             output='screen', on_exit=[Shutdown()],
             additional_env=shm_variables(context.environment, processes=2),
             parameters=[{'start_delay': 1.0} | {
                 name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                 for name, (_, kind, _) in ARGUMENTS.items()}])]


def generate_launch_description():
    """Return what `ros2 launch` starts."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, (default, _, text) in ARGUMENTS.items()),
        DeclareLaunchArgument(
            'params_file', default_value=str(HERE.parent / 'config' / 'demo.yaml'),
            description='parameters of the tracker; by default those with the target of the clip'),
        OpaqueFunction(function=actions)])
