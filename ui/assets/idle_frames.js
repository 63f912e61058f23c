// Fewer frames while nothing happens on the page.
// Gradio's loading screen asks for the next frame for ever after it has gone (gradio 6.31, StatusTracker: its timer is stopped by a
// change of its state, and not by its removal), which takes a twentieth of a core. So the frames of an idle page are a second
// apart. Any input, any change of the document, and a video that plays (the event
// `longview-active`), ends this at once. It is loaded before Gradio, which keeps the function.
(() => {
  const IDLE_MS = 3000;
  const PERIOD_MS = 1000;
  const EVENTS = ['pointermove', 'pointerdown', 'keydown', 'wheel', 'scroll', 'touchstart', 'focus', 'resize', 'dragover', 'popstate', 'longview-active'];
  const request = window.requestAnimationFrame.bind(window);
  const cancel = window.cancelAnimationFrame.bind(window);
  const delayed = new Map();
  let activeUntil = performance.now() + IDLE_MS;
  let lastId = 0;

  window.requestAnimationFrame = (callback) => {
    if (performance.now() < activeUntil) return request(callback);
    const id = --lastId;
    const timer = setTimeout(() => {
      delayed.delete(id);
      request(callback);
    }, PERIOD_MS);
    delayed.set(id, { timer, callback });
    return id;
  };
  window.cancelAnimationFrame = (id) => {
    clearTimeout(delayed.get(id)?.timer);
    if (!delayed.delete(id)) cancel(id);
  };
  function wake() {
    activeUntil = performance.now() + IDLE_MS;
    for (const [id, { timer, callback }] of delayed) {
      clearTimeout(timer);
      delayed.delete(id);
      request(callback);
    }
  }
  for (const name of EVENTS) window.addEventListener(name, wake, { capture: true, passive: true });
  new MutationObserver(wake).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
})();
