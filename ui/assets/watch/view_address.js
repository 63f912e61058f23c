// The parameters of the watch page's address.

// Set a parameter of the address; without a value it is left out.
export function setParameter(name, value, { replaces = true } = {}) {
  const parameters = new URLSearchParams(location.search);
  if ((parameters.get(name) ?? '') === String(value ?? '')) return;
  if (value) parameters.set(name, value);
  else parameters.delete(name);
  history[replaces ? 'replaceState' : 'pushState'](null, '', `${location.pathname}?${parameters}`);
}
