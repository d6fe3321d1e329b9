'use strict';
// The grid shows the part of a long list that is in sight; the server sorts and draws. The large view has
// one image, its labels, and what was decided about them.

const $ = id => document.getElementById(id);
const el = (tag, props = {}, ...children) => { const e = Object.assign(document.createElement(tag), props); e.append(...children); return e; };

let set = null;                // what /api/set says
let ids = [];                  // images in the order shown
let at = 0;                    // position of the current image in ids
let open = null;               // the image in the large view
let shownTask = '';            // whose labels are drawn
let object = -1;               // chosen object: position in open.list
const known = new Map();       // items by id
const tiles = new Map();       // figures by position
let wanted = 0;                // serial of the latest order asked for

start();

async function start() {
  set = await get('api/set');
  document.title = `${set.name}: review`;
  $('set').textContent = `${set.name} · ${set.images.toLocaleString('en')} images` + (set.skipped ? `, ${set.skipped} unreadable` : '') + (set.against ? ` · against ${set.against}` : '');
  for (const t of set.tasks) $('task').add(new Option(t.name, t.name));
  shownTask = (set.tasks.find(t => t.name === 'detection') || set.tasks[0]).name;
  const differ = $('sort').querySelector('[value=differ]');
  if (set.against) { differ.hidden = false; } else differ.remove();
  if (!set.tasks.some(t => t.name === 'detection')) for (const v of ['most', 'fewest']) $('sort').querySelector(`[value=${v}]`).remove();
  classes();
  counts(set.counts);
  for (const id of ['sort', 'task', 'class', 'state', 'min', 'max']) $(id).onchange = () => {
    if (id === 'task' && $('task').value) shownTask = $('task').value;
    order();
    $('grid').focus();
  };
  $('bar').onsubmit = e => e.preventDefault();
  $('grid').onscroll = () => requestAnimationFrame(grid);
  addEventListener('resize', () => { grid(); fit(); });
  addEventListener('keydown', key);
  addEventListener('keyup', e => { if (e.key === 'b') $('paper').classList.remove('bare'); });
  $('help').onclick = () => $('keys').showModal();
  $('keys').onclick = () => $('keys').close();
  $('close').onclick = close;
  $('large').oncancel = e => { e.preventDefault(); close(); };
  for (const b of document.querySelectorAll('[data-key]')) b.onclick = () => act(b.dataset.key);
  $('name').onkeydown = e => {
    e.stopPropagation();
    if (e.key === 'Enter') rename($('name').value);
    if (e.key === 'Escape') { e.preventDefault(); $('rename').hidden = true; $('large').focus(); }
  };
  pointers();
  await order();
  $('grid').focus();
  document.body.dataset.ready = 'yes';
  while (set.scanned < set.images - set.skipped && !set.failed) { // sorting improves as the labels are looked through
    await new Promise(done => setTimeout(done, 700));
    const before = set.scanned;
    set = await get('api/set');
    if (set.scanned === before) { if (set.failed || before >= set.images) break; continue; }
    total();
    if (set.scanned >= set.images - set.skipped) { classes(); if ($('sort').value !== 'set') order(true); }
  }
  if (set.failed) toast(set.failed, 20000);
  classes();
  total();
  document.body.dataset.scanned = 'yes';
}

async function get(path, options) {
  const r = await fetch(path, options);
  const v = await r.json();
  if (!r.ok) throw new Error(v.error);
  return v;
}

function classes() {
  const now = $('class').value;
  $('class').replaceChildren(new Option('all', ''));
  for (const t of set.tasks) {
    const list = set.classes.map((c, i) => ({ ...c, i })).filter(c => c.task === t.name);
    if (!list.length) continue;
    const g = document.createElement('optgroup');
    g.label = t.name;
    for (const c of list.sort((a, b) => b.images - a.images)) g.append(new Option(c.images ? `${c.name} (${c.images})` : c.name, c.i));
    $('class').append(g);
  }
  $('class').value = now;
}

function counts(c) {
  const parts = [['kept', c.kept], ['dropped', c.dropped], ['tasks dropped', c.tasks], ['objects deleted', c.deleted], ['renamed', c.renamed], ['replaced', c.replaced]];
  const some = parts.filter(([name, n]) => n || name === 'kept' || name === 'dropped');
  $('counts').replaceChildren(...some.flatMap(([name, n], i) => [i ? ' · ' : '', el('b', { textContent: n.toLocaleString('en') }), ' ' + name]));
}

// order asks for the list of the filters; stay keeps the current image current.
async function order(stay) {
  const mine = ++wanted, q = new URLSearchParams();
  for (const id of ['sort', 'task', 'class', 'state', 'min', 'max']) if ($(id).value) q.set(id, $(id).value);
  let r;
  try { r = await get('api/order?' + q); } catch (e) { return toast(e.message); }
  if (mine !== wanted) return;
  const current = ids[at];
  ids = r.ids;
  at = Math.max(0, stay ? ids.indexOf(current) : 0);
  if (!stay) $('grid').scrollTop = 0;
  for (const t of tiles.values()) t.remove();
  tiles.clear();
  total();
  grid();
  document.body.dataset.order = mine;
}

function total() {
  const n = set.images - set.skipped;
  $('total').textContent = `${ids.length.toLocaleString('en')} shown` + (set.scanned < n ? ` · ${Math.floor(100 * set.scanned / n)} % looked through` : '');
}

// layout of the grid: columns of equal tiles.
function layout() {
  const width = $('tall').clientWidth, gap = width < 500 ? 8 : 14;
  const columns = Math.max(2, Math.floor((width + gap) / (width < 500 ? 150 : 226)));
  const w = Math.floor((width - gap * (columns - 1)) / columns), h = Math.round(w * .78) + 28;
  return { columns, gap, w, h };
}

// grid makes the tiles that are in sight and removes the others.
function grid() {
  const { columns, gap, w, h } = layout(), rows = Math.ceil(ids.length / columns);
  $('tall').style.height = `${Math.max(0, rows * (h + gap) - gap)}px`;
  $('tall').querySelector('.empty')?.remove();
  if (!ids.length) $('tall').append(el('p', { className: 'empty', textContent: 'No image is like that.' }));
  const top = $('grid').scrollTop - h, bottom = $('grid').scrollTop + $('grid').clientHeight + h;
  const from = Math.max(0, Math.floor(top / (h + gap))) * columns, to = Math.min(ids.length, Math.ceil(bottom / (h + gap)) * columns);
  for (const [p, t] of tiles) if (p < from || p >= to) { t.querySelector('img').src = ''; t.remove(); tiles.delete(p); }
  const missing = [];
  for (let p = from; p < to; p++) {
    let t = tiles.get(p);
    if (!t) {
      t = el('figure', { className: 'tile' }, el('div', { className: 'shot' }, el('img', { alt: '', decoding: 'async' })), el('figcaption'));
      t.onclick = () => { at = p; show(); };
      tiles.set(p, t);
      $('tall').append(t);
      if (known.has(ids[p])) fill(p); else missing.push(p);
    }
    Object.assign(t.style, { left: `${p % columns * (w + gap)}px`, top: `${Math.floor(p / columns) * (h + gap)}px`, width: `${w}px`, height: `${h}px` });
    t.firstChild.style.height = `${h - 28}px`;
    t.classList.toggle('now', p === at);
  }
  if (missing.length) load(missing);
}

async function load(positions) {
  const list = positions.map(p => ids[p]);
  for (let i = 0; i < list.length; i += 200) {
    let items;
    try { items = await get('api/items?ids=' + list.slice(i, i + 200).join(',')); } catch (e) { return toast(e.message); }
    for (const it of items) known.set(it.id, it);
  }
  for (const p of positions) if (tiles.has(p)) fill(p);
}

function picture(it, task, side) { return `image/${it.id}?task=${task}&side=${side}&v=${it.version}`; }

function fill(p) {
  const t = tiles.get(p), it = known.get(ids[p]);
  if (!t || !it) return;
  const img = t.querySelector('img'), caption = t.querySelector('figcaption');
  const src = picture(it, shownTask, 320);
  if (img.getAttribute('src') !== src && !it.skipped) img.src = src;
  t.className = `tile ${it.verdict}` + (p === at ? ' now' : '');
  const facts = [];
  if ($('sort').value === 'differ' && it.differ >= 0) facts.push(`≠ ${it.differ.toFixed(2)}`);
  else if (it.sure >= 0) facts.push(it.sure.toFixed(2));
  if (it.objects >= 0) facts.push(it.objects === 1 ? '1 object' : `${it.objects} objects`);
  caption.replaceChildren(el('span', { textContent: '\u200e' + it.key, title: it.key }), el('span', { textContent: it.skipped ? 'unreadable' : facts.join(' · ') }));
  t.querySelector('.mark')?.remove();
  if (it.verdict || it.edits) t.append(el('span', { className: `mark ${it.verdict}`, textContent: it.verdict === 'keep' ? 'kept' : it.verdict === 'drop' ? 'dropped' : 'edited' }));
}

function move(by) {
  if (!ids.length) return;
  const before = at;
  at = Math.min(ids.length - 1, Math.max(0, at + by));
  tiles.get(before)?.classList.remove('now');
  const { columns, gap, h } = layout(), y = Math.floor(at / columns) * (h + gap), g = $('grid');
  if (y < g.scrollTop) g.scrollTop = y;
  else if (y + h > g.scrollTop + g.clientHeight - 30) g.scrollTop = y + h - g.clientHeight + 30;
  grid();
  if (open && at !== before) show();
  return at !== before;
}

function key(e) {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  if ($('keys').open) { if (e.key === '?' ) $('keys').close(); return; }
  if (e.target.closest('select, input')) { if (e.key === 'Escape') $('grid').focus(); return; }
  if (e.target.closest('button') && (e.key === 'Enter' || e.key === ' ')) return;
  if (act(e.key)) e.preventDefault();
}

// act does what a key says, and reports whether it meant anything.
function act(k) {
  const { columns } = layout();
  switch (k) {
    case 'ArrowLeft': move(-1); return true;
    case 'ArrowRight': move(1); return true;
    case 'ArrowUp': move(open ? -1 : -columns); return true;
    case 'ArrowDown': move(open ? 1 : columns); return true;
    case 'PageDown': case 'PageUp': if (open) return false; move((k === 'PageDown' ? 1 : -1) * columns * Math.max(1, Math.floor($('grid').clientHeight / layout().h))); return true;
    case 'Home': move(-ids.length); return true;
    case 'End': move(ids.length); return true;
    case 'Enter': if (!open) show(); return true;
    case 'Escape': if (open) close(); return true;
    case '?': $('keys').showModal(); return true;
    case 'k': decide({ do: 'keep' }, true); return true;
    case 'd': decide({ do: 'drop' }, true); return true;
    case 't': decide({ do: 'drop-task', task: shownTask }); return true;
    case 'u': undo(); return true;
    case 's': { const i = set.tasks.findIndex(t => t.name === shownTask); setTask(set.tasks[(i + 1) % set.tasks.length].name); return true; }
  }
  if (!open) return false;
  switch (k) {
    case 'x': case 'Delete': {
      const o = open.list && open.list[object];
      if (!o) { toast('Choose an object first: 1 to 9, n, or a click.'); return true; }
      decide({ do: 'delete', task: 'detection', object: o.index });
      return true;
    }
    case 'r': startRename(); return true;
    case 'n': case 'p': {
      const n = (open.list || []).length;
      if (n) choose(((k === 'n' ? object + 1 : object - 1) + n) % n);
      return true;
    }
    case '+': case '=': zoom(1.4); return true;
    case '-': zoom(1 / 1.4); return true;
    case '0': fit(); return true;
    case 'b': $('paper').classList.add('bare'); return true;
  }
  if (k >= '1' && k <= '9') { choose(+k - 1); return true; }
  return false;
}

// decide tells the server, which has it on the disk when it answers.
let busy = Promise.resolve();
function decide(what, next) {
  const id = ids[at];
  if (id === undefined) return;
  if (next && !move(1) && open) toast('This was the last one.'); // while the disk works
  busy = busy.then(async () => {
    try {
      const r = await get('api/decide', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ image: id, ...what }) });
      took(r);
    } catch (e) { toast(e.message, 6000); }
  });
}

function undo() {
  busy = busy.then(async () => {
    try {
      const r = await get('api/undo', { method: 'POST' });
      took(r);
      toast(`Undone: ${r.sample.key}`);
      const p = ids.indexOf(r.sample.id);
      if (p >= 0) { at = p; move(0); if (open) show(); }
    } catch (e) { toast(e.message); }
  });
}

// took shows an image as the server says it is now.
function took(r) {
  counts(r.counts);
  known.set(r.sample.id, r.sample);
  for (const p of tiles.keys()) if (ids[p] === r.sample.id) fill(p);
  if (open && open.id === r.sample.id) { open = r.sample; details(); }
}

function toast(text, ms = 2200) {
  $('toast').textContent = text;
  $('toast').hidden = false;
  // A modal dialog covers all that is not in it.
  (open ? $('large') : document.body).append($('toast'));
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { $('toast').hidden = true; }, ms);
}

// The large view.

async function show() {
  const id = ids[at];
  if (id === undefined) return;
  let r;
  try { r = await get('api/sample/' + id); } catch (e) { return toast(e.message, 6000); }
  if (ids[at] !== id) return;
  open = r.sample;
  object = -1;
  $('rename').hidden = true;
  if (open.tasks.length && !open.tasks.includes(shownTask)) shownTask = open.tasks[0];
  if (!$('large').open) $('large').showModal();
  $('key').textContent = open.key;
  $('error').hidden = !open.skipped;
  $('error').textContent = open.skipped || '';
  details();
  fit();
  $('close').blur();
}

function close() {
  open = null;
  $('large').close();
  grid();
  move(0);
  $('grid').focus();
}

function setTask(t) {
  shownTask = t;
  for (const p of tiles.keys()) fill(p);
  if (open) details();
  else toast(`showing ${t}`);
}

function details() {
  const it = open, boxes = shownTask === 'detection';
  $('state1').replaceChildren(...(it.verdict ? [el('b', { className: it.verdict, textContent: it.verdict === 'keep' ? 'kept' : 'dropped' })] : ['undecided']),
    it.edits ? ` · ${it.edits} edit${it.edits > 1 ? 's' : ''}` : '', it.stale ? ` · ${it.stale} on labels made anew since, which do not hold` : '', ` · ${at + 1} of ${ids.length}`);
  $('chips').replaceChildren(...it.tasks.map(t => {
    const b = el('button', { type: 'button', textContent: t, className: it.dropped.includes(t) ? 'off' : '' });
    b.setAttribute('aria-pressed', t === shownTask);
    b.onclick = () => setTask(t);
    return b;
  }));
  const facts = [];
  if (it.differs[shownTask] !== undefined) facts.push(el('h3', { textContent: `differs by ${it.differs[shownTask].toFixed(2)} from the other labels` }));
  if (shownTask === 'classification' && it.classes) facts.push(el('h3', { textContent: 'class' }),
    ...it.classes.map(c => row('', c.class, `${(100 * c.probability).toFixed(1)} %`)));
  if (boxes && it.list) facts.push(el('h3', { textContent: it.list.length === 1 ? '1 object' : `${it.list.length} objects` }),
    ...it.list.map((o, i) => {
      const r = row(o.colour, o.class + (o.renamed ? ' (renamed)' : ''), o.score.toFixed(2), i < 9 ? i + 1 : '');
      r.classList.toggle('on', i === object);
      r.classList.toggle('gone', !!o.deleted);
      r.onclick = () => choose(i);
      return r;
    }));
  if (shownTask === 'segmentation') {
    const t = set.tasks.find(t => t.name === 'segmentation');
    if (it.sures.segmentation !== undefined) facts.push(el('h3', { textContent: `${(100 * it.sures.segmentation).toFixed(1)} % of the pixels have a class` }));
    facts.push(...t.classes.map((c, i) => row(t.colours[i], c, '')));
  }
  $('facts').replaceChildren(...facts);
  const flat = shownTask === 'detection' || shownTask === 'classification' ? '' : shownTask;
  const src = picture(it, it.dropped.includes(flat) ? '' : flat, 1280);
  if ($('picture').getAttribute('src') !== src && !it.skipped) $('picture').src = src;
  const masks = boxes && (it.list || []).some(o => o.mask) && !it.dropped.includes('detection') ? `api/masks/${it.id}?v=${it.version}` : '';
  $('masks').hidden = !masks;
  if (masks && $('masks').getAttribute('src') !== masks) $('masks').src = masks;
  draw();
}

function row(colour, name, value, number = '') {
  const r = el('button', { type: 'button', className: 'row', tabIndex: -1 });
  if (colour) { const i = el('i'); i.style.background = colour; r.append(i); }
  r.append(el('span', { textContent: name }), el('em', { textContent: number }), el('span', { textContent: value }));
  return r;
}

function choose(i) {
  if (!open.list || i >= open.list.length) return;
  if (shownTask !== 'detection') shownTask = 'detection';
  object = i;
  details();
}

function draw() {
  const s = $('boxes'), ns = 'http://www.w3.org/2000/svg';
  s.setAttribute('viewBox', `0 0 ${open.w || 1} ${open.h || 1}`);
  s.replaceChildren();
  if (shownTask !== 'detection' || !open.list || open.dropped.includes('detection')) return;
  const line = Math.max(open.w, open.h) / 52 / Math.min(2.5, Math.max(1, view.k / view.fit || 1));
  open.list.forEach((o, i) => {
    const g = document.createElementNS(ns, 'g'), r = document.createElementNS(ns, 'rect'), t = document.createElementNS(ns, 'text');
    if (i === object) g.classList.add('on');
    if (o.deleted) g.classList.add('gone');
    ['x', 'y', 'width', 'height'].forEach((a, k) => r.setAttribute(a, o.bbox[k]));
    r.style.stroke = o.colour;
    r.style.strokeWidth = (i === object ? 4 : 2) / view.k; // of the screen, however large the image is shown
    t.setAttribute('x', o.bbox[0] + line * .25);
    t.setAttribute('y', o.bbox[1] > line * 1.2 ? o.bbox[1] - line * .3 : o.bbox[1] + line);
    t.style.fontSize = `${line}px`;
    t.style.strokeWidth = line / 4;
    t.textContent = i === object || view.k > 1.5 * view.fit || open.list.length < 25 ? o.class : '';
    g.append(r, t);
    g.onpointerup = () => { if (!view.moved) choose(i); };
    s.append(g);
  });
}

async function startRename() {
  const task = shownTask === 'classification' ? 'classification' : 'detection';
  if (task === 'detection' && object < 0) return toast('Choose an object first: 1 to 9, n, or a click.');
  const t = set.tasks.find(t => t.name === task);
  if (!t) return toast('These labels have no classes to rename to.');
  $('names').replaceChildren(...t.classes.map(c => new Option(c, c)));
  $('name').value = '';
  $('rename').dataset.task = task;
  $('rename').hidden = false;
  $('name').focus();
}

function rename(name) {
  const task = $('rename').dataset.task, list = set.tasks.find(t => t.name === task).classes;
  const like = list.filter(c => c.toLowerCase().startsWith(name.trim().toLowerCase()));
  const to = list.includes(name) ? name : like.length === 1 ? like[0] : null;
  if (!to) return toast(like.length ? `Which one: ${like.slice(0, 5).join(', ')}?` : `There is no class ${name}.`);
  $('rename').hidden = true;
  $('name').blur();
  decide({ do: 'rename', task, class: to, ...(task === 'detection' ? { object: open.list[object].index } : {}) });
}

// Zoom and pan: the paper is moved and scaled within the view.

const view = { k: 1, x: 0, y: 0, fit: 1, moved: false };

function place() {
  const p = $('paper');
  p.style.width = `${open.w}px`; p.style.height = `${open.h}px`;
  p.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.k})`;
  $('picture').style.imageRendering = view.k > 4 ? 'pixelated' : 'auto';
}

function fit() {
  if (!open || !open.w) return;
  const v = $('view').getBoundingClientRect(), pad = v.width < 600 ? 8 : 28;
  view.k = view.fit = Math.min((v.width - 2 * pad) / open.w, (v.height - 2 * pad) / open.h);
  view.x = (v.width - open.w * view.k) / 2;
  view.y = (v.height - open.h * view.k) / 2;
  place();
  draw();
}

function zoom(by, x, y) {
  const v = $('view').getBoundingClientRect();
  x ??= v.width / 2; y ??= v.height / 2;
  const k = Math.min(view.fit * 40, Math.max(view.fit * .8, view.k * by));
  view.x = x - (x - view.x) * k / view.k;
  view.y = y - (y - view.y) * k / view.k;
  view.k = k;
  place();
  draw();
}

function pointers() {
  const down = new Map(), v = $('view');
  v.onwheel = e => { e.preventDefault(); const r = v.getBoundingClientRect(); zoom(Math.exp(-e.deltaY / 400), e.clientX - r.left, e.clientY - r.top); };
  v.onpointerdown = e => { down.set(e.pointerId, e); view.moved = false; };
  v.onpointermove = e => {
    const last = down.get(e.pointerId);
    if (!last || !open) return;
    const r = v.getBoundingClientRect();
    if (down.size === 1) {
      if (Math.abs(e.clientX - last.clientX) + Math.abs(e.clientY - last.clientY) > 3 || view.moved) {
        view.moved = true;
        view.x += e.clientX - last.clientX; view.y += e.clientY - last.clientY;
        place();
        down.set(e.pointerId, e);
      }
      return;
    }
    const other = [...down.values()].find(p => p.pointerId !== e.pointerId);
    const before = Math.hypot(last.clientX - other.clientX, last.clientY - other.clientY), now = Math.hypot(e.clientX - other.clientX, e.clientY - other.clientY);
    view.moved = true;
    zoom(now / Math.max(1, before), (e.clientX + other.clientX) / 2 - r.left, (e.clientY + other.clientY) / 2 - r.top);
    down.set(e.pointerId, e);
  };
  v.onpointerup = v.onpointercancel = v.onpointerleave = e => down.delete(e.pointerId);
  v.ondblclick = () => view.k > view.fit * 1.1 ? fit() : zoom(2.5);
}
