// Draws the picture of a sound: a spectrogram, a piano roll, or a waveform. Times are in seconds.

/** @typedef {import("./unpack.js").Sound} Sound */
/** Where a picture is drawn in its canvas, in CSS pixels.
 * @typedef {{ x: number, y: number, width: number, height: number }} Area */

// Perceptually uniform and safe for colour-blind eyes: 17 steps each of matplotlib's magma and viridis.
const MAGMA = "0000040a08221d114736106b51127c6a1c818326819c2e7fb73779d0416fe75263f56b5cfc8961fea772fec488fde2a3fcfdbf";
const VIRIDIS = "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725";
const MARGIN = { left: 46, right: 10, top: 34, bottom: 24 }, NO_MARGIN = { left: 0, right: 0, top: 0, bottom: 0 };
const NOTE_NAMES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
const OCTAVE = 12, ROOM_ABOVE = 2; // semitones; at least so many are left free above and below a piece
export const KEY_WIDTH = 12; // pixels of the keys beside a piano roll
const HERTZ = [100, 200, 500, 1000, 2000, 4000, 8000, 16000]; // labelled on a frequency axis
const SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]; // between two labels on the time axis
const SECONDS_ROOM = 48, LABEL_ROOM = 12; // pixels that a label of either axis needs

/**
 * Interpolates 256 colours [r, g, b] from equally spaced colours.
 * @param {string} steps six hexadecimal digits for each colour
 * @returns {number[][]}
 */
export function colours(steps) {
  const last = steps.length / 6 - 1;
  const channel = (/** @type {number} */ step, /** @type {number} */ c) => (
    parseInt(steps.slice(6 * step + 2 * c, 6 * step + 2 * c + 2), 16));
  return Array.from({ length: 256 }, (_, level) => {
    const position = level / 255 * last, i = Math.min(Math.floor(position), last - 1);
    return [0, 1, 2].map((c) => channel(i, c) + (position - i) * (channel(i + 1, c) - channel(i, c)));
  });
}

/**
 * Heights of round frequencies on an axis of equally high bands: 0 is the bottom of the lowest band, 1 the top of the
 * highest, and a band's frequency is that of its middle.
 * @param {number[]} frequencies of the bands, ascending
 * @returns {Array<{ hertz: number, height: number }>}
 */
export function frequencyTicks(frequencies) {
  return HERTZ.flatMap((hertz) => {
    const above = frequencies.findIndex((f) => f >= hertz);
    if (above < 1) return [];
    const band = above - (frequencies[above] - hertz) / (frequencies[above] - frequencies[above - 1]);
    return [{ hertz, height: (band + 0.5) / frequencies.length }];
  });
}

/**
 * Times for the labels of an axis, far enough apart that the labels do not touch.
 * @param {number} seconds
 * @param {number} width of the axis in CSS pixels
 * @returns {number[]}
 */
export function timeTicks(seconds, width) {
  const step = SECONDS.find((s) => seconds / s * SECONDS_ROOM <= width) ?? 100;
  return Array.from({ length: Math.floor(seconds / step + 1e-6) + 1 }, (_, i) => i * step);
}

/**
 * The lowest and the highest sample of each column of a waveform's picture.
 * @param {Float32Array} samples
 * @param {number} columns
 * @returns {Array<[low: number, high: number]>}
 */
export function envelope(samples, columns) {
  return Array.from({ length: columns }, (_, x) => {
    const part = samples.subarray(x / columns * samples.length, (x + 1) / columns * samples.length + 1);
    return [part.reduce((a, b) => Math.min(a, b), 1), part.reduce((a, b) => Math.max(a, b), -1)];
  });
}

/**
 * The octaves that a piece needs, with some room: MIDI notes from `low` up to but not including `high`, both a C, so
 * that the picture keeps its scale while a slider moves the notes a little.
 * @param {Float32Array} notes four numbers each, the pitch first
 */
export function octavesOf(notes) {
  const pitches = notes.filter((_, i) => i % 4 === 0);
  const lowest = pitches.reduce((a, b) => Math.min(a, b), 60), highest = pitches.reduce((a, b) => Math.max(a, b), 60);
  const low = Math.floor((lowest - ROOM_ABOVE) / OCTAVE) * OCTAVE;
  return { low, high: Math.max(low + 2 * OCTAVE, Math.ceil((highest + 1 + ROOM_ABOVE) / OCTAVE) * OCTAVE) };
}

const MAGMA_COLOURS = colours(MAGMA);
const VIRIDIS_COLOURS = colours(VIRIDIS).map((rgb) => `rgb(${rgb.map(Math.round)})`);

export class Picture {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {boolean} plain draws no axes, for small pictures
   */
  constructor(canvas, plain = false) {
    this.canvas = canvas;
    this.plain = plain;
    this.margin = plain ? NO_MARGIN : MARGIN;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    /** @type {Sound | null} */
    this.sound = null;
    /** @type {Area} */
    this.area = { x: 0, y: 0, width: 1, height: 1 };
    this.range = { low: 0, high: 2 * OCTAVE }; // of a piano roll's notes
    new ResizeObserver(() => { this.measure(); this.draw(); }).observe(canvas);
    this.measure();
  }

  /** @param {Sound} sound */
  show(sound) {
    this.sound = sound;
    this.canvas.setAttribute("aria-label", sound.about);
    this.draw();
  }

  measure() {
    const { clientWidth, clientHeight } = this.canvas;
    this.area = {
      x: this.margin.left, y: this.margin.top,
      width: Math.max(1, clientWidth - this.margin.left - this.margin.right),
      height: Math.max(1, clientHeight - this.margin.top - this.margin.bottom),
    };
  }

  draw() {
    const { canvas, context, sound, area } = this;
    if (!sound || !canvas.clientWidth) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(canvas.clientHeight * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.font = "11px system-ui, sans-serif";
    if (sound.notes) this.drawNotes(sound.notes);
    else if (sound.picture) this.drawSpectrogram(sound.picture, area);
    else if (sound.pcm) this.drawWaveform(sound.pcm.samples, area);
    if (!this.plain) this.drawTimes(sound.seconds, area);
  }

  /**
   * @param {import("./unpack.js").Spectrogram} spectrogram
   * @param {Area} area
   */
  drawSpectrogram({ bands, frames, levels, frequencies }, area) {
    const { context } = this;
    const small = new OffscreenCanvas(frames, bands), image = new ImageData(frames, bands);
    for (let band = 0; band < bands; band++) {
      for (let frame = 0; frame < frames; frame++) {
        const at = 4 * ((bands - 1 - band) * frames + frame);
        image.data.set(MAGMA_COLOURS[levels[band * frames + frame]], at);
        image.data[at + 3] = 255;
      }
    }
    /** @type {OffscreenCanvasRenderingContext2D} */ (small.getContext("2d")).putImageData(image, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, area.x, area.y, area.width, area.height);
    if (this.plain) return;
    let free = Infinity; // above it a label touches none
    for (const { hertz, height } of frequencyTicks(frequencies)) {
      const y = area.y + area.height * (1 - height);
      this.drawTick(area, y, y > free ? "" : hertz < 1000 ? `${hertz}` : `${hertz / 1000}k`);
      if (y <= free) free = y - LABEL_ROOM;
    }
    this.drawUnit(area, "Hz");
  }

  /**
   * Where the rectangle of a note lies in a piano roll.
   * @param {number} pitch
   * @param {number} onset
   * @param {number} duration
   * @returns {Area}
   */
  noteArea(pitch, onset, duration) {
    const { area, range: { low, high } } = this, key = area.height / (high - low);
    const second = area.width / (this.sound?.seconds ?? 1);
    return {
      x: area.x + onset * second, y: area.y + area.height - (pitch - low + 1) * key,
      width: Math.max(2, duration * second - 1), height: Math.max(2, key - 0.5),
    };
  }

  /**
   * A piano roll, with keys at its left.
   * @param {Float32Array} notes
   */
  drawNotes(notes) {
    const { context, area } = this;
    this.range = octavesOf(notes);
    for (let pitch = this.range.low; pitch < this.range.high && !this.plain; pitch++) {
      const { y, height } = this.noteArea(pitch, 0, 0), black = NOTE_NAMES[pitch % OCTAVE].length === 2;
      if (black) {
        context.fillStyle = "rgba(255, 255, 255, 0.03)";
        context.fillRect(area.x, y, area.width, height);
      }
      context.fillStyle = black ? "#20242f" : "#c9ccd6";
      context.fillRect(area.x - KEY_WIDTH - 2, y, KEY_WIDTH, height);
      if (pitch % OCTAVE === 0) this.drawTick(area, y + height, `C${pitch / OCTAVE - 1}`, KEY_WIDTH + 2);
    }
    for (let i = 0; i < notes.length; i += 4) {
      const [pitch, onset, duration, velocity] = notes.subarray(i, i + 4);
      const { x, y, width, height } = this.noteArea(pitch, onset, duration);
      context.fillStyle = VIRIDIS_COLOURS[Math.round(40 + 215 * velocity / 127)];
      context.fillRect(x, y, width, height);
    }
  }

  /**
   * @param {Float32Array} samples
   * @param {Area} area
   */
  drawWaveform(samples, area) {
    const { context } = this, middle = area.y + area.height / 2, half = area.height / 2;
    context.fillStyle = VIRIDIS_COLOURS[170];
    envelope(samples, Math.floor(area.width)).forEach(([low, high], x) => {
      context.fillRect(area.x + x, middle - high * half, 1, Math.max(1, (high - low) * half));
    });
  }

  /**
   * A line across at height y, named at the left.
   * @param {Area} area
   * @param {number} y
   * @param {string} text
   * @param {number} [left] room between the text and the area
   */
  drawTick(area, y, text, left = 0) {
    const { context } = this;
    context.fillStyle = "rgba(255, 255, 255, 0.14)";
    context.fillRect(area.x, Math.round(y), area.width, 1);
    context.fillStyle = "#c9ccd6";
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText(text, area.x - 6 - left, y);
  }

  /**
   * @param {Area} area
   * @param {string} text
   */
  drawUnit(area, text) {
    this.context.textAlign = "left";
    this.context.textBaseline = "alphabetic";
    this.context.fillText(text, 6, area.y + area.height + 16);
  }

  /**
   * @param {number} seconds
   * @param {Area} area
   */
  drawTimes(seconds, area) {
    const { context } = this;
    context.fillStyle = "#c9ccd6";
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (const time of timeTicks(seconds, area.width)) {
      const x = area.x + area.width * time / seconds, unit = time ? "" : " s";
      context.fillText(`${Number(time.toFixed(1))}${unit}`, Math.min(x, area.x + area.width - 6), area.y + area.height + 16);
    }
  }
}
