// Recognises renderings of temperatures in false colours, as ddfm/imaging/thermal/renderings.py does.
import {grey} from './pixels.js';

const COLORED = [[0.1, 0.7], [0.2, 0.3]], ALIKE = 0.5, ORDERED = 0.8; // as there
const GREY = 2.5 / 255, MOSTLY = 0.75, SOME = 0.1; // as there
const BINS = 32, LOOK = 160, FIELDS = 24;

/** Whether a picture, {width, height, rgb}, has colour anywhere. */
export function isColored({rgb}) {
  const count = rgb.length / 3;
  return rgb.subarray(0, count).some((r, k) => r !== rgb[count + k] || r !== rgb[2 * count + k]);
}

/**
 * Which of two pictures, 'a' or 'b', is in false colours, or grey with marks in colour, beside a
 * photograph; null if none is.
 */
export function falseColored({a, b}) {
  if (!isColored(a) || !isColored(b)) return null;
  const found = Object.entries({a, b})
    .filter(([, picture]) => isRendering(picture) || isGreyWithMarks(picture));
  return found.length === 1 && !alike(a, b) ? found[0][0] : null;
}

/** Whether the colours of a picture depend on its brightness, as a palette gives. */
export function isRendering(picture) {
  const {luma, chroma} = at(picture, ...lookedAt(picture));
  const total = sum(chroma.map(plane => sum(plane.map(v => v * v))));
  const share = explained(luma, chroma) / Math.max(total, 1e-12);
  return COLORED.some(([least, part]) => total > least ** 2 * luma.length && share > part);
}

/** Whether a picture in colour is grey nearly everywhere, as with a coloured logo in it. */
export function isGreyWithMarks(picture) {
  const {luma, spread} = at(picture, ...lookedAt(picture));
  const between = spread.filter((_, k) => luma[k] > 0.1 && luma[k] < 0.9);
  const greys = between.filter(difference => difference <= GREY);
  return isColored(picture) && between.length > SOME * luma.length
    && greys.length > MOSTLY * between.length;
}

/** Columns and rows of at most LOOK points a side. */
function lookedAt({width, height}) {
  const step = Math.ceil(Math.max(width, height) / LOOK);
  return [width, height].map(size => Array.from({length: Math.ceil(size / step)}, (_, k) => k * step));
}

/**
 * Brightness, the difference of the channels, and the deviations of blue and red less brightness
 * from their means.
 */
function at({width, height, rgb}, columns, rows) {
  const places = rows.flatMap(y => columns.map(x => y * width + x)), count = width * height;
  const [r, g, b] = [0, 1, 2].map(c => places.map(k => rgb[c * count + k]));
  const luma = [...grey(Float32Array.from([...r, ...g, ...b]))];
  const spread = r.map((v, k) => Math.max(v, g[k], b[k]) - Math.min(v, g[k], b[k]));
  return {luma, spread, chroma: [b, r].map(plane => centred(plane.map((v, k) => v - luma[k])))};
}

const sum = values => values.reduce((total, value) => total + value, 0);

function centred(values) {
  const mean = sum(values) / values.length;
  return values.map(value => value - mean);
}

/** The part of the sum of squares of planes of mean 0 that the levels, in bins, explain. */
function explained(levels, planes) {
  const sorted = Float64Array.from(levels).sort();
  const limits = Array.from({length: BINS - 1}, (_, k) => {
    const place = (k + 1) / BINS * (sorted.length - 1), low = Math.floor(place);
    return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  });
  const bins = levels.map(level => limits.filter(limit => limit <= level).length);
  return sum(planes.map(plane => {
    const sums = new Float64Array(BINS), sizes = new Float64Array(BINS);
    plane.forEach((value, k) => { sums[bins[k]] += value; sizes[bins[k]]++; });
    return sum([...sums.map((total, k) => total * total / Math.max(sizes[k], 1))]);
  }));
}

/** Whether colours or brightness of two pictures correlate, as in exposures of one scene. */
function alike(one, other) {
  const places = size => Array.from({length: FIELDS}, (_, k) => rint(k * (size - 1) / (FIELDS - 1)));
  const [p, q] = [one, other].map(each => at(each, places(each.width), places(each.height)));
  return correlation(p.chroma.flat(), q.chroma.flat()) > ALIKE
    || correlation(centred(ranks(p.luma)), centred(ranks(q.luma))) > ORDERED;
}

/** To the nearest integer, halves to the even one, as in Python. */
function rint(x) { return x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x); }

function correlation(a, b) {
  const product = (x, y) => sum(x.map((value, k) => value * y[k]));
  return product(a, b) / (Math.sqrt(product(a, a) * product(b, b)) || 1);
}

/** The place of each value among all, equal ones having the mean of theirs. */
function ranks(values) {
  const order = values.map((_, k) => k).sort((i, j) => values[i] - values[j]);
  const made = [];
  for (let from = 0, to; from < order.length; from = to) {
    for (to = from + 1; to < order.length && values[order[to]] === values[order[from]];) to++;
    for (let k = from; k < to; k++) made[order[k]] = (from + to - 1) / 2;
  }
  return made;
}
