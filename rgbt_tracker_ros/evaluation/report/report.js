'use strict';
// What the page does beyond being read: curves answer to pointer and arrow keys, tables sort and
// filter, a legend hides its tracker, a sequence opens to its course. Without it all is there to
// be read.
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const data = JSON.parse(document.getElementById('data').textContent);
  const SVG = 'http://www.w3.org/2000/svg';
  const shape = (name, attributes, parent) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (parent) parent.append(element);
    return element;
  };
  const number = (value, digits) => value === null || value === undefined
    ? '\u2013' : value.toFixed(digits).replace('-', '\u2212');
  const style = (run) => `c${run % 8} d${(run + Math.floor(run / 8)) % 8}`;

  // --- read-out: a rule at the nearest point of the x axis, and every curve's value there
  function readout(svg) {
    const plot = data.plots[svg.dataset.plot];
    const figure = svg.closest('figure');
    const rule = svg.querySelector('.rule');
    const dots = all('.at-dot', svg);
    const [left, right, top, bottom] = plot.frame;
    const [low, high] = [plot.x[0], plot.x[plot.x.length - 1]];
    let at = plot.start;
    const show = (index) => {
      at = Math.max(0, Math.min(plot.x.length - 1, index));
      const x = left + (plot.x[at] - low) / (high - low) * (right - left);
      rule.setAttribute('x1', x);
      rule.setAttribute('x2', x);
      rule.removeAttribute('visibility');
      figure.querySelector('.at-x').textContent = plot.label.replace('{}', number(plot.x[at], plot.digits));
      for (const dot of dots) {
        const value = plot.y[dot.dataset.series][at];
        dot.setAttribute('visibility', value === null ? 'hidden' : 'inherit');
        dot.setAttribute('cx', x);
        dot.setAttribute('cy', bottom - (value ?? 0) * (bottom - top));
      }
      for (const cell of all('[data-at]', figure)) {
        cell.textContent = number(plot.y[cell.dataset.at][at], 3);
      }
      const said = figure.querySelector('.said');
      if (said && document.activeElement === svg) {
        said.textContent = figure.querySelector('.at-x').textContent + ': ' +
          all('[data-at]', figure).map((c) => `${c.dataset.name} ${c.textContent}`).join(', ');
      }
    };
    const follow = (event) => {
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      show(Math.round((x - left) / (right - left) * (plot.x.length - 1)));
    };
    svg.addEventListener('pointermove', follow);
    svg.addEventListener('pointerdown', follow);
    svg.addEventListener('keydown', (event) => {
      const step = {ArrowRight: 1, ArrowLeft: -1, Home: -1e6, End: 1e6}[event.key];
      if (step) { show(at + step); event.preventDefault(); }
    });
  }
  all('svg[data-plot]').forEach(readout);

  // --- legends: one switch for a tracker in all charts
  document.addEventListener('click', (event) => {
    const button = event.target.closest('button[data-toggle]');
    if (!button) return;
    const run = button.dataset.toggle;
    const on = button.getAttribute('aria-pressed') !== 'true';
    all(`button[data-toggle="${run}"]`).forEach((b) => b.setAttribute('aria-pressed', on));
    all(`[data-run="${run}"]`).forEach((e) => e.classList.toggle('off', !on));
  });

  // --- tables
  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.v ?? cell.textContent.trim();
    const plain = Number(text.replace('\u2212', '-').replace(/[,\s%]/g, ''));
    return text === '' || text === '\u2013' ? null : Number.isNaN(plain) ? text : plain;
  };
  const compare = (a, b) => typeof a === 'number' && typeof b === 'number' ? a - b
    : String(a).localeCompare(String(b), undefined, {numeric: true});
  function close(table) { all('tr.detail', table).forEach((row) => row.previousElementSibling.querySelector('.more').click()); }
  function sort(head) {
    const table = head.closest('table');
    close(table);
    const down = head.getAttribute('aria-sort') === 'descending' ||
      (!head.hasAttribute('aria-sort') && head.dataset.first === 'ascending');
    const sign = down ? 1 : -1;
    all('th[aria-sort]', table).forEach((th) => th.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'ascending' : 'descending');
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, i) => ({row, i, v: value(row, head.cellIndex)}));
    rows.sort((a, b) => (a.v === null) - (b.v === null) ||
      (a.v === null ? 0 : sign * compare(a.v, b.v)) || a.i - b.i);
    body.append(...rows.map((r) => r.row));
  }
  document.addEventListener('click', (event) => {
    const button = event.target.closest('th > button[data-sort]');
    if (button) sort(button.parentElement);
  });
  for (const select of all('select[data-metric-of]')) {
    const table = document.getElementById(select.dataset.metricOf);
    const choose = () => { table.dataset.metric = select.value; };
    select.addEventListener('change', choose);
    choose();
  }
  for (const input of all('input[data-filter-of]')) {
    const table = document.getElementById(input.dataset.filterOf);
    const count = document.getElementById(input.dataset.filterOf + '-count');
    const filter = () => {
      close(table);
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const rows = [...table.tBodies[0].rows];
      let shown = 0;
      for (const row of rows) {
        const text = (row.dataset.search ?? row.textContent).toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      count.textContent = words.length ? `${shown} of ${rows.length}` : `${rows.length} sequence${rows.length === 1 ? '' : 's'}`;
    };
    input.addEventListener('input', filter);
    filter();
  }

  // --- the course of one sequence: overlap and confidence of every tracker over its frames
  const decode = (text) => [...text].map((c) => {
    const level = data.levels.indexOf(c);
    return level < 0 ? null : level / (data.levels.length - 1);
  });
  function course(index) {
    const [frames, overlaps, confidences] = data.courses[index];
    const off = (run) => document.querySelector(`button[data-toggle="${run}"][aria-pressed=false]`)
      ? ' off' : '';
    const holder = document.createElement('div');
    holder.className = 'inner';
    const wide = Math.max(320, Math.min(1100, document.documentElement.clientWidth - 80));
    const high = 190, left = 34, right = wide - 8, top = 8, bottom = high - 24;
    const svg = shape('svg', {viewBox: `0 0 ${wide} ${high}`, role: 'img', class: 'course',
      width: '100%', 'aria-label': 'Overlap (bold) and confidence (thin) over the frames'}, holder);
    for (const level of [0, 0.5, 1]) {
      const y = bottom - level * (bottom - top);
      shape('line', {x1: left, x2: right, y1: y, y2: y, class: 'gridline'}, svg);
      shape('text', {x: left - 6, y: y + 4, 'text-anchor': 'end'}, svg).textContent = level;
    }
    const last = Math.max(1, frames - 1);
    for (let k = 0; k <= 4; k++) {
      const x = left + k / 4 * (right - left);
      shape('text', {x, y: high - 6, 'text-anchor': ['start', 'middle', 'middle', 'middle', 'end'][k]}, svg)
        .textContent = (k ? '' : 'frame ') + Math.round(last * k / 4);
    }
    // as many points as can be told apart
    const thin = (values) => {
      const size = Math.max(1, Math.ceil(values.length / (wide / 9)));
      const means = [];
      for (let i = 0; i < values.length; i += size) {
        const known = values.slice(i, i + size).filter((v) => v !== null);
        means.push(known.length ? known.reduce((a, b) => a + b) / known.length : null);
      }
      return means;
    };
    const line = (all) => {
      const values = thin(all);
      let gap = true, path = '';
      values.forEach((v, i) => {
        if (v === null) { gap = true; return; }
        const x = left + (i + 0.5) / values.length * (right - left);
        path += `${gap ? 'M' : 'L'}${x.toFixed(1)} ${(bottom - v * (bottom - top)).toFixed(1)}`;
        gap = false;
      });
      return path;
    };
    overlaps.forEach((text, run) => {
      if (confidences[run]) {
        const path = line(decode(confidences[run]));
        shape('path', {d: path, class: `curve confidence ${style(run)}${off(run)}`, 'data-run': run,
          style: 'stroke-width:1;stroke-dasharray:none;opacity:.55'}, svg);
      }
      if (text) shape('path', {d: line(decode(text)), class: `curve ${style(run)}${off(run)}`, 'data-run': run,
        style: 'stroke-width:1.8'}, svg);
    });
    const note = document.createElement('p');
    note.className = 'note';
    note.textContent = 'Bold: overlap (IoU) with the truth. Thin: confidence. Gaps: the target is absent or not annotated.';
    holder.append(note);
    return holder;
  }
  document.addEventListener('click', (event) => {
    const button = event.target.closest('button.more');
    if (!button) return;
    const row = button.closest('tr');
    const open = button.getAttribute('aria-expanded') === 'true';
    button.setAttribute('aria-expanded', !open);
    if (open) { row.nextElementSibling.remove(); return; }
    const detail = document.createElement('tr');
    detail.className = 'detail';
    detail.insertCell().colSpan = row.cells.length;
    detail.cells[0].append(course(Number(button.dataset.sequence)));
    row.after(detail);
  });
})();
