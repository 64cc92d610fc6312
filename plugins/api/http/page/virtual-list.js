// A list of any length, of which only what is to be seen is in the document.

const BEYOND = 300;  // pixels above and below that are there too

export class VirtualList {
  // `heightOf(item)` in pixels, `render(item, index)` an element. What is as tall as it was moves
  // nothing.
  constructor(scroller, { heightOf, render, empty }) {
    Object.assign(this, { scroller, heightOf, render, empty });
    this.sheet = document.createElement('div');
    this.sheet.className = 'sheet';
    this.sheet.setAttribute('role', 'none');
    scroller.append(this.sheet);
    this.items = [];
    this.tops = [0];
    this.rows = new Map();  // index -> element
    this.drawing = false;
    scroller.addEventListener('scroll', () => this.drawSoon(), { passive: true });
    new ResizeObserver(() => this.drawSoon()).observe(scroller);
  }

  set(items) {
    this.items = items;
    this.tops = new Array(items.length + 1);
    let top = 0;
    for (let i = 0; i < items.length; ++i) {
      this.tops[i] = top;
      top += this.heightOf(items[i]);
    }
    this.tops[items.length] = top;
    this.sheet.style.height = `${top}px`;
    this.clear();
    this.draw();  // at once: nothing is seen to go and come
  }

  clear() {
    this.sheet.replaceChildren();
    this.rows.clear();
    if (this.items.length > 0 || !this.empty) return;
    const text = document.createElement('p');
    text.className = 'none';
    text.textContent = this.empty;
    this.sheet.append(text);
  }

  drawSoon() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.draw();
    });
  }

  // The item that a pixel of the sheet belongs to.
  at(pixel) {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= pixel) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  draw() {
    const first = this.at(this.scroller.scrollTop - BEYOND);
    const end = Math.min(this.items.length, this.at(this.scroller.scrollTop + this.scroller.clientHeight + BEYOND) + 1);
    for (const [index, row] of this.rows) {
      if (index >= first && index < end) continue;
      row.remove();
      this.rows.delete(index);
    }
    const fresh = document.createDocumentFragment();
    for (let i = first; i < end; ++i) {
      if (this.rows.has(i)) continue;
      const row = this.render(this.items[i], i);
      row.style.transform = `translateY(${this.tops[i]}px)`;
      this.rows.set(i, row);
      fresh.append(row);
    }
    this.sheet.append(fresh);
  }

  // The element of an item, which is scrolled into sight.
  reveal(index) {
    const top = this.tops[index];
    const bottom = this.tops[index + 1];
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (bottom > scrollTop + clientHeight) this.scroller.scrollTop = bottom - clientHeight;
    this.draw();
    return this.rows.get(index);
  }

  get atEnd() {
    return this.scroller.scrollTop + this.scroller.clientHeight >= this.tops[this.items.length] - 4;
  }

  toEnd() {
    this.scroller.scrollTop = this.tops[this.items.length];
    this.drawSoon();
  }
}
