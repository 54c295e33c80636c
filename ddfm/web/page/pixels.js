// Converts the pixels of a canvas to planes of numbers from 0 to 1, and back.

const LUMA = [0.299, 0.587, 0.114]; // ITU-R BT.601

/** Planes of R, G and B, one after the other, from the pixels of a canvas or a grey plane. */
export function asRGB(image, plane) {
  const count = image ? image.data.length / 4 : plane.length;
  const rgb = new Float32Array(3 * count);
  for (let c = 0; c < 3; c++) {
    if (!image) rgb.set(plane, c * count);
    else for (let k = 0; k < count; k++) rgb[c * count + k] = image.data[4 * k + c] / 255;
  }
  return rgb;
}

export function grey({rgb}) {
  const count = rgb.length / 3, plane = new Float32Array(count);
  for (let c = 0; c < 3; c++) {
    for (let k = 0; k < count; k++) plane[k] += LUMA[c] * rgb[c * count + k];
  }
  return plane;
}

export function toImageData(rgb, width, height) {
  const count = width * height, image = new ImageData(width, height);
  for (let k = 0; k < count; k++) {
    for (let c = 0; c < 3; c++) image.data[4 * k + c] = Math.round(255 * rgb[c * count + k]);
    image.data[4 * k + 3] = 255;
  }
  return image;
}

export function mixed(below, above, strength) {
  return above.map((value, k) => below[k] + strength * (value - below[k]));
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
