// A picture that is to be changed, and the marks on it: by brush, with mouse, pen or finger, or by numbers.

const MOST_BYTES = 20 * 1024 * 1024;
const SIDE = 1536; // pixels: what the models of today give back
const KINDS = ["image/png", "image/jpeg", "image/webp"];

async function decoded(src) {
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
}

const base64 = (canvas) => canvas.toDataURL("image/png").split(",")[1];

export class Easel {
  used = false;
  brush = 0.09; // of the longer side
  #image;
  #marks;
  #told;
  #alt = "";
  #last = null;
  #some = false; // something is marked

  constructor(image, marks, told) {
    [this.#image, this.#marks, this.#told] = [image, marks, told];
    marks.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      marks.setPointerCapture(event.pointerId);
      this.#last = this.#at(event);
      this.#stroke(this.#last);
    });
    marks.addEventListener("pointermove", (event) => this.#last && this.#stroke(this.#at(event)));
    for (const end of ["pointerup", "pointercancel"]) marks.addEventListener(end, () => (this.#last = null));
  }

  /** Take a picture of the gallery, or a file. Throws an Error whose message is for the person. */
  async take(source, alt) {
    const file = source instanceof Blob;
    if (file && !KINDS.includes(source.type)) throw new Error("That is no picture that can be changed: choose a PNG, a JPEG or a WebP.");
    if (file && source.size > MOST_BYTES) throw new Error("That picture is larger than 20 MB. Choose a smaller one.");
    const loaded = await (file ? createImageBitmap(source) : decoded(source)).catch(() => {
      throw new Error("That picture can’t be opened: it seems to be damaged.");
    });
    const share = Math.min(1, SIDE / Math.max(loaded.width, loaded.height));
    const sheet = document.createElement("canvas");
    sheet.width = Math.round(loaded.width * share);
    sheet.height = Math.round(loaded.height * share);
    sheet.getContext("2d").drawImage(loaded, 0, 0, sheet.width, sheet.height);
    this.#image.src = sheet.toDataURL("image/png");
    this.#image.alt = this.#alt = alt;
    [this.#marks.width, this.#marks.height] = [sheet.width, sheet.height];
    this.used = true;
    this.unmark();
  }

  leave() {
    this.used = false;
    this.#image.removeAttribute("src");
    this.unmark();
  }

  unmark() {
    this.#marks.getContext("2d").clearRect(0, 0, this.#marks.width, this.#marks.height);
    this.#some = false;
    this.#told.textContent = "Nothing is marked.";
  }

  /** Mark a rectangle; its sides are shares of the picture's. */
  rectangle(left, top, width, height) {
    const [across, down] = [this.#marks.width, this.#marks.height];
    const pen = this.#pen();
    pen.fillRect(left * across, top * down, width * across, height * down);
    this.#note();
  }

  /** What the server is asked to change: the picture, and a mask that is transparent where it is marked. */
  wish() {
    const sheet = document.createElement("canvas");
    [sheet.width, sheet.height] = [this.#marks.width, this.#marks.height];
    const pen = sheet.getContext("2d");
    pen.fillRect(0, 0, sheet.width, sheet.height);
    pen.globalCompositeOperation = "destination-out";
    pen.drawImage(this.#marks, 0, 0);
    const picture = this.#image.src.split(",")[1];
    return { picture, alt: this.#alt.slice(0, 4000), ...(this.#some ? { mask: base64(sheet) } : {}) };
  }

  #pen() {
    const pen = this.#marks.getContext("2d");
    pen.fillStyle = pen.strokeStyle = "rgb(236 64 122)";
    pen.lineCap = pen.lineJoin = "round";
    pen.lineWidth = this.brush * Math.max(this.#marks.width, this.#marks.height);
    return pen;
  }

  #at({ clientX, clientY }) {
    const box = this.#marks.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * this.#marks.width, ((clientY - box.top) / box.height) * this.#marks.height];
  }

  #stroke(to) {
    const pen = this.#pen();
    pen.beginPath();
    pen.moveTo(...this.#last);
    pen.lineTo(...to);
    pen.stroke();
    this.#last = to;
    this.#note();
  }

  #note() {
    this.#some = true;
    this.#told.textContent = "What is marked will change; everything else stays.";
  }
}
