// Aligns by hand: the infrared image lies over the visible one, and is moved, sized and turned.
import {applied, chained, fit, inverse, parsed, scaling, similarity, times,
  written} from './laying.js';
import {resized, toImageData} from './pixels.js';
import {fitting} from './reading.js';

const SHOWN = 250_000; // most pixels in which a picture is shown
const UNMOVED = {x: 0, y: 0, size: 1, turn: 0};
const FIELDS = {right: ['x', 1], down: ['y', 1], size: ['size', 100], turn: ['turn', 1]};
const KEYS = {ArrowLeft: {x: -1}, ArrowRight: {x: 1}, ArrowUp: {y: -1}, ArrowDown: {y: 1},
  '+': {size: 1.005}, '-': {size: 1 / 1.005}, ',': {turn: -0.1}, '.': {turn: 0.1}};

/**
 * Serves the part of the page with these controls: `show` gives it the pictures, as reading.js reads
 * them, and `between` tells where the first one lies. `changed` is called when that changes.
 */
export function aligning(part, changed, failed) {
  const find = name => part.querySelector(`[name=${name}]`), view = part.querySelector('.overlay');
  const [below, above] = view.querySelectorAll('canvas'), fingers = new Map();
  let pictures = null, used = false; // unless it is used, the pictures are taken to be registered
  let base = null; // {matrix, moving, fixed} of a file; without one the picture lies in the middle
  let moved = UNMOVED; // on top of that, in pixels of the visible image

  /** From the whole infrared image to the whole visible one. */
  function matrix() {
    const {moving, fixed} = pictures;
    const first = base ? chained(scaling(base.fixed, fixed), base.matrix, scaling(moving, base.moving))
      : fit(moving, fixed);
    return times(similarity(moved, middle(first)), first);
  }

  /** Where the centre of the infrared image lies. */
  function middle(matrix) {
    return applied(matrix, (pictures.moving.width - 1) / 2, (pictures.moving.height - 1) / 2);
  }

  function draw() {
    if (!pictures) return;
    const {moving, fixed} = pictures, zoom = view.clientWidth / fixed.width;
    // A canvas is measured from its outer edge, half a pixel before the centre of its first pixel.
    const half = by => [[1, 0, by], [0, 1, by], [0, 0, 1]];
    const by = (across, down) => [[across, 0, 0], [0, down, 0], [0, 0, 1]];
    const m = chained(by(zoom, zoom), half(0.5), matrix(), half(-0.5),
      by(moving.width / above.width, moving.height / above.height));
    const columns = [0, 1, 2].map(k => [m[0][k], m[1][k], 0, m[2][k]]);
    above.style.transform = `matrix3d(${[columns[0], columns[1], [0, 0, 1, 0], columns[2]].flat()})`;
    for (const [name, [key, scale]] of Object.entries(FIELDS)) {
      if (document.activeElement !== find(name)) find(name).value = +(moved[key] * scale).toFixed(2);
    }
  }

  function move(by) {
    const {x = 0, y = 0, size = 1, turn = 0} = by;
    put({x: moved.x + x, y: moved.y + y, size: moved.size * size, turn: moved.turn + turn});
  }

  function put(place) {
    moved = {...place, size: Math.min(50, Math.max(0.02, place.size))};
    used = true;
    draw();
    changed();
  }

  function reset() {
    [base, moved, used] = [null, UNMOVED, false];
    draw();
  }

  /** Where in the visible image the first two fingers are: their middle, distance and direction. */
  function held() {
    const {left, top} = view.getBoundingClientRect(), scale = pictures.fixed.width / view.clientWidth;
    const [one, other] = [...fingers.values()]
      .map(([x, y]) => [(x - left) * scale - 0.5, (y - top) * scale - 0.5]);
    if (!other) return {at: one, length: 0, angle: 0};
    const [x, y] = [other[0] - one[0], other[1] - one[1]];
    return {at: [one[0] + x / 2, one[1] + y / 2], length: Math.hypot(x, y),
      angle: Math.atan2(y, x) * 180 / Math.PI};
  }

  view.onpointerdown = event => {
    view.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
  };
  view.onpointerup = view.onpointercancel = event => fingers.delete(event.pointerId);
  view.onpointermove = event => {
    if (!fingers.has(event.pointerId)) return;
    const before = held();
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    const after = held(), by = {size: 1, turn: 0};
    if (before.length && after.length) {
      by.size = after.length / before.length;
      by.turn = (after.angle - before.angle + 540) % 360 - 180;
    }
    // What is between the fingers stays there, so that the centre of the image moves about it.
    const centre = middle(matrix());
    const shift = {x: after.at[0] - before.at[0], y: after.at[1] - before.at[1]};
    const [x, y] = applied(similarity({...shift, ...by}, before.at), ...centre);
    move({...by, x: x - centre[0], y: y - centre[1]});
  };
  view.addEventListener('wheel', event => {
    if (document.activeElement !== view) return; // the page is scrolled
    event.preventDefault();
    const by = -(event.deltaY || event.deltaX) * (event.deltaMode ? 20 : 1);
    move(event.shiftKey ? {turn: by / 200} : {size: Math.exp(by / 4000)});
  }, {passive: false});
  view.onkeydown = event => {
    const by = KEYS[event.key], far = event.shiftKey && event.key.startsWith('Arrow') ? 10 : 1;
    if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move({...by, x: (by.x ?? 0) * far, y: (by.y ?? 0) * far});
  };
  for (const [name, [key, scale]] of Object.entries(FIELDS)) {
    find(name).oninput = ({target}) => {
      if (Number.isFinite(target.valueAsNumber)) put({...moved, [key]: target.valueAsNumber / scale});
    };
    find(name).onblur = draw; // shows what is used, if nothing useful was typed
  }
  find('shown').oninput = ({target}) => { above.style.opacity = target.value / 100; };
  find('keep').onclick = () => {
    const link = document.createElement('a'), {moving, fixed} = pictures;
    const file = new Blob([written(matrix(), moving, fixed)], {type: 'application/json'});
    Object.assign(link, {href: URL.createObjectURL(file), download: 'rig.json'}).click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };
  find('load').onchange = async ({target}) => {
    const [file] = target.files;
    target.value = ''; // so that the same file can be chosen again
    try {
      const found = parsed(await file.text(), file.name);
      [base, moved] = [found, UNMOVED];
      put(moved);
    } catch (error) {
      failed(error.message);
    }
  };
  new ResizeObserver(draw).observe(view);

  return {
    reset,
    use() { used = true; },
    get used() { return used; },

    /** Shows both pictures; if there are not two, nothing. */
    show(a, b) {
      part.hidden = !a || !b;
      pictures = part.hidden ? null : {moving: a.whole, fixed: b.whole};
      if (!pictures) return;
      for (const [canvas, picture] of [[below, b], [above, a]]) {
        const small = resized(picture, fitting(picture, SHOWN));
        Object.assign(canvas, {width: small.width, height: small.height});
        canvas.getContext('2d').putImageData(toImageData(small), 0, 0);
      }
      draw();
    },

    /** The two were exchanged, and so is the way from one to the other. */
    swap() {
      if (used) [base, moved] = [{matrix: inverse(matrix()), moving: pictures.fixed,
        fixed: pictures.moving}, UNMOVED];
    },

    /** The matrix from the first picture to the second one, in these sizes. */
    between(from, to) {
      const {moving, fixed} = pictures;
      return chained(scaling(fixed, to), matrix(), scaling(from, moving));
    },
  };
}
