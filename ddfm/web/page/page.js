// The page: reads two images, and shows what the worker makes of them. All pixels stay here.
import {exifOf, exifFor, withExif} from './exif.js';
import {asRGB, grey, mixed, padded, cropped, toImageData} from './pixels.js';

const $ = id => document.getElementById(id);
const sources = {a: null, b: null}; // {name, width, height, rgb, exif}
let fused = null; // luminance, {width, height, plane}
let round = 0; // number of the current fusion; results of earlier ones are ignored
const chosen = {a: null, b: null}; // the last file chosen, which may still be being read

const waiting = new Map();
let worker, asked = 0;
function start() {
  worker = new Worker('worker.js', {type: 'module'});
  worker.onmessage = ({data}) => {
    const {resolve, reject} = waiting.get(data.id);
    waiting.delete(data.id);
    data.error ? reject(new Error(data.error)) : resolve(data.result);
  };
  worker.onerror = () => fail('The program of this page could not be loaded.');
}
start();
const run = (graph, feeds) => new Promise((resolve, reject) => {
  waiting.set(++asked, {resolve, reject});
  worker.postMessage({id: asked, graph, feeds});
});

const site = await (await fetch('site.json')).json();
for (const [name, title] of [['default', 'Default'], ['dmfuse', 'DMFuse, a network']]) {
  if (site.graphs[name]) $('method').add(new Option(title, name));
}

/** Begins another round; what is being computed for the last one, maybe for minutes, is ended. */
function anew() {
  fused = null;
  if (waiting.size) {
    worker.terminate();
    for (const {reject} of waiting.values()) reject(new Error('ended'));
    waiting.clear();
    start();
  }
  return ++round;
}

function say(text) { $('status').textContent = text; }
function warn(text) { $('warning').textContent = text; $('warning').hidden = !text; }
function fail(text) { say(''); warn(text); $('result').hidden = true; }

async function read(file) {
  let image;
  try {
    image = await createImageBitmap(file, {colorSpaceConversion: 'none', premultiplyAlpha: 'none'});
  } catch {
    throw new Error(`${file.name} is not an image that this browser can read, or is damaged. `
      + 'Use PNG, JPEG or WebP here; for TIFF, DICOM and raw files, use ddfm on the command line.');
  }
  const {width, height} = image;
  if (width * height > site.pixels) {
    throw new Error(`${file.name} has ${width} × ${height} pixels; this page takes at most `
      + `${Math.floor(site.pixels / 1e6)} million. Reduce it, or use ddfm on the command line.`);
  }
  const context = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
  context.drawImage(image, 0, 0);
  const rgb = asRGB(context.getImageData(0, 0, width, height));
  const bytes = new Uint8Array(await file.arrayBuffer());
  return {name: file.name, width, height, rgb, exif: exifOf(bytes), deep: isDeep(bytes)};
}

/** Whether a PNG has 16 bits; the browser drops the lower 8. */
function isDeep(bytes) {
  return String.fromCharCode(...bytes.subarray(1, 4)) === 'PNG' && bytes[24] === 16;
}

async function choose(side, file) {
  if (!file) return;
  chosen[side] = file;
  anew();
  warn('');
  let source = null, problem;
  try {
    source = await read(file);
  } catch (error) {
    problem = error.message;
  }
  side = ['a', 'b'].find(side => chosen[side] === file); // they may have been swapped meanwhile
  if (!side) return; // another was chosen meanwhile
  sources[side] = source;
  show(side);
  if (problem) {
    $(`file-${side}`).value = ''; // else its name stays there as if it had been taken
    return fail(problem);
  }
  await fuse();
}

function show(side) {
  const source = sources[side], drop = $(`drop-${side}`), canvas = drop.querySelector('canvas');
  canvas.hidden = !source;
  drop.querySelector('output').textContent =
    source ? `${source.name}, ${source.width} × ${source.height}` : '';
  if (source) draw(canvas, source);
}

function draw(canvas, {width, height, rgb}) {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d').putImageData(toImageData(rgb, width, height), 0, 0);
}

async function fuse() {
  const mine = anew(), {a, b} = sources;
  $('result').hidden = true;
  if (!a || !b) return say(`Choose the ${a ? 'visible' : 'infrared'} image.`);
  if (a.width !== b.width || a.height !== b.height) {
    return fail(`${a.name} has ${a.width} × ${a.height} pixels and ${b.name} `
      + `${b.width} × ${b.height}; this page needs registered images of the same size. `
      + 'Use ddfm on the command line for others (--resize, --align auto).');
  }
  say('Fusing …');
  const {width, height} = a, graph = $('method').value, about = site.graphs[graph];
  try {
    const planes = {a: grey(a), b: grey(b)};
    const small = Math.min(width, height) < site.least;
    if (small) throw new Error(`Images must be at least ${site.least} pixels wide and high.`);
    const noise = [];
    for (const side of ['a', 'b']) {
      const {data} = await run('noise', {x: {data: planes[side], dims: [1, 1, height, width]}});
      noise.push(data[0]);
    }
    const feeds = {};
    for (const side of ['a', 'b']) feeds[side] = padded(planes[side], width, height, about.pad);
    const began = performance.now();
    const {data, dims} = await run(graph, feeds);
    let plane = cropped(data, dims[3], width, height);
    if (about.tone) {
      plane = (await run('tone', {fused: {data: plane, dims: [1, 1, height, width]}})).data;
    }
    if (mine !== round) return;
    fused = {width, height, plane, below: planes.b};
    await paint();
    $('result').scrollIntoView({block: 'nearest'}); // on a phone it is below the visible part
    say(`Fused in ${((performance.now() - began) / 1000).toFixed(1)} s, on this device.`);
    const loud = [a, b].filter((_, k) => noise[k] >= site.clean), deep = [a, b].filter(s => s.deep);
    const names = some => some.map(s => s.name).join(' and ');
    warn([
      deep.length && `${names(deep)}: 16 bits, of which this page uses the upper 8. ddfm on the `
        + 'command line uses all.',
      loud.length && `${names(loud)}: noisy. ddfm on the command line removes noise first, which `
        + 'this page does not.',
    ].filter(Boolean).join(' '));
  } catch (error) {
    if (mine === round) fail(`The images could not be fused: ${error.message}`);
  }
}

function repaint() {
  const mine = round;
  paint().catch(error => mine === round && fail(`The image cannot be shown: ${error.message}`));
}

async function paint() {
  if (!fused) return;
  const mine = round;
  const {width, height} = fused, of = $('color').value;
  const plane = mixed(fused.below, fused.plane, $('strength').value / 100);
  const rgb = side => of === 'auto' || of === side ? sources[side].rgb : sources[side].grey;
  for (const side of ['a', 'b']) sources[side].grey ??= asRGB(null, grey(sources[side]));
  const dims = [1, 3, height, width];
  const {data} = await run('color', {
    fused: {data: plane, dims: [1, 1, height, width]},
    a: {data: rgb('a'), dims}, b: {data: rgb('b'), dims},
  });
  if (mine !== round) return;
  $('result').hidden = false;
  draw($('fused'), {width, height, rgb: data});
  draw($('before'), sources[$('which').value]);
  divide();
}

function divide() {
  $('before').style.clipPath = `inset(0 ${100 - $('divide').value}% 0 0)`;
}

/** The source whose colours are kept, or else the visible one. */
function colorful() {
  const of = $('color').value;
  const seen = ({rgb}) => {
    const count = rgb.length / 3;
    return rgb.subarray(0, count).some((r, k) => r !== rgb[count + k] || r !== rgb[2 * count + k]);
  };
  return sources[of === 'a' || of === 'auto' && seen(sources.a) && !seen(sources.b) ? 'a' : 'b'];
}

function save() {
  $('fused').toBlob(async blob => {
    const {exif, width, height} = colorful();
    const kept = $('exif').checked && exif && exifFor(exif, width, height);
    if (kept) blob = withExif(new Uint8Array(await blob.arrayBuffer()), kept);
    const link = Object.assign(document.createElement('a'),
      {href: URL.createObjectURL(blob), download: 'fused.png'});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

for (const side of ['a', 'b']) {
  const drop = $(`drop-${side}`), input = $(`file-${side}`);
  input.onchange = () => choose(side, input.files[0]);
  drop.ondragover = () => drop.classList.add('over');
  drop.ondragleave = () => drop.classList.remove('over');
  drop.ondrop = () => drop.classList.remove('over');
}

// Anywhere on the page, because a browser leaves it and opens the file where none is expected.
document.ondragover = event => event.preventDefault();
document.ondrop = event => {
  event.preventDefault();
  const {files} = event.dataTransfer, drop = event.target.closest?.('.drop');
  if (files.length === 1 && drop) put(drop.id.slice(-1), files[0]);
  else if (files.length === 2) ['a', 'b'].forEach((side, k) => put(side, files[k]));
  else if (files.length) warn('Drop one image on Infrared or Visible, or two at once.');
};

/** Chooses a file as its input would, which shows the name. */
function put(side, file) {
  const one = new DataTransfer();
  one.items.add(file);
  $(`file-${side}`).files = one.files;
  choose(side, file);
}

$('swap').onclick = async () => {
  const [a, b] = ['a', 'b'].map(side => $(`file-${side}`));
  [sources.a, sources.b] = [sources.b, sources.a];
  [chosen.a, chosen.b] = [chosen.b, chosen.a];
  [a.files, b.files] = [b.files, a.files];
  show('a');
  show('b');
  await fuse();
};
$('method').onchange = fuse;
for (const id of ['color', 'which', 'strength']) $(id).onchange = repaint;
$('divide').oninput = divide;
$('save').onclick = save;

say('Choose two images, or drop them here.');
if ('serviceWorker' in navigator) navigator.serviceWorker.register('offline.js').catch(() => {});
