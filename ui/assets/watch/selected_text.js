// The span of what is selected of the words of a list.

// Return {start, end, text} of the selected text, in seconds; null if nothing is selected.
export function selectedSpan(root, rows) {
  const selection = (root.getSelection ? root.getSelection() : document.getSelection()) ?? null;
  if (!selection || selection.isCollapsed || !selection.anchorNode) return null;
  const range = selection.rangeCount ? selection.getRangeAt(0) : null;
  if (!range || range.collapsed) return null;
  const start = partOf(range.startContainer, rows, 'start');
  const end = partOf(range.endContainer, rows, 'end');
  if (start === null || end === null || end <= start) return null;
  return { start, end, text: selectedText(range, rows) };
}

// Return the selected words without the times of the rows, which stand between them.
function selectedText(range, rows) {
  const [first, last] = [rowOf(range.startContainer), rowOf(range.endContainer)];
  if (first === last) return withoutTime(range, first);
  const [from, to] = [range.cloneRange(), range.cloneRange()];
  from.setEndAfter(first.lastChild);
  to.setStartBefore(last.lastChild);
  const between = rows.slice(Number(first.dataset.index) + 1, Number(last.dataset.index)).map((row) => row.text);
  return [withoutTime(from, first), ...between, to.toString()].map((part) => part.trim()).join(' ').trim();
}

function withoutTime(range, row) {
  const words = range.cloneRange();
  if (row.firstChild.contains(words.startContainer) || words.startContainer === row) words.setStartBefore(row.lastChild);
  return words.toString().trim();
}

function rowOf(node) {
  return (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement).closest('.row');
}

// Return the start or the end of the word that contains a node, or else of its row, in seconds.
function partOf(node, rows, side) {
  const element = node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
  const word = element?.closest('.word');
  if (word) return Number(word.dataset[side]);
  const row = element?.closest('.row');
  return row ? (rows[row.dataset.index]?.[`${side}_s`] ?? null) : null;
}
