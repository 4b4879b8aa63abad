// Draws what a sound looks like: a spectrogram, a piano roll, or a waveform. Times are in seconds.

// Perceptually even and told apart by colour-blind eyes: 17 steps of matplotlib's magma and viridis.
const MAGMA = "0000040a08221d114736106b51127c6a1c818326819c2e7fb73779d0416fe75263f56b5cfc8961fea772fec488fde2a3fcfdbf";
const VIRIDIS = "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725";
const MARGIN = { left: 46, right: 10, top: 34, bottom: 24 }, NO_MARGIN = { left: 0, right: 0, top: 0, bottom: 0 };
const NOTE_NAMES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
const LOWEST_KEY = 21, KEYS = 88;

/** 256 [r, g, b] between the steps of a colour map. */
function colours(steps) {
  const step = (i, channel) => parseInt(steps.slice(6 * i + 2 * channel, 6 * i + 2 * channel + 2), 16);
  return Array.from({ length: 256 }, (_, level) => {
    const place = level / 255 * 16, i = Math.min(Math.floor(place), 15);
    return [0, 1, 2].map((channel) => step(i, channel) + (place - i) * (step(i + 1, channel) - step(i, channel)));
  });
}

class Picture {
  /** A plain one has neither axes nor room for them: to be shown small. */
  constructor(canvas, plain = false) {
    Object.assign(this, { canvas, plain, margin: plain ? NO_MARGIN : MARGIN });
    this.context = canvas.getContext("2d");
    this.magma = colours(MAGMA);
    this.viridis = colours(VIRIDIS).map((rgb) => `rgb(${rgb.map(Math.round)})`);
    this.shown = null;
    this.area = { x: 0, y: 0, width: 1, height: 1 };
    new ResizeObserver(() => { this.measure(); this.draw(); }).observe(canvas);
    this.measure();
  }

  show(shown) {
    this.shown = shown;
    this.canvas.setAttribute("aria-label", shown.about);
    this.draw();
  }

  /** Where the drawing area lies in the canvas, in CSS pixels. */
  measure() {
    const { clientWidth, clientHeight } = this.canvas;
    this.area = {
      x: this.margin.left, y: this.margin.top,
      width: Math.max(1, clientWidth - this.margin.left - this.margin.right),
      height: Math.max(1, clientHeight - this.margin.top - this.margin.bottom),
    };
  }

  draw() {
    if (!this.shown || !this.canvas.clientWidth) return;
    const scale = window.devicePixelRatio || 1, { canvas, context, shown, area } = this;
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(canvas.clientHeight * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.font = "11px system-ui, sans-serif";
    if (shown.notes) this.roll(area);
    else if (shown.picture) this.spectrogram(area);
    else this.waveform(area);
    if (!this.plain) this.seconds(area);
  }

  spectrogram(area) {
    const { bands, frames, levels, frequencies } = this.shown.picture, { context } = this;
    const small = new OffscreenCanvas(frames, bands), image = new ImageData(frames, bands);
    for (let band = 0; band < bands; band++) {
      for (let frame = 0; frame < frames; frame++) {
        const at = 4 * ((bands - 1 - band) * frames + frame);
        image.data.set(this.magma[levels[band * frames + frame]], at);
        image.data[at + 3] = 255;
      }
    }
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, area.x, area.y, area.width, area.height);
    if (this.plain) return;
    for (const hertz of [100, 200, 500, 1000, 2000, 4000, 8000, 16000]) {
      const above = frequencies.findIndex((f) => f >= hertz);
      if (above < 1) continue;
      const band = above - (frequencies[above] - hertz) / (frequencies[above] - frequencies[above - 1]);
      this.tick(area, area.y + area.height * (1 - (band + 0.5) / bands), hertz < 1000 ? hertz : `${hertz / 1000}k`);
    }
    this.unit(area, "Hz");
  }

  roll(area) {
    const { notes, seconds } = this.shown, { context } = this;
    const key = area.height / KEYS, second = area.width / seconds;
    const top = (pitch) => area.y + area.height - (pitch - LOWEST_KEY + 1) * key;
    for (let pitch = LOWEST_KEY; pitch < LOWEST_KEY + KEYS && !this.plain; pitch++) {
      if (NOTE_NAMES[pitch % 12].length === 2) {
        context.fillStyle = "rgba(255, 255, 255, 0.03)";
        context.fillRect(area.x, top(pitch), area.width, key);
      }
      if (pitch % 12 === 0) this.tick(area, top(pitch) + key, `C${pitch / 12 - 1}`);
    }
    for (let i = 0; i < notes.length; i += 4) {
      const [pitch, onset, duration, velocity] = notes.subarray(i, i + 4);
      context.fillStyle = this.viridis[Math.round(70 + 185 * velocity / 127)];
      context.fillRect(area.x + onset * second, top(pitch), Math.max(2, duration * second - 1), Math.max(2, key - 0.5));
    }
  }

  waveform(area) {
    const { samples } = this.shown.pcm, { context } = this, middle = area.y + area.height / 2;
    context.fillStyle = this.viridis[170];
    for (let x = 0; x < area.width; x++) {
      const part = samples.subarray(x / area.width * samples.length, (x + 1) / area.width * samples.length + 1);
      const high = part.reduce((a, b) => Math.max(a, b), -1), low = part.reduce((a, b) => Math.min(a, b), 1);
      context.fillRect(area.x + x, middle - high * area.height / 2, 1, Math.max(1, (high - low) * area.height / 2));
    }
  }

  /** A line across at height y, named at the left. */
  tick(area, y, text) {
    const { context } = this;
    context.fillStyle = "rgba(255, 255, 255, 0.14)";
    context.fillRect(area.x, Math.round(y), area.width, 1);
    context.fillStyle = "#c9ccd6";
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText(text, area.x - 6, y);
  }

  unit(area, text) {
    this.context.textAlign = "left";
    this.context.textBaseline = "alphabetic";
    this.context.fillText(text, 6, area.y + area.height + 16);
  }

  seconds(area) {
    const { seconds } = this.shown, { context } = this;
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].find((s) => seconds / s * 48 <= area.width) || 100;
    context.fillStyle = "#c9ccd6";
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (let i = 0; i * step <= seconds + 1e-6; i++) {
      const x = area.x + area.width * i * step / seconds;
      context.fillText(`${+(i * step).toFixed(1)}${i ? "" : " s"}`, Math.min(x, area.x + area.width - 6), area.y + area.height + 16);
    }
  }
}
