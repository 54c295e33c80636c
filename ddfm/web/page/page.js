// The page: reads two images, and shows what the worker makes of them. All pixels stay here.
import {aligning} from './aligning.js';
import {falseColored, isColored, isGreyWithMarks, isRendering} from './colors.js';
import {exifOf, exifFor, withExif} from './exif.js';
import {continued} from './gaps.js';
import {laid} from './laying.js';
import {asRGB, cropped, filled, gapsOfBoth, grey, mixed, padded, resized, toImageData}
  from './pixels.js';
import {fitting, isDeep, isRadiometric, read} from './reading.js';

const $ = id => document.getElementById(id);
const sources = {a: null, b: null}; // as reading.js reads them
let fused = null; // {width, height, plane, and of each source its rgb, grey and gaps}
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

const THUMBNAIL = 250_000; // most pixels in which a source is shown
const COARSER = 1.25; // least ratio of sides at which a picture is enlarged to the other's size
const FLAT = 64; // levels of 256 below which a picture of 16 bits was not stretched
const LEAST_TRIED = 500_000; // pixels at which a fusion that failed is not tried at half of them
const most = () => Math.min($('most').value, site.graphs[$('method').value].pixels);
// A phone has less memory, and takes longer.
if (matchMedia('(pointer: coarse)').matches) $('most').value = 2e6;

/** Begins another round; what is being computed for the last one, maybe for minutes, is ended. */
function anew() {
  fused = null;
  if (waiting.size) restart();
  return ++round;
}

/** Starts a new worker, and ends what the old one is computing. */
function restart() {
  worker.terminate();
  for (const {reject} of waiting.values()) reject(new Error('ended'));
  waiting.clear();
  start();
}

// A browser short of memory may end the page and load it again. So the tab notes, while there is work,
// at how many pixels; if that is still noted when the page begins, half of them have to do.
let works = 0, kept = null;
try {
  kept = sessionStorage;
} catch { /* the user forbids to keep anything */ }
function note(more) {
  works += more;
  if (works) kept?.setItem('pixels', most());
  else kept?.removeItem('pixels');
  $('busy').hidden = !works;
}
addEventListener('pagehide', () => kept?.removeItem('pixels')); // the user left it

function say(text) { $('status').textContent = text; }
function warn(text) { $('warning').textContent = text; $('warning').hidden = !text; }
function fail(text) {
  say('');
  warn(text);
  $('result').hidden = true;
  reveal('warning');
}
/** On a phone, what is said is below the visible part. */
function reveal(id) { $(id).scrollIntoView({block: 'nearest'}); }

// Where the infrared image lies, if it was aligned by hand.
const place = aligning($('align'), () => {
  anew();
  $('result').hidden = true;
  warn('');
  say('Press Fuse once the images lie on each other.');
}, warn);
$('align').querySelector('[name=apply]').onclick = () => {
  place.use();
  fuse();
};
$('align').querySelector('[name=reset]').onclick = () => {
  place.reset();
  warn('');
  fuse();
};

function again(side) { if (sources[side]) choose(side, chosen[side]); }

async function choose(side, file) {
  if (!file) return;
  chosen[side] = file;
  anew();
  warn('');
  say(`Reading ${file.name} …`);
  let source = null, problem;
  try {
    note(1);
    const bytes = new Uint8Array(await file.arrayBuffer());
    source = await read(file, bytes, most());
    Object.assign(source, {exif: exifOf(bytes), deep: isDeep(bytes),
      radiometric: isRadiometric(bytes)});
  } catch (error) {
    problem = error.message;
  } finally {
    note(-1);
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
  drop.querySelector('output').textContent = source ? `${source.name}, ${told(source.whole)}` : '';
  if (source) draw(canvas, resized(source, fitting(source, THUMBNAIL)));
  place.show(sources.a, sources.b);
}

const told = ({width, height}) => `${width} × ${height}`;

function draw(canvas, picture) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  canvas.getContext('2d').putImageData(toImageData(picture), 0, 0);
}

/** The size that two pictures would be fused at on the command line; null if it would refuse them. */
function common(a, b) {
  if (place.used) return b.whole;
  const [small, large] = [a.whole, b.whole].sort((p, q) => p.height - q.height || p.width - q.width);
  if (small.width === large.width && small.height === large.height) return large;
  const shape = large.width / large.height;
  const alike = Math.abs(small.height - small.width / shape) <= 1
    || Math.abs(small.width - small.height * shape) <= 1;
  const coarser = COARSER * small.height <= large.height && COARSER * small.width <= large.width;
  return alike && coarser ? large : null;
}

async function fuse() {
  const mine = anew(), {a, b} = sources;
  $('result').hidden = true;
  if (!a || !b) return say(`Choose the ${a ? 'visible' : 'infrared'} image.`);
  const whole = common(a, b);
  if (!whole) {
    $('align').open = true;
    return fail(unlike(a, b));
  }
  note(1);
  try {
    for (let pixels = Math.min(most(), whole.width * whole.height); ; pixels /= 2) {
      const size = fitting(whole, pixels);
      if (Math.min(size.width, size.height) < site.least) {
        return fail(`Images must be at least ${site.least} pixels wide and high; these would be `
          + `fused at ${told(size)}.`);
      }
      try {
        return await fuseAt(size, mine);
      } catch (error) {
        if (mine !== round) return;
        if (pixels < LEAST_TRIED) return fail(`The images could not be fused: ${error.message}`);
        restart(); // it may have been memory, of which what has failed keeps much
      }
    }
  } finally {
    note(-1);
  }
}

function unlike(a, b) {
  const turned = a.whole.width * b.whole.width === a.whole.height * b.whole.height;
  return `${a.name} has ${told(a.whole)} pixels and ${b.name} ${told(b.whole)}, so they do not show `
    + 'the same part of the scene. '
    + (turned ? 'One of them seems to be rotated by 90 degrees: rotate it first.'
      : 'Align them by hand above, then press Fuse; ddfm on the command line can do it by itself '
        + '(--align auto).');
}

async function fuseAt(size, mine) {
  const {width, height} = size, graph = $('method').value, about = site.graphs[graph];
  say(`Fusing ${told(size)} pixels …`);
  reveal('busy');
  await new Promise(done => setTimeout(done)); // which shows this
  const pair = {a: placed(size), b: resized(sources.b, size)};
  if (pair.a.gaps?.every(Boolean)) return fail('The infrared image lies beside the visible one.');
  const rendering = falseColored(pair), planes = {};
  for (const side of ['a', 'b']) planes[side] = grey(pair[side].rgb);
  const given = {...planes};
  for (const [side, other] of ['ab', 'ba']) {
    const {rgb, gaps} = pair[side];
    if (!gaps) continue;
    // So that the other decides there alone, and no rim shows.
    planes[side] = continued(given[side], gaps, given[other], pair[other].gaps, width, height);
    pair[side] = {...pair[side], rgb: filled(rgb, gaps, planes[side])};
  }
  const noise = {};
  for (const side of ['a', 'b']) {
    const own = sources[side]; // enlarged, noise would look like texture
    const alone = own.width < width || place.used && side === 'a';
    const small = alone && Math.min(own.width, own.height) >= site.least && !own.gaps;
    const x = small ? {data: grey(own.rgb), dims: [1, 1, own.height, own.width]}
      : {data: planes[side], dims: [1, 1, height, width]};
    noise[side] = (await run('noise', {x})).data[0];
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
  fused = {...size, plane, pair, planes, rendering};
  await paint();
  if (mine !== round) return;
  reveal('result');
  say(`${sized(size)}It took ${((performance.now() - began) / 1000).toFixed(1)} s, on this device.`);
  warn(warnings(noise, rendering));
}

/** The infrared image on the grid of the visible one. */
function placed(size) {
  return place.used ? laid(sources.a, place.between(sources.a, size), size) : resized(sources.a, size);
}

/** What the pair was fused at, if that is not the size of both. */
function sized(size) {
  const whole = common(sources.a, sources.b), {a, b} = sources;
  const millions = (size.width * size.height / 1e6).toFixed(1);
  const reduced = size.width < whole.width;
  const small = place.used ? [] : [a, b].filter(({whole}) => whole.width < size.width);
  return (reduced ? `The pair was fused at ${told(size)} (${millions} million pixels) of `
    + `${told(whole)}. ` : 'Fused. ')
    + small.map(source => `${source.name} was enlarged from ${told(source.whole)}. `).join('');
}

function warnings(noise, rendering) {
  const named = sides => sides.map(side => sources[side].name).join(' and ');
  const [loud, deep, warm] = [side => noise[side] >= site.clean, side => sources[side].deep,
    side => sources[side].radiometric].map(is => ['a', 'b'].filter(is));
  const {a, b} = sources;
  return [
    rendering && `${named([rendering])} seems to be temperatures in false colours, or grey with a logo `
      + 'or marks in colour, and was fused as grey, by its brightness. White-hot grey without a logo '
      + 'gives a better result, as does ddfm on the command line, which knows palettes.',
    (rendering === 'b'
      || isColored(a) && !isColored(b) && !isRendering(a) && !isGreyWithMarks(a))
      && `${a.name} was taken as infrared and ${b.name} as visible. If that is wrong, swap them.`,
    warm.length && `${named(warm)}: the temperatures in this file were not used, only the image that `
      + 'the camera made of them. ddfm on the command line uses them, and the photograph beside them.',
    deep.length && `${named(deep)}: 16 bits, of which this page uses the upper 8. ddfm on the `
      + 'command line uses all.',
    ...deep.map(side => sources[side]).filter(source => levels(source) < FLAT).map(source =>
      `Only ${levels(source)} of 256 levels are left of ${source.name}, as of raw temperatures: here `
      + 'it is nearly without contrast. Stretch it to 8 bits first, or use ddfm on the command line.'),
    loud.length && `${named(loud)}: noisy. ddfm on the command line removes noise first, which `
      + 'this page does not.',
  ].filter(Boolean).join(' ');
}

/** How many levels of 256 lie from the darkest to the brightest of a picture. */
function levels({rgb}) {
  let [least, most] = [1, 0];
  for (const value of rgb) [least, most] = [Math.min(least, value), Math.max(most, value)];
  return 1 + Math.round(255 * (most - least));
}

function repaint() {
  const mine = round;
  paint().catch(error => mine === round && fail(`The image cannot be shown: ${error.message}`));
}

async function paint() {
  if (!fused) return;
  const mine = round;
  const {width, height, plane, pair, planes, rendering} = fused, of = $('color').value;
  const rgb = side => of === side || of === 'auto' && side !== rendering
    ? pair[side].rgb : asRGB(planes[side]);
  const dims = [1, 3, height, width], mix = mixed(planes.b, plane, $('strength').value / 100);
  const {data} = await run('color', {
    fused: {data: mix, dims: [1, 1, height, width]},
    a: {data: rgb('a'), dims}, b: {data: rgb('b'), dims},
  });
  if (mine !== round) return;
  $('result').hidden = false;
  draw($('fused'), {width, height, rgb: data, gaps: gapsOfBoth(pair.a.gaps, pair.b.gaps)});
  draw($('before'), pair[$('which').value]);
  divide();
}

function divide() {
  $('before').style.clipPath = `inset(0 ${100 - $('divide').value}% 0 0)`;
}

/** The source whose colours are kept, or else the visible one. */
function colorful() {
  const of = $('color').value, {a, b} = sources;
  return of === 'a' || of === 'auto' && isColored(a) && !isColored(b) ? a : b;
}

function save() {
  const {width, height} = fused;
  $('fused').toBlob(async blob => {
    const {exif} = colorful();
    const kept = $('exif').checked && exif && exifFor(exif, width, height);
    if (kept) blob = withExif(new Uint8Array(await blob.arrayBuffer()), kept);
    const name = sources.b.name.replace(/\.[^.]*$/, '');
    const link = Object.assign(document.createElement('a'),
      {href: URL.createObjectURL(blob), download: `${name}-fused.png`});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // a phone asks first where to put it
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
  if (sources.a && sources.b) place.swap();
  const [a, b] = ['a', 'b'].map(side => $(`file-${side}`));
  [sources.a, sources.b] = [sources.b, sources.a];
  [chosen.a, chosen.b] = [chosen.b, chosen.a];
  [a.files, b.files] = [b.files, a.files];
  show('a');
  show('b');
  await fuse();
};
// Other pixels may be needed than were kept.
for (const id of ['method', 'most']) $(id).onchange = () => ['a', 'b'].forEach(again);
for (const id of ['color', 'which', 'strength']) $(id).onchange = repaint;
$('divide').oninput = divide;
$('save').onclick = save;

say('Choose two images, or drop them here.');
const ended = kept?.getItem('pixels');
if (ended) {
  kept.removeItem('pixels');
  const sizes = [...$('most').options].map(option => option.value);
  $('most').value = sizes.find(size => size <= ended / 2) ?? sizes.at(-1);
  warn('The browser ended this page during its last work, probably for lack of memory. Size is set to '
    + `at most ${$('most').value / 1e6} million pixels now; if it ends again, choose smaller images.`);
}
if ('serviceWorker' in navigator) navigator.serviceWorker.register('offline.js').catch(() => {});
