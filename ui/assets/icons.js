// Icons of buttons, drawn here: not every system has characters for them.
const NAMESPACE = 'http://www.w3.org/2000/svg';
const PATHS = {
  play: 'M7 4.5v15l12-7.5z',
  pause: 'M6.5 5h4v14h-4zM13.5 5h4v14h-4z',
  frameBack: 'M17 5v14L7.5 12zM5 5h2v14H5z',
  frameForward: 'M7 5v14l9.5-7zM17 5h2v14h-2z',
  inPicture: 'M3 5h18v14H3zM5 7v10h14V7zM12 11.5h6V16h-6z',
  full: 'M4 9V4h5v2H6v3zM15 4h5v5h-2V6h-3zM20 15v5h-5v-2h3v-3zM9 20H4v-5h2v3h3z',
  volume: 'M4 9.5h3.5L12 5.5v13L7.5 14.5H4zM14.5 8.5a5 5 0 0 1 0 7l-1-1.2a3.4 3.4 0 0 0 0-4.6zM17 6a8.5 8.5 0 0 1 0 12l-1.1-1.2a6.9 6.9 0 0 0 0-9.6z',
  more: 'M5 10.4a1.6 1.6 0 1 1 0 3.2 1.6 1.6 0 0 1 0-3.2zM12 10.4a1.6 1.6 0 1 1 0 3.2 1.6 1.6 0 0 1 0-3.2zM19 10.4a1.6 1.6 0 1 1 0 3.2 1.6 1.6 0 0 1 0-3.2z',
  up: 'M6 14.5 12 8.5l6 6-1.4 1.4L12 11.3l-4.6 4.6z',
  down: 'M6 9.5 7.4 8.1 12 12.7l4.6-4.6L18 9.5l-6 6z',
  close: 'M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4-5.6-5.6L6.4 19 5 17.6 10.6 12 5 6.4z',
  zoomIn: 'M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z',
  zoomOut: 'M5 11h14v2H5z',
  whole: 'M3 12l4.5-4v3h9V8l4.5 4-4.5 4v-3h-9v3z',
};

// Make an icon by its name. What it means is the label of its button.
export function icon(name) {
  const image = document.createElementNS(NAMESPACE, 'svg');
  for (const [key, value] of Object.entries({ viewBox: '0 0 24 24', width: '18', height: '18', 'aria-hidden': 'true', fill: 'currentColor', 'fill-rule': 'evenodd' })) image.setAttribute(key, value);
  const path = document.createElementNS(NAMESPACE, 'path');
  path.setAttribute('d', PATHS[name]);
  image.append(path);
  return image;
}

// Let a button show another icon.
export function setIcon(button, name) {
  if (button.dataset.icon === name) return;
  button.dataset.icon = name;
  button.replaceChildren(icon(name));
}
