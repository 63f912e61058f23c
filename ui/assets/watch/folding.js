// Texts without accents and case, as users type them, and where a find is in the text itself.

// Return a text as it is compared.
export function fold(text) {
  return text.normalize('NFD').replace(/\p{M}+/gu, '').toLowerCase();
}

// Return the places of a folded query in a text: pairs of indices of the text itself.
export function findAll(text, query) {
  const found = [];
  if (!query) return found;
  let folded = '';
  const origins = [];
  let index = 0;
  for (const character of text) {
    const part = fold(character);
    for (let unit = 0; unit < part.length; unit++) origins.push(index);
    folded += part;
    index += character.length;
  }
  origins.push(text.length);
  for (let at = folded.indexOf(query); at >= 0; at = folded.indexOf(query, at + query.length)) found.push([origins[at], origins[at + query.length]]);
  return found;
}
