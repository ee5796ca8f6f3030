"""What the loop brought: a table, and one picture."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rgbt_tracker_ros.loop.robot import Recorded
from rgbt_tracker_ros.loop.scores import NEW, Moment, Score, Shown

OLD_COLOUR, NEW_COLOUR, TRUTH = '#f04452', '#3fcf6a', '#ffffff'
PAPER, INK, QUIET, RULE = '#151a21', '#eef2f6', '#98a4b3', '#3a4452'
WIDTH, HEIGHT, EDGE = 13.0, 7.35, 0.35          # in; of the picture and around it
TILE, GAP = (3.6, 2.7), 0.09                    # in; of the images: 4 to 3
FEW = 5                                         # sequences: an interval of fewer says nothing


def table(scores: Sequence[Score]) -> str:
    """Return success of both students, a line for each data set, gains with their intervals."""
    lines = [f'  {"success, points":38}{"old":>7}{"new":>7}   gain (95 %)']
    for s in scores:
        name = f'{s.cameras}, {s.what} ({s.sequences})'
        lines.append(f'  {name:38}{s.before:7.1f}{s.after:7.1f}   {_signed(s.gain)}'
                     + (f' ({_interval(s)})' if _interval(s) else ''))
    return '\n'.join(lines)


def _interval(score: Score) -> str:
    if score.low is None or score.high is None or score.sequences < FEW:
        return ''
    return f'{_signed(score.low)} to {_signed(score.high)}'


def _signed(points: float) -> str:
    return f'{round(points, 1) + 0.0:+.1f}'     # never -0.0


def draw(path: Path, found: dict[str, Any], recorded: Recorded, moment: Moment | None) -> None:
    """Draw one moment as both pairs of cameras show it, success before and after, and counts.

    :param found: what loop.json holds. :raises OSError: if the file can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=110, facecolor=PAPER)
    FigureCanvasAgg(figure)
    accepted = found['distil']['accepted']
    scores = [Score(**s) for s in found['evaluation']]
    _write(figure, EDGE, HEIGHT - 0.52, _title(scores, accepted), 18, INK, weight='bold')
    _draw_legend(figure, 'new student' if accepted else 'new student, refused')
    if moment is not None:
        _draw_moment(figure, moment)
    _draw_bars(_axes(figure, 8.15, 1.5, WIDTH - EDGE - 8.15, 4.5), scores)
    _write(figure, EDGE, 0.22, _footer(found, recorded), 11, INK)
    figure.savefig(path)


def _axes(figure: Any, left: float, bottom: float, width: float, height: float) -> Any:
    axes = figure.add_axes((left / WIDTH, bottom / HEIGHT, width / WIDTH, height / HEIGHT))
    axes.set_facecolor(PAPER)
    return axes


def _write(figure: Any, left: float, bottom: float, text: str, size: float, colour: str,
           **options: Any) -> None:
    figure.text(left / WIDTH, bottom / HEIGHT, text, fontsize=size, color=colour, **options)


def _title(scores: Sequence[Score], accepted: bool) -> str:
    if not accepted:
        return 'The new student was refused: the old one stays'
    first = scores[0]
    if _interval(first) and first.low is not None and first.low <= 0 <= first.gain:
        return f'No certain gain on new cameras: {_signed(first.gain)} points'
    return (f'{_signed(first.gain)} points on new cameras, from their own recordings, '
            'without a label')


def _footer(found: dict[str, Any], recorded: Recorded) -> str:
    parts = [f'{recorded.recorded:,} pairs recorded, {recorded.sent - recorded.recorded:,} lost',
             f'{found["distil"]["seconds"] / 60:.1f} minutes of distilling']
    if deploy := found.get('deploy'):
        parts.append(f'{deploy["lost"]} of {deploy["pairs"]} pairs lost while the running node '
                     'took the new student' if deploy['success'] else
                     'the running node did not take the new student')
    return '   ·   '.join(parts)


def _draw_legend(figure: Any, after: str) -> None:
    from matplotlib.patches import Patch
    handles = [Patch(facecolor='none', edgecolor=colour, linewidth=2.2, label=label)
               for colour, label in ((TRUTH, 'true box'), (OLD_COLOUR, 'old student'),
                                     (NEW_COLOUR, after))]
    figure.legend(handles=handles, loc='lower left', ncols=3, frameon=False, fontsize=11.5,
                  labelcolor=INK, handlelength=1.3, handleheight=0.9, columnspacing=1.6,
                  borderpad=0, borderaxespad=0,
                  bbox_to_anchor=(EDGE / WIDTH, (HEIGHT - 0.95) / HEIGHT))


def _draw_moment(figure: Any, moment: Moment) -> None:
    width, height = TILE
    bottom = HEIGHT - 1.08 - 2 * height - GAP
    for row, (name, shown) in enumerate((('original cameras', moment.original),
                                         ('new cameras', moment.new))):
        for column, kind in enumerate(('rgb', 'thermal')):
            axes = _axes(figure, EDGE + column * (width + GAP),
                         bottom + (1 - row) * (height + GAP), width, height)
            _draw_pair(axes, shown, kind)
            axes.text(0.018, 0.972, f'{name}, {"RGB" if kind == "rgb" else kind}', va='top',
                      transform=axes.transAxes, color='white', fontsize=10.5,
                      bbox={'facecolor': '#000000b0', 'edgecolor': 'none', 'pad': 3})
    _write(figure, EDGE, bottom - 0.25, f'one moment of {moment.sequence}: pair {moment.frame}, '
           'of those on which the two students differ most', 10, QUIET)


def _draw_pair(axes: Any, shown: Shown, kind: str) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, Stroke
    image = getattr(shown.pair, kind)
    width, height = shown.pair.size
    if image is not None:
        axes.imshow(image, cmap='gray', vmin=0, vmax=255, aspect='auto',
                    extent=(0, width, height, 0), interpolation='lanczos')
    shade = [Stroke(linewidth=4, foreground='#000000a0'), Normal()]
    for box, colour, line, effects in (
            (shown.before, OLD_COLOUR, 2.4, shade), (shown.after, NEW_COLOUR, 2.4, shade),
            (shown.truth, TRUTH, 1.0, [Normal()])):      # on top: thin, so as to hide neither
        axes.add_patch(Rectangle((box.x, box.y), box.w, box.h, fill=False, edgecolor=colour,
                                 linewidth=line, path_effects=effects))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()


def _named(score: Score) -> str:
    if score.sequences > 1:
        return f'{score.sequences} {score.what}'.replace(' videos', '\nvideos')
    return f'the {score.what}\n' + ('(recorded, too)' if score.cameras == NEW else ' ')


def _draw_bars(axes: Any, scores: Sequence[Score]) -> None:
    half = len(scores) // 2     # new cameras, then original ones
    places = [i + 0.3 * (i >= half) for i in range(len(scores))]
    for offset, colour, values in ((-0.2, OLD_COLOUR, [s.before for s in scores]),
                                   (0.2, NEW_COLOUR, [s.after for s in scores])):
        bars = axes.bar([p + offset for p in places], values, 0.36, color=colour)
        axes.bar_label(bars, fmt='%.1f', fontsize=10, padding=2, color=QUIET)
    for place, s in zip(places, scores, strict=True):
        top = max(s.before, s.after)
        axes.text(place, top + 13, f'{_signed(s.gain)}', ha='center', fontsize=14, weight='bold',
                  color=INK)
        axes.text(place, top + 8.5, _interval(s), ha='center', fontsize=8.5, color=QUIET)
    axes.set_xticks(places, [_named(s) for s in scores], fontsize=10.5, color=INK)
    for start in (0, half):
        middle = sum(places[start:start + half]) / half
        axes.text(middle, -0.135, scores[start].cameras, ha='center', va='top', fontsize=12.5,
                  weight='bold', color=INK, transform=axes.get_xaxis_transform())
    axes.set_ylim(0, 118)
    axes.set_xlim(places[0] - 0.55, places[-1] + 0.55)
    axes.set_yticks([])
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.spines['bottom'].set_color(RULE)
    axes.tick_params(length=0)
    axes.set_title('success: area under the curve of overlaps, in points', loc='left',
                   fontsize=10, color=QUIET, pad=6)
