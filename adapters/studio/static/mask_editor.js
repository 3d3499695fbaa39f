// An image that is to be changed, and the area selected on it: by brush, with mouse, pen or finger, or by numbers.

const MOST_BYTES = 20 * 1024 * 1024;
const MOST_SIDE = 1536; // pixels: what the models of today give back
const KINDS = new Set(["image/png", "image/jpeg", "image/webp"]);

/** @param {string} src */
async function decoded(src) {
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
}

/** @param {HTMLCanvasElement} canvas */
function contextOf(canvas) {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("This browser can’t draw on a canvas.");
  return context;
}

/** @param {string} url of data */
const base64 = (url) => url.replace(/^[^,]*,/, "");

export class MaskEditor {
  used = false;
  brush = 0.09; // of the longer side
  #image;
  #mask; // painted where the image may change
  #status;
  #alt = "";
  /** @type {[number, number] | null} */
  #last = null;
  #selected = false;

  /** @param {HTMLImageElement} image @param {HTMLCanvasElement} mask @param {HTMLElement} status */
  constructor(image, mask, status) {
    this.#image = image;
    this.#mask = mask;
    this.#status = status;
    mask.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      mask.setPointerCapture(event.pointerId);
      this.#last = this.#at(event);
      this.#stroke(this.#last);
    });
    mask.addEventListener("pointermove", (event) => this.#last && this.#stroke(this.#at(event)));
    for (const end of ["pointerup", "pointercancel"]) mask.addEventListener(end, () => (this.#last = null));
  }

  /**
   * Load an image by its address, or a file. Throws an Error whose message is for the person.
   * @param {string | File} source @param {string} alt
   */
  async load(source, alt) {
    if (source instanceof File) {
      if (!KINDS.has(source.type)) throw new Error("Unsupported file type. Choose a PNG, JPEG or WebP image.");
      if (source.size > MOST_BYTES) throw new Error("The image is larger than 20 MB. Choose a smaller one.");
    }
    const loaded = await (source instanceof File ? createImageBitmap(source) : decoded(source)).catch(() => {
      throw new Error("The image can’t be opened. The file may be damaged.");
    });
    const scale = Math.min(1, MOST_SIDE / Math.max(loaded.width, loaded.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(loaded.width * scale);
    canvas.height = Math.round(loaded.height * scale);
    contextOf(canvas).drawImage(loaded, 0, 0, canvas.width, canvas.height);
    this.#image.src = canvas.toDataURL("image/png");
    this.#image.alt = this.#alt = alt;
    [this.#mask.width, this.#mask.height] = [canvas.width, canvas.height];
    this.used = true;
    this.clear();
  }

  leave() {
    this.used = false;
    this.#image.removeAttribute("src");
    this.clear();
  }

  clear() {
    contextOf(this.#mask).clearRect(0, 0, this.#mask.width, this.#mask.height);
    this.#select(false);
  }

  /**
   * Select a rectangle; its numbers are shares of the image's width and height.
   * @param {number} left @param {number} top @param {number} width @param {number} height
   */
  rectangle(left, top, width, height) {
    const { width: across, height: down } = this.#mask;
    this.#pen().fillRect(left * across, top * down, width * across, height * down);
    this.#select(true);
  }

  /** What the server is asked to change: the image, and a mask that is transparent where it is selected. */
  request() {
    const { width, height } = this.#mask;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const pen = contextOf(canvas);
    pen.fillRect(0, 0, width, height);
    pen.globalCompositeOperation = "destination-out";
    pen.drawImage(this.#mask, 0, 0);
    const mask = this.#selected ? { mask: base64(canvas.toDataURL("image/png")) } : {};
    return { picture: base64(this.#image.src), alt: this.#alt.slice(0, 4000), ...mask };
  }

  #pen() {
    const pen = contextOf(this.#mask);
    pen.fillStyle = pen.strokeStyle = "rgb(236 64 122)";
    pen.lineCap = pen.lineJoin = "round";
    pen.lineWidth = this.brush * Math.max(this.#mask.width, this.#mask.height);
    return pen;
  }

  /** @param {PointerEvent} event @returns {[number, number]} */
  #at({ clientX, clientY }) {
    const box = this.#mask.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * this.#mask.width, ((clientY - box.top) / box.height) * this.#mask.height];
  }

  /** @param {[number, number]} to */
  #stroke(to) {
    const pen = this.#pen();
    pen.beginPath();
    pen.moveTo(...(this.#last ?? to));
    pen.lineTo(...to);
    pen.stroke();
    this.#last = to;
    this.#select(true);
  }

  /** @param {boolean} selected */
  #select(selected) {
    this.#selected = selected;
    this.#status.textContent = selected ? "Only the selected area will change." : "No area selected.";
  }
}
