// Addresses of the own pages. The theme that somebody has chosen with a parameter of the address stays from page to page.
import { address } from './api.js';

const PAGES = ['/', '/watch', '/search'];
const THEME = '__theme';

// Return the address of a page with those parameters that have a value, and with the theme.
export function pageAddress(path, parameters = {}) {
  return address(path, { ...parameters, [THEME]: new URLSearchParams(location.search).get(THEME) });
}

// Add the theme to links as soon as somebody is about to follow them: also to those that the server or Gradio has made.
export function keepTheme() {
  for (const name of ['click', 'auxclick', 'contextmenu']) window.addEventListener(name, addTheme, true);
}

function addTheme(event) {
  const theme = new URLSearchParams(location.search).get(THEME);
  const link = theme && event.composedPath().find((node) => node.matches?.('a[href]'));
  if (!link || link.origin !== location.origin || !PAGES.includes(link.pathname)) return;
  const target = new URL(link.href);
  target.searchParams.set(THEME, theme);
  link.href = target.pathname + target.search + target.hash;
}
