"""The recipes that come with the package, and what is said of those that can't be trained."""
from __future__ import annotations

import json
from pathlib import Path
import re

import pytest
from recipe_kit import SIZES, small
import torch
import yaml

from rgbt_tracker_ros.distillation import cli, cli_recipes
from rgbt_tracker_ros.distillation.graph import Graph
from rgbt_tracker_ros.distillation.recipe import load_recipe, merge, names, override, scales
from rgbt_tracker_ros.distillation.schema import RecipeError
from rgbt_tracker_ros.distillation.stages import Setting, check

PACKAGE = Path(cli.__file__).parent
OURS = ('shipped', 'student')  # no paper's, and words of this package
ALL = [(name, scale) for name in names() for scale in scales(name)]


def test_there_are_four_systems_and_the_shipped_student_at_two_scales():
    assert names() == ['ckd', 'cmd_rgbt', 'cmd_tir', 'mutual_prompt', 'shipped', 'student']
    # and a teacher that has to come from somewhere, and a training without a GPU
    more = {('cmd_tir', 'rgb'), ('shipped', 'cpu')}
    assert {(n, s) for n in names() for s in ('tiny', 'full')} | more == set(ALL)


@pytest.mark.parametrize('path', sorted(p for p in PACKAGE.rglob('*.py')),
                         ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_module_knows_a_recipe(path):
    """Names of methods may be told in words, not compared with or branched upon."""
    code = re.sub(r'"""[\s\S]*?"""|#.*', '', path.read_text())
    words = '|'.join(n for n in names() if n not in OURS)
    assert not re.search(rf'\b({words})\b', code, re.IGNORECASE)


@pytest.mark.parametrize('name', names())
def test_each_recipe_says_where_it_comes_from_and_what_it_needs(name):
    text = (PACKAGE / 'recipes' / f'{name}.yaml').read_text()
    assert text.startswith('# ') and len(text.split('\ntitle:')[0].splitlines()) >= 4
    for scale in scales(name):
        recipe = load_recipe(name, scale)
        assert recipe.title and recipe.needs
        assert name in OURS or (recipe.paper and recipe.reconstructed)


@pytest.mark.parametrize('name', names())
def test_every_switch_in_a_recipes_head_exists(name):
    """What the comments offer as --set must be values of the tiny scale."""
    text = (PACKAGE / 'recipes' / f'{name}.yaml').read_text().split('\ntitle:')[0]
    for quoted, plain in re.findall(r"--set (?:'([^']+)'|([\w.]+=[\w.:]+))", text):
        given = quoted or plain
        recipe = small(name, extra=(given,))
        if name != 'student' and '=' in given:
            check(recipe, Setting(), torch.device('cpu'))


def test_the_full_terms_of_dimp_fit_its_box_estimator():
    """IoU-Net's outputs take the place of maps of sizes; smaller, and without a checkpoint."""
    sizes = '{template_size: 32, search_size: 32, stride: 4, backbone: tiny, stages: 3, ' \
            'widths: [8, 8, 8], blocks: [0, 0, 0], channels: 8, steps: 2, box_width: 8}'
    recipe = load_recipe('cmd_tir', 'full', [
        'stages.cmd.networks.teacher.from=null', 'stages.cmd.data={source: unlabelled_scenes, '
        'options: null}', f'stages.cmd.networks.teacher.config={sizes}',
        f'stages.cmd.networks.student.config={sizes}', 'stages.cmd.terms.feature.weight=1',
        'stages.cmd.terms.response.weight=1', 'stages.cmd.terms.response_box.weight=1',
        'stages.cmd.terms.self_box.weight=1', 'stages.cmd.networks.student.frozen=null'])
    assert 'box' not in recipe.stages['cmd'].networks['student'].config  # IoU-Net, the default
    check(recipe, Setting(), torch.device('cpu'))


@pytest.mark.parametrize('name', list(SIZES))
def test_small_sizes_pass_the_check(name):
    check(small(name), Setting(), torch.device('cpu'))


def test_scales_are_merged_over_the_common_part():
    assert merge({'a': {'b': 1, 'c': 2}, 'd': 3}, {'a': {'b': 5, 'c': None, 'e': {'f': None}}}) \
        == {'a': {'b': 5, 'e': {}}, 'd': 3}
    full = load_recipe('cmd_tir', 'full')
    assert list(full.stages) == ['cmd'] and full.stages['cmd'].terms['down_box'].loss == 'boxes_kl'
    assert full.stages['cmd'].networks['teacher'].from_[0].checkpoint


@pytest.mark.parametrize('text, value', [
    ('stages.student.terms.response.weight=0', 0.0),
    ('stages.student.optimizer.rate=5e-4', 5e-4),
    ('stages.student.networks.student.config.fusion=sum', 'sum'),
    ('stages.student.schedule={type: constant}', 'constant')])
def test_any_value_can_be_set(text, value):
    recipe = load_recipe('mutual_prompt', 'tiny', [text])
    at = recipe.raw
    for part in text.split('=')[0].split('.'):
        at = at[part]
    assert (at.get('type') if isinstance(at, dict) else at) in (value, str(value), '5e-4')


def test_a_term_of_weight_zero_is_left_out_with_the_passes_it_needs():
    recipe = small('mutual_prompt', extra=tuple(
        f'stages.student.terms.{t}.weight=0' for t in ('feature', 'response', 'boxes')))
    from rgbt_tracker_ros.distillation.stages import make_graph
    graph, _ = make_graph('student', recipe.stages['student'], Setting(),
                          teacher_of(recipe), torch.device('cpu'))
    assert isinstance(graph, Graph) and graph.needed == ['student'] and not graph.terms


def teacher_of(recipe):
    from rgbt_tracker_ros.distillation.weights import weights
    from rgbt_tracker_ros.models import registry

    def lookup(stage, network):
        spec = recipe.stages[stage].networks[network]
        return weights(registry.build(spec.type, **spec.config))
    return lookup


@pytest.mark.parametrize('text, error', [
    ('stages.studnet.batch=1', "stages has no 'studnet'; did you mean 'student'"),
    ('stages.student.batch', 'write PATH=VALUE'),
    ('stages.student.bath=1', "stages.student: key 'bath' is unknown; did you mean 'batch'"),
    ('stages.student.batch=[', 'the value is no YAML'),
    ('stages.student.batch=many', "stages.student.batch is 'many', it must be int"),
    ('stages.student.batch=0', 'batch is 0; it must be 1 or more'),
    ('stages.student.terms.response.loss=kl', "loss 'kl' is unknown"),
    ('stages.student.networks.student.from=[{stage: nobody, network: x}]', "is 'nobody'"),
    ('stages.student.networks.student.from=[{stage: teacher, network: x}]', "network is 'x'"),
    ('stages.teacher.networks.teacher.frozen=["*"]', "teacher does not train 'teacher'"),
    ('stages.student.steps=0', 'steps is 0; it must be 1 or more'),
    ('stages.student.steps=-5', 'steps is -5; it must be 1 or more'),
    ('result.network=teacher', "result: stage student does not train 'teacher'"),
    ('result.calibration.samples=-1', 'result.calibration: samples is -1'),
    ('result=null', 'result is None; it must be a mapping'), ('stages=null', 'stages is None'),
    ('stages.teacher.networks=3', 'networks.teacher: give its type'),
    ('result.stage=last', "result.stage is 'last'"),
    ('result.network=last', "result.network is 'last'")])
def test_wrong_settings_name_the_place(text, error):
    with pytest.raises(RecipeError, match=re.escape(error).replace("\\'", "'")):
        load_recipe('mutual_prompt', 'tiny', [text])


@pytest.mark.parametrize('change, error', [
    ({'stages': {'a': {}}}, "stages.a: key 'networks' is missing"),
    ({'title': None}, "key 'title' is missing"), ({'scales': {}}, 'scales is empty'),
    ({'stages': None}, "key 'stages' is missing"), ({'tiles': 1}, "key 'tiles' is unknown"),
    ({'stages': {'a': {'networks': {'n': {}}}}}, 'give its type')])
def test_wrong_files_name_the_place(tmp_path, change, error):
    values = yaml.safe_load((PACKAGE / 'recipes' / 'student.yaml').read_text())
    if 'stages' in change:
        values['scales'] = {'tiny': {}}
    path = tmp_path / 'r.yaml'
    path.write_text(yaml.safe_dump({k: v for k, v in (values | change).items() if v is not None}))
    with pytest.raises(RecipeError, match=rf'r\.yaml.*{re.escape(error)}'):
        load_recipe(str(path))


@pytest.mark.parametrize('text, error', [
    ('- a\n- b', 'holds list, not keys'), ('title: [3', "can't be read"), ('', 'is missing')])
def test_files_that_are_no_recipes(tmp_path, text, error):
    path = tmp_path / 'r.yaml'
    path.write_text(text)
    with pytest.raises(RecipeError, match=error):
        load_recipe(str(path))


def test_unknown_names_and_scales_list_what_there_is():
    with pytest.raises(RecipeError, match="no recipe 'cdk'; there are: ckd, cmd_rgbt"):
        load_recipe('cdk')
    with pytest.raises(RecipeError, match="no scale 'huge'; there are tiny, full"):
        load_recipe('ckd', 'huge')


def test_steps_are_scaled_but_never_to_none():
    half = load_recipe('ckd', 'tiny', (), 0.5)
    assert [s.steps for s in half.stages.values()] == [600, 300]
    assert [s.steps for s in load_recipe('ckd', 'tiny', (), 1e-9).stages.values()] == [1, 1]


@pytest.mark.parametrize('extra, error', [
    ('stages.joint.networks.tracker.config.dimm=3', "stages.joint.networks.tracker: .*'dimm'"),
    ('stages.joint.networks.tracker.type=couple', "no network 'couple'"),
    ('stages.joint.data.source=scene', "stages.joint.data: there is no data source 'scene'"),
    ('stages.joint.data.options={darkness: 1}', "stages.joint.data: .*'darkness'"),
    ("stages.joint.terms.style.inputs.a='pair:blocks.*.tir'",
     r"stages.joint.terms.style.inputs.a: 'pair:blocks.\*.tir' is nothing"),
    ('stages.joint.optimizer.groups=[{match: nobody, rate: 1}]', r'groups\[0\].match is'),
    ('stages.mce.networks.tracker.config.dim=18', r'from\[0\].*has shape'),
    ('stages.joint.networks.tracker.from=[{checkpoint: true}]', 'give it by --init FILE')])
def test_what_does_not_fit_is_found_before_any_training(extra, error):
    with pytest.raises((RecipeError, ValueError), match=error):
        check(small('ckd', extra=(extra,)), Setting(), torch.device('cpu'))


def test_networks_of_one_stage_see_the_same_crops():
    extra = 'stages.student.networks.student.config.search_factor=5'
    with pytest.raises(RecipeError, match=r'search_factor of network .* is 4.0, .* is 5'):
        check(small('mutual_prompt', extra=(extra,)), Setting(), torch.device('cpu'))


def test_a_data_set_without_its_folder_is_asked_for(tmp_path):
    recipe = small('ckd', extra=('stages.joint.data={source: videos, options: {layout: lasher}}',))
    with pytest.raises(RecipeError, match='give its folder by --data DIR'):
        check(recipe, Setting(), torch.device('cpu'))
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        check(recipe, Setting(data=tmp_path), torch.device('cpu'))


def test_the_list_does_not_count_what_a_pass_is_given():
    """The student's search crop is scored by the teacher's filters: it makes none of its own."""
    passes = cli_recipes.describe(load_recipe('cmd_tir', 'tiny'))['stages']['cmd']['passes']
    assert passes['down'] == passes['up'] < passes['teacher'] == passes['thermal']


def test_pseudo_boxes_calibrate_nothing():
    assert load_recipe('cmd_tir', 'full').result.calibration.samples == 0


def test_the_list_tells_needs_and_costs(tmp_path, capsys):
    file = tmp_path / 'r.json'
    assert cli_recipes.main(['ckd', '--scale', 'full', '--json', str(file)]) == 0
    text = capsys.readouterr().out
    assert 'LasHeR' in text and 'reconstructed' in text and '183.57 M' in text
    one, = json.loads(file.read_text())
    # the paper's: 183.9 M, 57.75 G and 42.70 G
    assert one['student']['parameters'] == pytest.approx(183.9e6, rel=0.01)
    assert one['student']['macs'] == pytest.approx(42.7e9, rel=0.01)
    whole = one['stages']['joint']['networks']['tracker']
    assert whole['tracking_macs'] == pytest.approx(57.75e9, rel=0.01)
    assert one['stages']['joint']['training_graph']['parameters'] == pytest.approx(
        368.9e6, rel=0.01)


@pytest.mark.parametrize('name, stage, network, giga, millions', [
    ('ckd', 'joint', 'tracker', 57.75, 183.9), ('ckd', 'mce', 'tracker', 42.70, 183.9),
    ('mutual_prompt', 'teacher', 'teacher', 59.1, None),
    ('mutual_prompt', 'student', 'student', 29.0, None)])
def test_the_full_scale_has_the_published_costs(name, stage, network, giga, millions):
    """P8, P10: what the recipe trains, each to 1 %."""
    found = cli_recipes.describe(load_recipe(name, 'full'))['stages'][stage]['networks'][network]
    assert found['tracking_macs'] / 1e9 == pytest.approx(giga, rel=0.01)
    assert not millions or found['tracking_parameters'] / 1e6 == pytest.approx(millions, rel=0.01)


def test_the_student_of_cmd_is_a_third_of_its_teacher_at_half_the_cost():
    for scale in ('tiny', 'full'):
        stage = cli_recipes.describe(load_recipe('cmd_rgbt', scale))['stages']['student']
        teacher, student = stage['networks']['teacher'], stage['networks']['student']
        assert student['parameters'] <= teacher['parameters'] / 3
        assert student['tracking_macs'] <= teacher['tracking_macs'] / 2


@pytest.mark.parametrize('arguments, text', [
    (['nobody'], "no recipe 'nobody'"), (['ckd', '--scale', 'huge'], "no scale 'huge'")])
def test_wrong_usage_of_the_list(arguments, text, capsys):
    assert cli_recipes.main(arguments) == 2
    assert text in capsys.readouterr().err


def test_overrides_do_not_touch_the_file():
    raw = {'stages': {'a': {'batch': 1}}}
    override(raw, 'stages.a.optimizer.rate=2')
    assert raw == {'stages': {'a': {'batch': 1, 'optimizer': {'rate': 2}}}}
    assert load_recipe('ckd').stages['joint'].batch == 32
