// Reads picture files, reduced where they have more pixels than the page can fuse.
import {gapsOf, resizer} from './pixels.js';

const DECODED = 130e6; // most pixels that are decoded, 0.5 GB: a tab that takes more may be ended
const STRIP = 1 << 20; // pixels that are taken from the browser at a time

/** A size of the same shape with at most so many pixels. */
export function fitting({width, height}, pixels) {
  const factor = Math.min(1, Math.sqrt(pixels / (width * height)));
  const side = length => Math.max(1, Math.floor(length * factor));
  return {width: side(width), height: side(height)};
}

/**
 * A picture of at most so many pixels: {name, whole, width, height, rgb, gaps, exif, deep}. `whole`
 * is the size that it has, and `gaps` are 1 where it is transparent; null if it is nowhere.
 */
export async function read(file, bytes, pixels) {
  const told = sizeOf(bytes);
  if (told && told.width * told.height > DECODED) {
    throw new Error(`${file.name} has ${told.width} × ${told.height} pixels; this page reads at most `
      + `${DECODED / 1e6} million. Reduce it, or use ddfm on the command line.`);
  }
  if (endsEarly(bytes)) throw new Error(`${file.name} is damaged: its end is missing. Copy it anew.`);
  if (!readsBack()) {
    throw new Error('This browser gives pages false pixels of their own images, as a protection against '
      + 'being recognised (fingerprinting), so nothing can be fused here. Allow this page to read its '
      + 'canvas, or use another browser.');
  }
  let image;
  try {
    // Upright, and in the colours of sRGB, as the download is.
    image = await createImageBitmap(file, {premultiplyAlpha: 'none'});
  } catch {
    throw new Error(told && told.width * told.height > pixels
      ? `${file.name} cannot be decoded: it is damaged, or its ${told.width} × ${told.height} pixels `
        + 'are too many for this browser. Reduce it, or use ddfm on the command line.'
      : `${file.name} is not an image that this browser can read, or is damaged. Use PNG, JPEG or `
        + 'WebP here (export HEIC as JPEG); for TIFF, DICOM and raw files, use ddfm on the command '
        + 'line.');
  }
  const whole = {width: image.width, height: image.height}, size = fitting(whole, pixels);
  try {
    return {name: file.name, whole, ...size, ...await pixelsOf(image, whole, size, isOpaque(bytes))};
  } finally {
    image.close(); // else its memory is kept until the browser looks for what is unused
  }
}

async function pixelsOf(image, from, to, opaque) {
  const tall = Math.max(1, Math.min(from.height, Math.floor(STRIP / from.width)));
  const canvas = new OffscreenCanvas(from.width, tall);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  const {data, add} = resizer(from, to, opaque ? 3 : 4);
  for (let top = 0; top < from.height; top += tall) {
    const rows = Math.min(tall, from.height - top);
    context.clearRect(0, 0, from.width, tall);
    context.drawImage(image, 0, top, from.width, rows, 0, 0, from.width, rows);
    const pixels = context.getImageData(0, 0, from.width, rows).data;
    // Of the fourth, only whether there is something counts, as on the command line.
    if (!opaque) for (let k = 3; k < pixels.length; k += 4) pixels[k] = pixels[k] && 255;
    for (let y = 0; y < rows; y++) add(top + y, pixels, 4 * y * from.width);
    await new Promise(done => setTimeout(done)); // so that the page answers meanwhile
  }
  const count = to.width * to.height;
  return {rgb: data.subarray(0, 3 * count), gaps: opaque ? null : gapsOf(data.subarray(3 * count))};
}

const text = (bytes, from, length) => String.fromCharCode(...bytes.subarray(from, from + length));

function isOpaque(bytes) { return bytes[0] === 0xff && bytes[1] === 0xd8; } // JPEG

/** Whether the end of a PNG, JPEG or WebP is missing; Firefox and Safari would show the part there. */
export function endsEarly(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  try {
    if (text(bytes, 1, 3) === 'PNG') {
      let at = 8;
      while (text(bytes, at + 4, 4) !== 'IEND') at += 12 + view.getUint32(at);
      return false;
    }
    if (isOpaque(bytes)) {
      let at = 2;
      while (bytes[at + 1] !== 0xda) { // the first scan
        at += bytes[at + 1] === 0xff ? 1 : 2 + view.getUint16(at + 2);
      }
      while (bytes[at] !== 0xff || bytes[at + 1] !== 0xd9) view.getUint8(++at);
      return false;
    }
    return text(bytes, 0, 4) === 'RIFF' && view.getUint32(4, true) + 8 > bytes.length;
  } catch {
    return true;
  }
}

/** Whether a canvas returns the pixels that were drawn; a browser may change some by 1 and no more. */
function readsBack() {
  const drawn = new ImageData(64, 64), context = new OffscreenCanvas(64, 64).getContext('2d');
  drawn.data.forEach((_, k) => { drawn.data[k] = k % 4 === 3 ? 255 : k * 7; });
  context.putImageData(drawn, 0, 0);
  return context.getImageData(0, 0, 64, 64).data.every((v, k) => Math.abs(v - drawn.data[k]) <= 2);
}

/** Whether a PNG has 16 bits; the browser drops the lower 8. */
export function isDeep(bytes) { return text(bytes, 1, 3) === 'PNG' && bytes[24] === 16; }

/** Whether a JPEG has temperatures of a FLIR camera beside its rendering of them. */
export function isRadiometric(bytes) {
  for (let at = 2; isOpaque(bytes) && bytes[at] === 0xff && bytes[at + 1] !== 0xda;) {
    if (bytes[at + 1] === 0xe1 && text(bytes, at + 4, 5) === 'FLIR\0') return true;
    at += 2 + bytes[at + 2] * 256 + bytes[at + 3];
  }
  return false;
}

/** The size that a JPEG, PNG or WebP file says to have, before it is turned; null if none is found. */
export function sizeOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = at => view.getUint16(at, true);
  try {
    if (text(bytes, 1, 3) === 'PNG') return {width: view.getUint32(16), height: view.getUint32(20)};
    if (text(bytes, 0, 2) === '\xff\xd8') {
      for (let at = 2; bytes[at] === 0xff; at += 2 + view.getUint16(at + 2)) {
        const kind = bytes[at + 1]; // a frame, unless it is one of the three tables among them
        if (kind >= 0xc0 && kind <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(kind)) {
          return {width: view.getUint16(at + 7), height: view.getUint16(at + 5)};
        }
      }
    }
    if (text(bytes, 0, 4) === 'RIFF' && text(bytes, 8, 4) === 'WEBP') {
      const kind = text(bytes, 12, 4);
      if (kind === 'VP8 ') return {width: little(26) & 0x3fff, height: little(28) & 0x3fff};
      if (kind === 'VP8L') {
        const bits = view.getUint32(21, true);
        return {width: 1 + (bits & 0x3fff), height: 1 + (bits >> 14 & 0x3fff)};
      }
      if (kind === 'VP8X') {
        const three = at => 1 + little(at) + (bytes[at + 2] << 16);
        return {width: three(24), height: three(27)};
      }
    }
  } catch { /* it ends too early, which decoding tells */ }
  return null;
}
