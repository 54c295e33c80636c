// Copies what a camera wrote about a picture (EXIF) from one file into another.

const TAGS = {orientation: 0x112, exif: 0x8769, width: 0xa002, height: 0xa003};

/** The EXIF of a JPEG, PNG or WebP file, as TIFF data; null if there is none. */
export function exifOf(bytes) {
  const text = (from, length) => String.fromCharCode(...bytes.subarray(from, from + length));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = (from, length) => {
    const begin = text(from, 6) === 'Exif\0\0' ? from + 6 : from;
    return from + length > bytes.length ? null : bytes.slice(begin, from + length);
  };
  if (text(0, 2) === '\xff\xd8') {
    for (let at = 2; at + 10 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda;) {
      const length = view.getUint16(at + 2);
      if (bytes[at + 1] === 0xe1 && text(at + 4, 6) === 'Exif\0\0') return found(at + 4, length - 2);
      at += 2 + length;
    }
  } else if (text(1, 3) === 'PNG') {
    for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) {
      if (text(at + 4, 4) === 'eXIf') return found(at + 8, view.getUint32(at));
    }
  } else if (text(0, 4) === 'RIFF' && text(8, 4) === 'WEBP') {
    for (let at = 12; at + 8 <= bytes.length;) {
      const length = view.getUint32(at + 4, true);
      if (text(at, 4) === 'EXIF') return found(at + 8, length);
      at += 8 + length + length % 2;
    }
  }
  return null;
}

/** The EXIF changed for an upright image of this size, without a thumbnail. */
export function exifFor(exif, width, height) {
  const copy = exif.slice(), view = new DataView(copy.buffer);
  const little = copy[0] === 0x49; // "II"
  const u16 = at => view.getUint16(at, little), u32 = at => view.getUint32(at, little);
  const set = (at, value) => u16(at + 2) === 3
    ? view.setUint16(at + 8, value, little) : view.setUint32(at + 8, value, little);
  const entries = ifd => Array.from({length: u16(ifd)}, (_, k) => ifd + 2 + 12 * k);
  try {
    const first = u32(4);
    for (const at of entries(first)) {
      if (u16(at) === TAGS.orientation) set(at, 1);
      if (u16(at) !== TAGS.exif) continue;
      for (const inner of entries(u32(at + 8))) {
        if (u16(inner) === TAGS.width) set(inner, width);
        if (u16(inner) === TAGS.height) set(inner, height);
      }
    }
    view.setUint32(first + 2 + 12 * u16(first), 0, little);
    return copy;
  } catch {
    return null; // it is damaged
  }
}

/** A PNG with EXIF inserted after its header. */
export function withExif(png, exif) {
  const chunk = new Uint8Array(12 + exif.length), view = new DataView(chunk.buffer);
  view.setUint32(0, exif.length);
  chunk.set([0x65, 0x58, 0x49, 0x66], 4); // "eXIf"
  chunk.set(exif, 8);
  view.setUint32(8 + exif.length, crc(chunk.subarray(4, 8 + exif.length)));
  const header = 8 + 25;
  return new Blob([png.subarray(0, header), chunk, png.subarray(header)], {type: 'image/png'});
}

function crc(bytes) {
  let value = ~0;
  for (const byte of bytes) {
    value ^= byte;
    for (let k = 0; k < 8; k++) value = value >>> 1 ^ (value & 1 ? 0xedb88320 : 0);
  }
  return ~value >>> 0;
}
