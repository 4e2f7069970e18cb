/** Tables that change all the time: rows that are kept and rewritten, and lists that hold still. */

/** After a touch, a list holds still for so long. */
const TOUCH_MS = 4000;

/** An element, or an attribute of one, that is only written when what it shows has changed. */
export class Shown {
  #write;
  #last;

  constructor(write) {
    this.#write = write;
  }

  show(value) {
    if (value === this.#last) return;
    this.#last = value;
    this.#write(value);
  }

  /** The text of an element. */
  static text(element) {
    return new Shown((text) => (element.textContent = text));
  }

  /** An attribute; `null` takes it away. */
  static attribute(element, name) {
    return new Shown((value) => (value === null ? element.removeAttribute(name) : element.setAttribute(name, value)));
  }
}

/** The rows of a table's body: as many as there are items, each made once and rewritten. */
export class Rows {
  #body;
  #make;
  #rows = [];
  #shown = 0;

  /** @param {() => {element: HTMLElement, draw: (item: object) => void}} make */
  constructor(body, make) {
    this.#body = body;
    this.#make = make;
  }

  show(items) {
    items.forEach((item, index) => {
      const row = (this.#rows[index] ??= this.#make());
      row.draw(item);
      if (index >= this.#shown) this.#body.append(row.element);
    });
    for (let index = items.length; index < this.#shown; index++) this.#rows[index].element.remove();
    this.#shown = items.length;
  }
}

/**
 * A list that rearranges itself must not do so under a finger: it holds still while the mouse is on
 * its rows, for a while after a touch, and while the keyboard is in it.
 */
export class Hold {
  #body;
  #isPointed = false;
  #touchedAt = -Infinity;

  constructor(body, changed) {
    this.#body = body;
    body.addEventListener("pointerenter", ({ pointerType }) => {
      if (pointerType === "mouse") this.#isPointed = true;
    });
    body.addEventListener("pointerleave", () => {
      this.#isPointed = false;
      changed();
    });
    body.addEventListener("pointerdown", ({ pointerType }) => {
      if (pointerType === "mouse") return;
      this.#touchedAt = performance.now();
      setTimeout(changed, TOUCH_MS);
    });
    body.addEventListener("focusout", changed);
  }

  get isOn() {
    return (
      this.#isPointed ||
      performance.now() - this.#touchedAt < TOUCH_MS ||
      this.#body.querySelector(":focus-visible") !== null
    );
  }
}

/** An element with attributes and children; text is a child. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The element with this id. */
export const byId = (id) => document.getElementById(id);
