// How sizes, qualities and the like are called for people who make pictures.

/** "1024x1024" is "Square 1024×1024", "2:3" is "Portrait 2:3"; what is no size stays as it is. */
function sizeWords(size) {
  const [, width, sign, height] = /^(\d+)([:x])(\d+)$/.exec(size) ?? [];
  if (!width) return worded(size);
  const shape = Number(width) === Number(height) ? "Square" : Number(width) < Number(height) ? "Portrait" : "Landscape";
  return `${shape} ${width}${sign === "x" ? "×" : ":"}${height}`;
}

const worded = (text) => text && text[0].toUpperCase() + text.slice(1);

/** A value of a field of the form; nothing said is for the model to decide. */
export function valueWords(name, value) {
  if (!value) return "Automatic";
  return name === "size" ? sizeWords(value) : worded(value);
}

/** How a field is called. */
export const FIELD_WORDS = { size: "Size", quality: "Quality", resolution: "Resolution", n: "Pictures" };

/** What is about to be made. */
export const pictures = (n) => (n === 1 ? "a new picture" : `${n} new pictures`);
