"""Play a recording into rgbt_tracker, write down what it answers, score that, and end.

The exit status is 1 where one of these failed.
"""
from pathlib import Path

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage

from rgbt_tracker_ros.processes import shm_variables

HERE = Path(__file__).resolve().parent

# name: (default, description)
ARGUMENTS = {
    'root': ('', 'a bag with groundtruth.csv beside it, or a data set of `layout`'),
    'layout': ('bag', 'bag, or one of those that `rgbt evaluate --list` names'),
    'sequence': ('', 'which sequence of root; for a bag its name, without .mcap'),
    'rate': ('1.0', "factor of the recording's own rate"),
    'output': ('evaluation', 'folder for scores.json, the report and what was heard'),
    'tracker': ('student', 'scored offline too, on every pair, for comparison: student, or a '
                           '.safetensors file; empty: none'),
    'params_file': ('', 'parameters of the tracker (YAML); empty: config/tracker.yaml'),
    'device': ('', 'auto, cpu or cuda:N; empty: as params_file says'),
}


def actions(context):
    """Return the player, the listener, and the scoring that follows them."""
    given = {name: context.launch_configurations[name] for name in ARGUMENTS}
    if not given['root']:
        raise ValueError('root is empty; give a bag or a data set, root:=PATH')
    root, output = Path(given['root']).expanduser().absolute(), Path(given['output']).absolute()
    sequence = given['sequence'] or (root.stem if root.is_file() else root.name)
    output.mkdir(parents=True, exist_ok=True)
    records = output / f"{sequence.replace('/', '_')}.jsonl"
    records.unlink(missing_ok=True)
    shared_memory = shm_variables(context.environment, processes=2)
    player = Node(
        package='rgbt_tracker_ros', executable='player_node', name='rgbt_player', output='screen',
        parameters=[{'root': text(root), 'layout': text(given['layout']),
                     'sequence': text(sequence), 'speed': float(given['rate']), 'stamps': 'kept',
                     'start_delay': 1.0, 'wait_for_subscribers': 'all'}],
        additional_env=shared_memory, on_exit=ended)
    client = Node(
        package='rgbt_tracker_ros', executable='evaluation_client', name='rgbt_evaluation',
        output='screen', parameters=[{'output': text(records)}], additional_env=shared_memory)
    settings = ['--config', given['params_file']] if given['params_file'] else []
    device = ['--device', given['device']] if given['device'] else []
    offline = ['--tracker', given['tracker'], *settings, *device] if given['tracker'] else []
    # The package's own program, as the nodes are, runs with the Python of the active environment;
    # sys.executable is the system's where `ros2` is of a deb, and that has no torch. No Node: it
    # would add --ros-args, which this program does not know.
    scores = ExecuteProcess(
        cmd=[ExecutableInPackage('rgbt', 'rgbt_tracker_ros'), 'evaluate', '--layout',
             given['layout'], '--root', str(root), '--sequences', sequence, '--ros-records',
             str(output), '--json', str(output / 'scores.json'), '--report', str(output),
             *offline], output='screen')

    def score(event, context):
        if event.returncode:
            raise RuntimeError('the run did not come to its end')
        return scores

    return [
        RegisterEventHandler(OnProcessExit(target_action=client, on_exit=score)),
        RegisterEventHandler(OnProcessExit(target_action=scores, on_exit=scored)),
        player, client]


def text(value):
    """Return a parameter that is text even where it looks like a number."""
    return ParameterValue(str(value), value_type=str)


# An exception shuts everything down, as Shutdown does, and makes the exit status 1.
def ended(event, context):
    """End everything where the player could not play."""
    if event.returncode:
        raise RuntimeError('the player failed')


def scored(event, context):
    """End everything, well or not."""
    if event.returncode:
        raise RuntimeError(f'rgbt evaluate ended with status {event.returncode}')
    return EmitEvent(event=Shutdown(reason='scored'))


def generate_launch_description():
    """Return what `ros2 launch` starts."""
    return LaunchDescription([
        *(DeclareLaunchArgument(name, default_value=default, description=text)
          for name, (default, text) in ARGUMENTS.items()),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(HERE / 'tracker.launch.py')),
            launch_arguments={name: LaunchConfiguration(name)
                              for name in ('params_file', 'device')}.items()),
        OpaqueFunction(function=actions)])
