/**
 * Return foreign text with what cannot be seen escaped.
 *
 * Control and bidirectional formatting characters would let text pretend to be other text.
 */
export function visible(text) {
  return text.replace(HIDDEN, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** Return a text of at most `most` characters, with their number if it was cut. */
export function shortened(text, most) {
  return text.length <= most ? text : `${text.slice(0, most)}… (${count(text.length)} characters)`;
}

/** Return a number with separators between thousands. */
export function count(number) {
  return number.toLocaleString("en");
}

/** Return the number with its noun. */
export function counted(number, noun, plural = `${noun}s`) {
  return `${count(number)} ${number === 1 ? noun : plural}`;
}
