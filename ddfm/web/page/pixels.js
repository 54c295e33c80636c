// Converts the pixels of a canvas to planes of numbers from 0 to 1, and back, and resizes planes.

const LUMA = [0.299, 0.587, 0.114]; // ITU-R BT.601

/** Planes of R, G and B, one after the other, of a grey plane. */
export function asRGB(plane) {
  const rgb = new Float32Array(3 * plane.length);
  for (let c = 0; c < 3; c++) rgb.set(plane, c * plane.length);
  return rgb;
}

export function grey(rgb) {
  const count = rgb.length / 3, plane = new Float32Array(count);
  for (let c = 0; c < 3; c++) {
    for (let k = 0; k < count; k++) plane[k] += LUMA[c] * rgb[c * count + k];
  }
  return plane;
}

/** For a canvas, transparent where there are gaps. */
export function toImageData({rgb, width, height, gaps}) {
  const count = width * height, image = new ImageData(width, height);
  for (let k = 0; k < count; k++) {
    if (gaps?.[k]) continue;
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = Math.round(255 * rgb[c * count + k]);
    image.data[4 * k + 3] = 255;
  }
  return image;
}

export function mixed(below, above, strength) {
  return above.map((value, k) => below[k] + strength * (value - below[k]));
}

/** Colours with the gaps filled by a grey plane. */
export function filled(rgb, gaps, plane) {
  const count = plane.length, done = rgb.slice();
  for (let c = 0; c < 3; c++) {
    for (let k = 0; k < count; k++) if (gaps[k]) done[c * count + k] = plane[k];
  }
  return done;
}

/** Where two pictures have gaps, each of which may have none. */
export function gapsOfBoth(one, other) { return one && other && one.map((gap, k) => gap & other[k]); }

function cubic(x) { // a = -0.5, as on the command line
  const t = Math.abs(x);
  return t < 1 ? (1.5 * t - 2.5) * t * t + 1 : t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

/** For each place of a new line, the first place of the old one that counts, and their weights. */
function weightsOf(from, to) {
  const scale = from / to, wide = from === to ? 0.25 : Math.max(scale, 1);
  return Array.from({length: to}, (_, k) => {
    const center = (k + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - 2 * wide + 0.5));
    const end = Math.min(from, Math.trunc(center + 2 * wide + 0.5));
    const weights = Float32Array.from({length: end - first},
      (_, n) => cubic((first + n + 0.5 - center) / wide));
    const sum = weights.reduce((a, b) => a + b, 0);
    return {first, weights: weights.map(weight => weight / sum)};
  });
}

/**
 * Resizes a picture that comes line by line, bicubically, with antialiasing if it is reduced.
 *
 * `add(y, values, at)` adds line y, whose pixels have four bytes each, from `at` on; `data` are
 * `count` planes of its first channels, complete after the last line.
 */
export function resizer(from, to, count) {
  const across = weightsOf(from.width, to.width), down = weightsOf(from.height, to.height);
  const data = new Float32Array(count * to.width * to.height), line = new Float32Array(to.width);
  let top = 0; // the first new line to which old ones are still added
  const add = (y, values, at = 0, step = 4, scale = 1 / 255, apart = 1) => {
    while (top < to.height && down[top].first + down[top].weights.length <= y) top++;
    for (let c = 0; c < count; c++) {
      for (let x = 0; x < to.width; x++) {
        const {first, weights} = across[x];
        let sum = 0;
        for (let n = 0, k = at + c * apart + step * first; n < weights.length; n++, k += step) {
          sum += weights[n] * values[k];
        }
        line[x] = sum * scale;
      }
      for (let row = top; row < to.height && down[row].first <= y; row++) {
        const {first, weights} = down[row], weight = weights[y - first];
        const last = y === first + weights.length - 1, begin = (c * to.height + row) * to.width;
        for (let x = 0; x < to.width; x++) {
          const value = data[begin + x] + weight * line[x];
          data[begin + x] = last && c < 3 ? Math.min(1, Math.max(0, value)) : value;
        }
      }
    }
  };
  return {data, add};
}

/** A picture, {width, height, rgb, gaps}, at another size. */
export function resized(picture, to) {
  const {width, height, rgb, gaps} = picture;
  if (width === to.width && height === to.height) return picture;
  const of = (planes, count) => {
    const {data, add} = resizer(picture, to, count);
    for (let y = 0; y < height; y++) add(y, planes, y * width, 1, 1, width * height);
    return data;
  };
  return {...picture, ...to, rgb: of(rgb, 3), gaps: gaps && gapsOf(of(gaps.map(gap => 1 - gap), 1))};
}

/**
 * 1 where a resized plane, 1 where there are data, is not so over a whole pixel; null if nowhere. Nor
 * does more than 1 count: there, the negative parts of the kernel lie outside.
 */
export function gapsOf(valid) {
  const gaps = valid.map(value => Math.abs(value - 1) < 0.01 ? 0 : 1);
  return gaps.includes(1) ? gaps : null;
}

/** The plane padded by reflection, so that its sides are multiples of `multiple`. */
export function padded(plane, width, height, multiple) {
  const wide = Math.ceil(width / multiple) * multiple, high = Math.ceil(height / multiple) * multiple;
  const place = (k, size) => k < size ? k : 2 * (size - 1) - k;
  const data = new Float32Array(wide * high);
  for (let y = 0; y < high; y++) {
    for (let x = 0; x < wide; x++) {
      data[y * wide + x] = plane[place(y, height) * width + place(x, width)];
    }
  }
  return {data, dims: [1, 1, high, wide]};
}

export function cropped(data, wide, width, height) {
  const plane = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    plane.set(data.subarray(y * wide, y * wide + width), y * width);
  }
  return plane;
}
