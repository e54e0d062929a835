// Codes as text and as squares.

const SVG = "http://www.w3.org/2000/svg";
const SIDE = 10;

// Bits of a packed code in hexadecimal: bit j is at position j % 8 of byte j // 8.
export function bitsOf(hex, count) {
  return Array.from({ length: count }, (_, j) => {
    const byte = parseInt(hex.slice(2 * (j >> 3), 2 * (j >> 3) + 2), 16);
    return (byte >> (j & 7)) & 1;
  });
}

// A picture of bits, black for 1 and white for 0; those that differ from others have a red frame.
export function drawCode(bits, others = null) {
  const columns = Math.min(bits.length, bits.length > 128 ? 32 : 16);
  const rows = Math.ceil(bits.length / columns);
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("class", "code");
  picture.setAttribute("viewBox", `-1 -1 ${columns * SIDE + 2} ${rows * SIDE + 2}`);
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `code ${inGroups(bits)}`);
  bits.forEach((bit, j) => square(picture, j, columns, 0, "paper"));
  bits.forEach((bit, j) => square(picture, j, columns, 1, bit ? "one" : "zero"));
  bits.forEach((bit, j) => {
    if (others && others[j] !== bit) square(picture, j, columns, 1, "differs");
  });
  return picture;
}

function square(picture, j, columns, margin, kind) {
  const rect = document.createElementNS(SVG, "rect");
  const side = SIDE - (kind === "paper" ? -1 : 2 * margin - 1);
  const values = {
    x: (j % columns) * SIDE + margin - 0.5,
    y: Math.floor(j / columns) * SIDE + margin - 0.5,
    width: side,
    height: side,
    class: kind,
  };
  for (const [name, value] of Object.entries(values)) rect.setAttribute(name, value);
  picture.append(rect);
}

function inGroups(bits) {
  return bits.join("").replace(/(.{8})(?=.)/g, "$1 ");
}
