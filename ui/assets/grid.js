// A grid of cards, of which only those in view are in the document, however many videos there are.
import { makeCard, showPosition, updateCard } from './cards.js';
import { element } from './dom.js';

const CARD = { minWidth: 220, textHeight: 92, gap: 16 };
// Questions below the cards of samples, in a library that has little more than them; and their height in pixels.
const MAX_WITH_QUESTIONS = 4;
const QUESTIONS_HEIGHT = 84;
const OVERSCAN_ROWS = 2;

export class Grid {
  #cards = new Map();
  #layout = { columns: 1, width: 0, height: 0 };
  #hasQuestions = false;

  constructor() {
    this.element = element('div', { class: 'grid', role: 'list' });
    this.element.addEventListener('keydown', (event) => { if (event.key === 'Escape') this.closeMenus()?.focus(); });
  }

  // Fit the cards to a width in pixels, or to that of the grid.
  measure(width) {
    const whole = this.element.clientWidth || width;
    const columns = Math.max(1, Math.floor((whole + CARD.gap) / (CARD.minWidth + CARD.gap)));
    const cardWidth = (whole - CARD.gap * (columns - 1)) / columns;
    this.#layout = { columns, width: cardWidth, height: Math.round((cardWidth * 9) / 16) + CARD.textHeight + (this.#hasQuestions ? QUESTIONS_HEIGHT : 0) };
    for (const card of this.#cards.values()) card.isPlaced = false;
  }

  // Draw the cards in view of a list with a number of videos in all; return the index up to which videos are needed.
  draw(videos, total, selected) {
    this.#showQuestions(total <= MAX_WITH_QUESTIONS && videos.some((video) => video.example_questions?.length));
    const { columns, height } = this.#layout;
    const rowHeight = height + CARD.gap;
    const gridHeight = `${Math.max(0, Math.ceil(total / columns) * rowHeight - CARD.gap)}px`;
    if (this.element.style.height !== gridHeight) this.element.style.height = gridHeight;
    const top = -this.element.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / rowHeight) - OVERSCAN_ROWS) * columns;
    const last = Math.min(total, (Math.ceil((top + window.innerHeight) / rowHeight) + OVERSCAN_ROWS) * columns);
    const wanted = new Set();
    const free = [];
    for (let index = first; index < last; index++) if (videos[index]) wanted.add(videos[index].video_id);
    for (const [id, card] of this.#cards)
      if (!wanted.has(id)) {
        free.push(card);
        this.#cards.delete(id);
      }
    // The order of the document is that of the list, for the keyboard and for screen readers.
    let next = this.element.firstElementChild;
    for (let index = first; index < last; index++) {
      const video = videos[index];
      if (!video) continue;
      let card = this.#cards.get(video.video_id);
      if (!card) {
        // Cards that have left the view show other videos: to make one takes longer than to change it.
        card = free.pop() ?? makeCard();
        card.isPlaced = false;
        this.#cards.set(video.video_id, card);
      }
      if (!card.isPlaced || card.index !== index) this.#place(card, index, total);
      updateCard(card, video, selected.has(video.video_id));
      while (next && free.some((unused) => unused.item === next)) next = next.nextElementSibling;
      if (card.item === next) next = next.nextElementSibling;
      else this.element.insertBefore(card.item, next);
    }
    for (const card of free) card.item.remove();
    return last + columns * OVERSCAN_ROWS;
  }

  #showQuestions(isShown) {
    if (isShown === this.#hasQuestions) return;
    this.#hasQuestions = isShown;
    this.element.classList.toggle('with-questions', isShown);
    this.measure();
  }

  // Show where one stopped watching a video; the rest of its card stays as it is.
  showPosition(id) {
    const card = this.#cards.get(id);
    if (card) showPosition(card);
  }

  toggleMenu(button) {
    const menu = button.nextElementSibling;
    const isOpen = !menu.hidden;
    this.closeMenus();
    menu.hidden = isOpen;
    button.setAttribute('aria-expanded', String(!menu.hidden));
    if (!menu.hidden) menu.querySelector('button').focus();
  }

  // Close what is open, and return the button of it.
  closeMenus() {
    let button = null;
    for (const menu of this.element.querySelectorAll('.menu:not([hidden])')) {
      menu.hidden = true;
      button = menu.previousElementSibling;
      button.setAttribute('aria-expanded', 'false');
    }
    return button;
  }

  showSelected(selected) {
    for (const [id, card] of this.#cards) card.box.checked = selected.has(id);
  }

  #place(card, index, total) {
    const { columns, width, height } = this.#layout;
    const column = index % columns;
    const row = Math.floor(index / columns);
    card.index = index;
    card.isPlaced = true;
    card.item.style.cssText = `width:${width}px;height:${height}px;transform:translate(${column * (width + CARD.gap)}px,${row * (height + CARD.gap)}px)`;
    card.item.setAttribute('aria-posinset', String(index + 1));
    card.item.setAttribute('aria-setsize', String(total));
  }
}
