// Lays a picture on the grid of another one, as ddfm/registration/transform.py and warp.py do.
//
// A transform is a matrix of three rows, for homogeneous points (x, y) in pixels, whose centres are
// whole numbers. It leads from the picture that is moved to the one that stays.
import {blurred} from './gaps.js';

const FORMAT = 'ddfm transform 1';
const EDGE = 1e-4; // pixels by which a point on the outer edge may lie beyond it

export function times(one, other) {
  return one.map(row => [0, 1, 2].map(k => row.reduce((sum, v, n) => sum + v * other[n][k], 0)));
}

export const chained = (...matrices) => matrices.reduce(times); // the last one comes first

/** The inverse of a matrix; its numbers are infinite or none if there is none. */
export function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
  const all = [[e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f], [d * h - e * g, b * g - a * h, a * e - b * d]];
  const det = a * all[0][0] + b * all[1][0] + c * all[2][0];
  return all.map(row => row.map(v => v / det));
}

export function applied(matrix, x, y) {
  const [u, v, depth] = matrix.map(row => row[0] * x + row[1] * y + row[2]);
  return [u / depth, v / depth];
}

/** From pixels of one size to those of another, with the same borders. */
export function scaling(from, to) {
  const across = to.width / from.width, down = to.height / from.height;
  return [[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]];
}

/** The largest that fits, in the middle; for pictures of one shape, a change of size and no more. */
export function fit(moving, fixed) {
  const size = Math.min(fixed.width / moving.width, fixed.height / moving.height);
  const shift = side => ((fixed[side] - 1) - size * (moving[side] - 1)) / 2;
  return [[size, 0, shift('width')], [0, size, shift('height')], [0, 0, 1]];
}

/** Moves by x and y, after a turn in degrees, clockwise, and a change of size, about a centre. */
export function similarity({x, y, turn, size}, [across, down]) {
  const cos = size * Math.cos(turn * Math.PI / 180), sin = size * Math.sin(turn * Math.PI / 180);
  return [[cos, -sin, across + x - cos * across + sin * down],
    [sin, cos, down + y - sin * across - cos * down], [0, 0, 1]];
}

/** The text of a file that `ddfm fuse --transform` reads. */
export function written(matrix, moving, fixed) {
  const sides = ({width, height}) => [height, width];
  matrix = matrix.map(row => row.map(v => v / matrix[2][2]));
  return JSON.stringify({format: FORMAT, model: matrix[2][0] || matrix[2][1] ? 'homography' : 'affine',
    matrix, moving: sides(moving), fixed: sides(fixed)}, null, 2) + '\n';
}

/** {matrix, moving, fixed} of such a file, or one that `--save-transform` wrote. */
export function parsed(text, name) {
  let about = null;
  try {
    about = JSON.parse(text);
  } catch { /* it is told below */ }
  const numbers = (list, count) => Array.isArray(list) && list.length === count
    && list.every(Number.isFinite);
  const {matrix, moving, fixed} = about ?? {};
  if (about?.format !== FORMAT || ![moving, fixed].every(size => numbers(size, 2)
    && Math.min(...size) >= 1) || matrix?.length !== 3 || !matrix.every(row => numbers(row, 3))) {
    throw new Error(`${name} is not a transform of a pair, as this page and ddfm fuse `
      + '--save-transform write it.');
  }
  if (about.field) {
    throw new Error(`${name} has a field of displacements, which this page does not apply.`);
  }
  const [from, to] = [moving, fixed].map(([height, width]) => ({width, height}));
  const depth = [0, 1, 2, 3].map(k => (matrix[2][0] * (k & 1 && from.width - 1)
    + matrix[2][1] * (k & 2 && from.height - 1) + matrix[2][2]) * Math.sign(matrix[2][2]));
  if (Math.min(...depth) <= 0 || !inverse(matrix).flat().every(Number.isFinite)) {
    throw new Error(`${name}: the transform must map the whole image, and have an inverse.`);
  }
  return {matrix, moving: from, fixed: to};
}

function cubic(t) { // a = -0.75, as of torch; weights of the four pixels around a place
  const near = x => (1.25 * x - 2.25) * x * x + 1;
  const far = x => ((-0.75 * x + 3.75) * x - 6) * x + 3;
  return [far(1 + t), near(t), near(1 - t), far(2 - t)];
}

/** The picture, {width, height, rgb, gaps}, on a grid of size `to`; outside of its frame are gaps. */
export function laid(picture, matrix, to) {
  const {width, height} = picture, back = inverse(matrix), count = to.width * to.height;
  const planes = smoothed(picture, back, to), values = planes.map(() => new Float32Array(count));
  const gaps = new Float32Array(count), [wide, high] = [width - 0.5 + EDGE, height - 0.5 + EDGE];
  const clamped = (n, side) => n < 0 ? 0 : n < side ? n : side - 1;
  for (let y = 0, k = 0; y < to.height; y++) {
    for (let x = 0; x < to.width; x++, k++) {
      const [u, v] = applied(back, x, y), left = Math.floor(u), top = Math.floor(v);
      if (!(u >= -0.5 - EDGE && v >= -0.5 - EDGE && u <= wide && v <= high)) {
        gaps[k] = 1;
        continue;
      }
      const across = cubic(u - left), down = cubic(v - top);
      for (let c = 0; c < planes.length; c++) {
        let sum = 0;
        for (let n = 0; n < 4; n++) {
          const row = clamped(top - 1 + n, height) * width;
          let line = 0;
          for (let m = 0; m < 4; m++) line += across[m] * planes[c][row + clamped(left - 1 + m, width)];
          sum += down[n] * line;
        }
        values[c][k] = Math.min(1, Math.max(0, sum));
      }
      if (planes.length > 3 && values[3][k] <= 0.99) gaps[k] = 1;
    }
  }
  const rgb = new Float32Array(3 * count);
  for (let c = 0; c < 3; c++) rgb.set(values[c], c * count);
  return {...picture, ...to, rgb, gaps: gaps.includes(1) ? gaps : null};
}

/** Colours, and where there are data; smoothed if the picture becomes smaller, against aliasing. */
function smoothed({width, height, rgb, gaps}, back, to) {
  const count = width * height, planes = [0, 1, 2].map(c => rgb.subarray(c * count, (c + 1) * count));
  if (gaps) planes.push(gaps.map(gap => 1 - gap));
  const centre = [(to.width - 1) / 2, (to.height - 1) / 2];
  const [u, v, depth] = back.map(row => row[0] * centre[0] + row[1] * centre[1] + row[2]);
  const [across, down] = [[back[0], u], [back[1], v]].map(([row, at]) => {
    const step = k => (row[k] - at / depth * back[2][k]) / depth;
    return Math.min(Math.max((Math.hypot(step(0), step(1)) - 1) / 2, 0), Math.max(width, height) / 4);
  });
  if (Math.max(across, down) <= 0.05) return planes;
  return planes.map(plane => blurred(plane, width, height, across, down));
}
