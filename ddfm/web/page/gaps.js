// Fills what a picture does not show from another one, as ddfm/registration/gaps.py does.

const CLOSE = 4; // pixels beyond the frame over which the offset at its border decays
const FINE = 8; // pixels; wider Gaussian means are computed at a reduced size

/**
 * A grey plane, continued where there are gaps by another one plus a smooth offset.
 *
 * At the border the offset is the difference of both there, so that no rim shows; farther away it
 * approaches their mean difference. The other plane may have gaps, too, or null.
 */
export function continued(plane, gaps, other, without, width, height) {
  const unknown = without ? gaps.map((gap, k) => gap || without[k]) : gaps;
  if (!unknown.includes(0)) return plane.map((value, k) => gaps[k] ? other[k] : value);
  const difference = plane.map((value, k) => value - other[k]);
  const wide = membrane(difference, unknown, width, height);
  const nearest = nearestOf(unknown, width, height), done = plane.slice();
  for (let y = 0, k = 0; y < height; y++) {
    for (let x = 0; x < width; x++, k++) {
      if (!gaps[k]) continue;
      const at = nearest[k], far = Math.hypot(at % width - x, Math.floor(at / width) - y);
      const near = Math.exp((1 - far) / CLOSE);
      const offset = near * difference[at] + (1 - near) * wide[k];
      done[k] = Math.min(1, Math.max(0, other[k] + offset));
    }
  }
  return done;
}

/** The difference, continued smoothly to where it is unknown by Gaussian means of growing width. */
function membrane(difference, gaps, width, height) {
  let known = gaps.map(gap => 1 - gap);
  const inner = eroded(eroded(known, width, height), width, height);
  if (inner.includes(1)) known = inner;
  let sum = 0, count = 0;
  for (let k = 0; k < known.length; k++) {
    sum += known[k] * difference[k];
    count += known[k];
  }
  const total = new Float64Array(known.length).fill(1e-6), value = total.map(v => v * sum / count);
  const seen = difference.map((v, k) => known[k] ? v : 0);
  for (let sigma = 2; sigma < Math.max(width, height); sigma *= 2) {
    const weight = mean(known, width, height, sigma), part = mean(seen, width, height, sigma);
    const share = sigma ** -3; // near pixels take precedence over far ones
    for (let k = 0; k < value.length; k++) {
      value[k] += share * part[k];
      total[k] += share * weight[k];
    }
  }
  return value.map((v, k) => v / total[k]);
}

/** 1 where a pixel and its four neighbours are 1; beyond the border all are. */
function eroded(plane, width, height) {
  return plane.map((value, k) => {
    const x = k % width;
    return value && (x === 0 || plane[k - 1]) && (x === width - 1 || plane[k + 1])
      && (k < width || plane[k - width]) && (k >= width * (height - 1) || plane[k + width]) ? 1 : 0;
  });
}

/** For each pixel, the index of the nearest one that is no gap; of several, the first from the left. */
function nearestOf(gaps, width, height) {
  const row = new Int32Array(width * height).fill(-1); // the nearest of the same column
  for (let x = 0; x < width; x++) {
    let last = -1;
    for (let y = 0; y < height; y++) {
      if (!gaps[y * width + x]) last = y;
      row[y * width + x] = last;
    }
    last = -1;
    for (let y = height - 1; y >= 0; y--) {
      if (!gaps[y * width + x]) last = y;
      const above = row[y * width + x];
      if (last >= 0 && (above < 0 || last - y < y - above)) row[y * width + x] = last;
    }
  }
  const found = new Int32Array(width * height), columns = new Int32Array(width);
  const starts = new Float64Array(width);
  for (let y = 0; y < height; y++) {
    // The lower envelope of the parabolas (x - q)^2 + height of each column q, from left to right.
    const cost = q => q * q + (row[y * width + q] - y) ** 2;
    let top = -1;
    for (let q = 0; q < width; q++) {
      if (row[y * width + q] < 0) continue;
      let start = -Infinity;
      while (top >= 0) {
        start = (cost(q) - cost(columns[top])) / (2 * (q - columns[top]));
        if (start > starts[top]) break;
        top--;
        start = -Infinity;
      }
      columns[++top] = q;
      starts[top] = start;
    }
    for (let x = 0, at = 0; x < width; x++) {
      while (at < top && starts[at + 1] < x) at++;
      found[y * width + x] = row[y * width + columns[at]] * width + columns[at];
    }
  }
  return found;
}

/** A Gaussian mean; a wide one is computed at a smaller size. */
function mean(plane, width, height, sigma) {
  const step = Math.max(1, Math.floor(sigma / FINE));
  if (step === 1) return blurred(plane, width, height, sigma, sigma);
  const wide = Math.ceil(width / step), high = Math.ceil(height / step);
  const small = new Float32Array(wide * high);
  for (let y = 0; y < high * step; y++) {
    for (let x = 0; x < wide * step; x++) {
      const value = plane[Math.min(y, height - 1) * width + Math.min(x, width - 1)];
      small[Math.floor(y / step) * wide + Math.floor(x / step)] += value / (step * step);
    }
  }
  return enlarged(blurred(small, wide, high, sigma / step, sigma / step), wide, high, step, width,
    height);
}

/** Bilinearly, by a whole factor, and cut to a size. */
function enlarged(plane, wide, high, step, width, height) {
  const place = k => Math.max(0, (k + 0.5) / step - 0.5);
  const made = new Float32Array(width * height), line = new Float32Array(wide + 1);
  for (let y = 0, to = 0; y < height; y++) {
    const above = Math.floor(place(y)), below = Math.min(above + 1, high - 1), part = place(y) - above;
    for (let x = 0; x <= wide; x++) { // the last one twice
      const at = Math.min(x, wide - 1);
      line[x] = plane[above * wide + at] * (1 - part) + plane[below * wide + at] * part;
    }
    for (let x = 0; x < width; x++, to++) {
      const at = place(x), left = Math.floor(at);
      made[to] = line[left] + (at - left) * (line[left + 1] - line[left]);
    }
  }
  return made;
}

/** A plane with a Gaussian blur; beyond the border its outermost pixels go on. */
export function blurred(plane, width, height, across, down) {
  return blurredDown(blurredAcross(plane, width, height, weightsOf(across)), width, height,
    weightsOf(down));
}

/** The middle one and those on one side of it. */
function weightsOf(sigma) {
  const reach = Math.floor(4 * sigma + 0.5);
  const raw = Array.from({length: reach + 1}, (_, k) => k ? Math.exp(-k * k / (2 * sigma * sigma)) : 1);
  const sum = 2 * raw.reduce((a, b) => a + b) - 1;
  return Float64Array.from(raw, value => value / sum);
}

function blurredAcross(plane, width, height, weights) {
  const reach = weights.length - 1, line = new Float32Array(width + 2 * reach);
  const done = new Float32Array(plane.length);
  for (let from = 0; from < plane.length; from += width) {
    line.fill(plane[from], 0, reach);
    line.set(plane.subarray(from, from + width), reach);
    line.fill(plane[from + width - 1], reach + width);
    for (let x = 0; x < width; x++) {
      let value = weights[0] * line[x + reach];
      for (let m = 1; m <= reach; m++) value += weights[m] * (line[x + reach - m] + line[x + reach + m]);
      done[from + x] = value;
    }
  }
  return done;
}

function blurredDown(plane, width, height, weights) {
  const done = plane.map(value => weights[0] * value);
  for (let y = 0, to = 0; y < height; y++, to += width) {
    for (let m = 1; m < weights.length; m++) {
      const above = Math.max(0, y - m) * width, below = Math.min(height - 1, y + m) * width;
      for (let x = 0; x < width; x++) {
        done[to + x] += weights[m] * (plane[above + x] + plane[below + x]);
      }
    }
  }
  return done;
}
