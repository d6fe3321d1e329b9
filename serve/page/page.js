'use strict';
// A picture is drawn with what the model sees in it. The server answers with numbers and maps; all that is
// chosen here (tasks, least score) is drawn anew without asking it again.

const $ = id => document.getElementById(id);
const order = ['classification', 'detection', 'segmentation', 'depth', 'normals'];
const names = { classification: 'class', detection: 'objects', segmentation: 'segmentation', depth: 'depth', normals: 'normals' };
const largest = 1024; // pixels of the longer side of what is sent: a phone's photo is 20 times as much

let models = [];
let shown = null; // { image, answer, segmentation, depth, normals, masks }
const on = new Set(JSON.parse(localStorage.getItem('tasks') || '["classification","detection"]'));

start();

async function start() {
  const r = await fetch('models');
  const about = await r.json();
  models = about.models;
  for (const m of models) $('model').add(new Option(m.name, m.name));
  $('score').value = about.threshold;
  $('model').onchange = () => { chips(); if (shown) look(shown.blob); };
  chips();
  $('drop').onclick = e => { if (!shown) $('file').click(); };
  $('drop').onkeydown = e => { if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); $('file').click(); } };
  $('file').onchange = () => { if ($('file').files[0]) look($('file').files[0]); $('file').value = ''; };
  for (const type of ['dragover', 'dragleave', 'drop']) addEventListener(type, e => {
    e.preventDefault();
    $('drop').classList.toggle('over', type === 'dragover');
    if (type === 'drop' && e.dataTransfer.files[0]) look(e.dataTransfer.files[0]);
  });
  addEventListener('paste', e => {
    const item = [...e.clipboardData.items].find(i => i.type.startsWith('image/'));
    if (item) look(item.getAsFile());
  });
  $('score').oninput = draw;
  addEventListener('resize', draw);
  $('canvas').onpointermove = point;
  $('canvas').onpointerdown = point;
  $('canvas').onpointerleave = () => { $('here').hidden = true; };
}

function model() { return models.find(m => m.name === $('model').value); }

function chips() {
  const tasks = model().tasks;
  if (!tasks.some(t => on.has(t))) on.add(tasks[0]);
  $('chips').replaceChildren(...tasks.map(t => {
    const b = document.createElement('button');
    b.type = 'button';
    b.textContent = names[t];
    b.dataset.task = t;
    b.setAttribute('aria-pressed', on.has(t));
    b.onclick = () => {
      on.has(t) ? on.delete(t) : on.add(t);
      if (on.has(t)) for (const other of ['segmentation', 'depth', 'normals']) // one map covers another
        if (other !== t && ['segmentation', 'depth', 'normals'].includes(t)) on.delete(other);
      localStorage.setItem('tasks', JSON.stringify([...on]));
      for (const c of $('chips').querySelectorAll('button')) c.setAttribute('aria-pressed', on.has(c.dataset.task));
      draw();
    };
    return b;
  }));
  const again = document.createElement('button');
  again.type = 'button';
  again.textContent = 'another picture';
  again.className = 'again';
  again.hidden = !shown;
  again.id = 'again';
  again.onclick = () => $('file').click();
  $('chips').append(again);
}

// look sends a picture, shrunk if it is large, and shows the answer.
async function look(blob) {
  $('error').hidden = true;
  $('busy').hidden = false;
  try {
    let image;
    try {
      image = await createImageBitmap(blob, { imageOrientation: 'from-image' });
    } catch {
      throw new Error('This browser cannot read that file as a picture.');
    }
    let send = blob, note = '';
    const k = largest / Math.max(image.width, image.height);
    if (k < 1) {
      const c = document.createElement('canvas');
      c.width = Math.max(1, Math.round(image.width * k)); c.height = Math.max(1, Math.round(image.height * k));
      c.getContext('2d').drawImage(image, 0, 0, c.width, c.height);
      send = await new Promise(done => c.toBlob(done, 'image/jpeg', 0.93));
      note = `shrunk from ${image.width}×${image.height} before it was sent; `;
      image = await createImageBitmap(c);
    }
    const began = performance.now();
    const r = await fetch(`models/${encodeURIComponent($('model').value)}/predict?maps=true&threshold=0.05`, { method: 'POST', body: send });
    const answer = await r.json().catch(() => ({ error: `${r.status} ${r.statusText}` }));
    if (!r.ok) throw new Error(answer.error);
    const took = performance.now() - began;
    shown = { blob, image, answer };
    if (answer.segmentation) shown.segmentation = await palettePNG(answer.segmentation.file);
    if (answer.depth) shown.depth = npy(answer.depth.file);
    if (answer.normals) shown.normals = npy(answer.normals.file);
    shown.masks = (answer.detection || []).map(o => o.segmentation && mask(o.segmentation));
    $('about').textContent = `${answer.width}×${answer.height} pixels, ${note}${Math.round(took)} ms`;
    $('invite').hidden = true;
    $('canvas').hidden = false;
    $('drop').classList.add('full');
    if ($('again')) $('again').hidden = false;
    draw();
  } catch (e) {
    $('error').textContent = e.message;
    $('error').hidden = false;
  }
  $('busy').hidden = true;
}

// colour of a class, as the program's own pictures draw it.
function colour(task, i) { return (model().colours[task] || [])[i] || '#888888'; }

function rgb(task, i) { return [1, 3, 5].map(at => parseInt(colour(task, i).slice(at, at + 2), 16)); }

function objects() {
  const classes = model().labels.detection || [];
  return (shown.answer.detection || []).map((o, i) => ({ ...o, i, index: Math.max(0, classes.indexOf(o.class)) })).filter(o => o.score >= +$('score').value);
}

function draw() {
  if (!shown) return;
  const { image, answer } = shown;
  const c = $('canvas');
  // Small pictures are enlarged, so that lines and names stay sharp.
  const scale = Math.max(1, Math.min(8, Math.floor(900 / Math.max(image.width, image.height))));
  c.width = answer.width * scale; c.height = answer.height * scale;
  const g = c.getContext('2d');
  g.imageSmoothingEnabled = scale < 3;
  g.drawImage(image, 0, 0, c.width, c.height);
  const layer = on.has('depth') && shown.depth ? depthLayer() : on.has('normals') && shown.normals ? normalsLayer()
    : on.has('segmentation') && shown.segmentation ? segmentationLayer() : null;
  if (layer) g.drawImage(layer, 0, 0, c.width, c.height);
  if (on.has('detection')) drawObjects(g, scale);
  const best = on.has('classification') && answer.classification && answer.classification[0];
  const line = Math.round(15 * unit());
  if (best) {
    g.font = `600 ${line}px system-ui, sans-serif`;
    const text = `${best.class}  ${Math.round(100 * best.probability)} %`;
    g.fillStyle = 'rgba(16,16,15,.78)';
    g.fillRect(0, 0, g.measureText(text).width + line * 1.2, line * 1.8);
    g.fillStyle = '#fff';
    g.fillText(text, line * .6, line * 1.25);
  }
  $('slider').hidden = !answer.detection;
  $('scoreText').textContent = (+$('score').value).toFixed(2);
  tell();
}

// unit is a pixel of the page in pixels of the canvas, so that lines and names look the same at any size.
function unit() { return $('canvas').width / ($('canvas').clientWidth || $('canvas').width); }

function drawObjects(g, scale) {
  const list = objects().reverse(); // the surest last, on top
  for (const o of list) {
    const m = shown.masks[o.i];
    if (m) g.drawImage(tinted(m, rgb('detection', o.index)), 0, 0, g.canvas.width, g.canvas.height);
  }
  const width = 2 * unit(), line = Math.round(12.5 * unit());
  g.font = `600 ${line}px system-ui, sans-serif`;
  for (const o of list) {
    const [x, y, w, h] = o.bbox.map(v => v * scale);
    g.lineWidth = 2 * width; g.strokeStyle = 'rgba(0,0,0,.45)'; g.strokeRect(x, y, w, h);
    g.lineWidth = width; g.strokeStyle = colour('detection', o.index); g.strokeRect(x, y, w, h);
  }
  for (const o of list) {
    const [x, y] = o.bbox.map(v => v * scale), text = `${o.class} ${o.score.toFixed(2)}`, w = g.measureText(text).width + line * .7, h = line * 1.45;
    const left = Math.max(0, Math.min(x, g.canvas.width - w)), top = y > h ? y - h : y;
    g.fillStyle = colour('detection', o.index); g.fillRect(left, top, w, h);
    g.fillStyle = '#fff'; g.fillText(text, left + line * .35, top + line * 1.08);
  }
}

// tell writes the numbers of what is drawn.
function tell() {
  const { answer } = shown, out = [];
  const add = (title, rows) => {
    const h = document.createElement('h2'), t = document.createElement('table');
    h.textContent = title;
    for (const [name, value, tint, share] of rows) {
      const tr = t.insertRow(), a = tr.insertCell(), b = tr.insertCell();
      if (tint) { const d = document.createElement('span'); d.className = 'dot'; d.style.background = tint; a.append(d); }
      a.append(name);
      if (share !== undefined) { const bar = document.createElement('span'); bar.className = 'bar'; bar.style.width = `${100 * share}%`; a.append(bar); }
      b.textContent = value;
    }
    out.push(h, t);
  };
  if (on.has('classification') && answer.classification)
    add('class', answer.classification.map(c => [c.class, `${(100 * c.probability).toFixed(1)} %`, null, c.probability]));
  if (on.has('detection') && answer.detection) {
    const list = objects();
    add(list.length === 1 ? '1 object' : `${list.length} objects`, list.map(o => [o.class, o.score.toFixed(2), colour('detection', o.index)]));
  }
  if (on.has('segmentation') && answer.segmentation)
    add('share of the picture', Object.entries(answer.segmentation.shares).sort((a, b) => b[1] - a[1])
      .map(([c, s]) => [c, `${(100 * s).toFixed(1)} %`, colour('segmentation', answer.segmentation.classes.indexOf(c))]));
  if (on.has('depth') && answer.depth) {
    const unit = answer.depth.units === 'metric' ? ' m' : '';
    add(unit ? 'depth' : 'inverse depth, of unknown scale', [['nearest', answer.depth.nearest.toFixed(2) + unit], ['farthest', answer.depth.farthest.toFixed(2) + unit]]);
  }
  if (on.has('normals') && answer.normals) add('normals', [['right', '+x', 'rgb(255,128,128)'], ['up', '−y', 'rgb(128,255,128)'], ['towards the camera', '−z', 'rgb(128,128,255)']]);
  $('numbers').replaceChildren(...out);
}

// point tells the values under the pointer.
function point(e) {
  if (!shown) return;
  const r = $('canvas').getBoundingClientRect(), { width: W, height: H } = shown.answer;
  const x = Math.min(W - 1, Math.max(0, Math.floor((e.clientX - r.left) / r.width * W))), y = Math.min(H - 1, Math.max(0, Math.floor((e.clientY - r.top) / r.height * H)));
  const words = [`${x}, ${y}`];
  const s = shown.segmentation, d = shown.depth, n = shown.normals;
  if (s) { const c = s.data[y * W + x]; words.push(c === 255 ? 'unsure' : shown.answer.segmentation.classes[c]); }
  if (d) { const v = d.data[y * W + x]; words.push(Number.isNaN(v) ? 'no depth' : v.toFixed(2) + (shown.answer.depth.units === 'metric' ? ' m' : '')); }
  if (n) words.push('n ' + [0, 1, 2].map(i => n.data[3 * (y * W + x) + i].toFixed(2)).join(' '));
  $('here').textContent = words.join('  ·  ');
  $('here').hidden = false;
}

// Layers: pictures of the answer's size, made once.

function layer(width, height, paint) {
  const c = document.createElement('canvas');
  c.width = width; c.height = height;
  const g = c.getContext('2d'), out = g.createImageData(width, height);
  paint(out.data);
  g.putImageData(out, 0, 0);
  return c;
}

function segmentationLayer() {
  const s = shown.segmentation;
  return s.layer ||= layer(shown.answer.width, shown.answer.height, p => {
    const tints = new Map();
    for (let i = 0; i < s.data.length; i++) {
      const k = s.data[i];
      if (!tints.has(k)) tints.set(k, k === 255 ? [255, 255, 255] : rgb('segmentation', k));
      const [r, g, b] = tints.get(k);
      p[4 * i] = r; p[4 * i + 1] = g; p[4 * i + 2] = b; p[4 * i + 3] = 155;
    }
  });
}

function depthLayer() {
  const d = shown.depth, { nearest, farthest, units } = shown.answer.depth;
  const near = v => units === 'metric' ? (1 / Math.max(v, 1e-6) - 1 / farthest) / Math.max(1 / nearest - 1 / farthest, 1e-9) : (v - farthest) / ((nearest - farthest) || 1e-9);
  return d.layer ||= layer(shown.answer.width, shown.answer.height, p => {
    for (let i = 0; i < d.data.length; i++) {
      const v = d.data[i];
      const [r, g, b] = Number.isNaN(v) ? [128, 128, 128] : turbo(Math.min(1, Math.max(0, near(v))));
      p[4 * i] = r; p[4 * i + 1] = g; p[4 * i + 2] = b; p[4 * i + 3] = 255;
    }
  });
}

// turbo is Google's colour map in its polynomial form (Mikhailov 2019, Apache-2.0).
function turbo(x) {
  const f = (a, b, c, d, e, g) => 255 * Math.min(1, Math.max(0, a + x * (b + x * (c + x * (d + x * (e + x * g))))));
  return [f(.13572138, 4.6153926, -42.66032258, 132.13108234, -152.94239396, 59.28637943),
    f(.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604),
    f(.1066733, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973)];
}

function normalsLayer() {
  const n = shown.normals;
  return n.layer ||= layer(shown.answer.width, shown.answer.height, p => {
    for (let i = 0; i < p.length / 4; i++) {
      const [x, y, z] = n.data.subarray(3 * i, 3 * i + 3);
      p[4 * i] = 127.5 * (1 + x); p[4 * i + 1] = 127.5 * (1 - y); p[4 * i + 2] = 127.5 * (1 - z); p[4 * i + 3] = 255;
    }
  });
}

function tinted(m, [r, g, b]) {
  return m.layer ||= layer(m.w, m.h, p => {
    for (let i = 0; i < m.data.length; i++) if (m.data[i]) { p[4 * i] = r; p[4 * i + 1] = g; p[4 * i + 2] = b; p[4 * i + 3] = 120; }
  });
}

// Formats.

function bytes(uri) { return Uint8Array.from(atob(uri.slice(uri.indexOf(',') + 1)), c => c.charCodeAt(0)); }

// npy reads a float32 array.
function npy(uri) {
  const b = bytes(uri), head = b[8] + 256 * b[9];
  return { data: new Float32Array(b.buffer.slice(10 + head)) };
}

// palettePNG reads the indices of a palette PNG, which a canvas would only show the colours of.
async function palettePNG(uri) {
  const b = bytes(uri), view = new DataView(b.buffer);
  let W, H, parts = [];
  for (let at = 8; at < b.length;) {
    const size = view.getUint32(at), kind = String.fromCharCode(...b.subarray(at + 4, at + 8));
    if (kind === 'IHDR') { W = view.getUint32(at + 8); H = view.getUint32(at + 12); }
    if (kind === 'IDAT') parts.push(b.subarray(at + 8, at + 8 + size));
    at += 12 + size;
  }
  const raw = new Uint8Array(await new Response(new Blob(parts).stream().pipeThrough(new DecompressionStream('deflate'))).arrayBuffer());
  const out = new Uint8Array(W * H);
  for (let y = 0; y < H; y++) {
    const filter = raw[y * (W + 1)];
    for (let x = 0; x < W; x++) {
      const a = x ? out[y * W + x - 1] : 0, up = y ? out[(y - 1) * W + x] : 0, c = x && y ? out[(y - 1) * W + x - 1] : 0;
      let p = 0;
      if (filter === 1) p = a; else if (filter === 2) p = up; else if (filter === 3) p = (a + up) >> 1;
      else if (filter === 4) { const q = a + up - c, pa = Math.abs(q - a), pb = Math.abs(q - up), pc = Math.abs(q - c); p = pa <= pb && pa <= pc ? a : pb <= pc ? up : c; }
      out[y * W + x] = raw[y * (W + 1) + 1 + x] + p;
    }
  }
  return { data: out };
}

// mask unpacks COCO's compressed run lengths, column by column.
function mask({ size: [h, w], counts }) {
  const data = new Uint8Array(w * h), runs = [];
  for (let at = 0; at < counts.length;) {
    let x = 0, k = 0, more = true;
    while (more) {
      const c = counts.charCodeAt(at++) - 48;
      x |= (c & 31) << 5 * k;
      more = c & 32;
      k++;
      if (!more && c & 16) x |= -1 << 5 * k;
    }
    runs.push(runs.length > 2 ? x + runs[runs.length - 2] : x);
  }
  let at = 0;
  runs.forEach((n, i) => {
    if (i % 2) for (let k = at; k < at + n; k++) data[k % h * w + Math.floor(k / h)] = 1;
    at += n;
  });
  return { data, w, h };
}
