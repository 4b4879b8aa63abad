// Plays sounds with Web Audio. Times are in seconds.

/** @typedef {import("./unpack.js").Sound} Sound */
/** @typedef {{ file: string, pitch: number, cents: number, gain: number, layer: number }} Sample */
/** What explorer/sound/synth.py says of its samples, and of how it plays them.
 * @typedef {object} Manifest
 * @property {number} knee
 * @property {number} gain
 * @property {number} velocity_exponent
 * @property {number} release
 * @property {number} release_length
 * @property {Array<{ max_velocity: number }>} layers
 * @property {Sample[]} samples
 */

const FADE = 0.04; // from one sound to the next
const SOON = 0.01; // how far ahead of now a sound is started
const AHEAD = 0.3, TICK = 0.1; // notes are scheduled this long before they sound, this often
const INSTANT = 1024; // samples whose peak the level meter shows
const CEILING = 0.98; // above it the output is compressed instead of clipped
const ROOM = 8; // a limiter's curve has the domain [-1, 1], so its input is scaled down by this first
const CURVE_POINTS = 8193;

/** Gains of a crossfade: their squares sum to 1, so that the power stays equal. */
export const RISE = Float32Array.from({ length: 65 }, (_, i) => Math.sin(i / 64 * Math.PI / 2));
export const FALL = RISE.slice().reverse();

/**
 * A limiter's curve over [-ROOM, ROOM]: the identity up to `knee`, and never beyond 1. As in explorer/sound/synth.py.
 * @param {number} knee
 */
export function limiterCurve(knee) {
  return Float32Array.from({ length: CURVE_POINTS }, (_, i) => {
    const x = ROOM * (2 * i / (CURVE_POINTS - 1) - 1), over = Math.abs(x) - knee;
    return over <= 0 ? x : Math.sign(x) * (knee + (1 - knee) * Math.tanh(over / (1 - knee)));
  });
}

/**
 * The recorded sample for a note: the nearest in pitch, in the layer of its velocity.
 * @param {Manifest} manifest
 * @param {number} pitch
 * @param {number} velocity
 */
export function nearestSample({ layers, samples }, pitch, velocity) {
  const layer = Math.max(0, layers.findIndex((l) => velocity <= l.max_velocity));
  return samples.filter((s) => s.layer === layer)
    .reduce((a, b) => (Math.abs(b.pitch - pitch) < Math.abs(a.pitch - pitch) ? b : a));
}

/**
 * The speed at which a sample is played, 1 being that of the recording.
 * @param {Sample} sample
 * @param {number} pitch
 */
export const playbackRate = (sample, pitch) => 2 ** ((pitch - sample.pitch + sample.cents / 100) / 12);

/**
 * Whether the page's piano plays the sound's notes; otherwise its waveform is played, even if it has notes to show.
 * @param {Sound} sound
 */
export const byPiano = (sound) => sound.played_by === "piano";

/**
 * Whether what was sent of a sound is enough to play it.
 * @param {Sound | import("./asking.js").Answer} sent
 */
export const playable = (sent) => (sent.played_by === "piano" ? sent.notes : sent.pcm) !== undefined;

/**
 * A limiter without memory.
 * @param {AudioContext} context
 * @param {Float32Array<ArrayBuffer>} curve
 */
function limiter(context, curve) {
  const input = new GainNode(context, { gain: 1 / ROOM });
  const output = new WaveShaperNode(context, { curve: /** @type {any} */ (curve) }); // also takes typed arrays
  input.connect(output);
  return { input, output };
}

/** The samples of the piano, each fetched when a note first needs it. */
export class Piano {
  /**
   * @param {Manifest} manifest
   * @param {string} folder URL, with a slash at the end
   */
  constructor(manifest, folder) {
    this.manifest = manifest;
    this.folder = folder;
    /** By file. @type {Map<string, AudioBuffer | Promise<AudioBuffer>>} */
    this.buffers = new Map();
    this.curve = limiterCurve(manifest.knee);
    /** Unused ones of ended voices. @type {Array<{ input: GainNode, output: WaveShaperNode }>} */
    this.limiters = [];
  }

  /**
   * @param {AudioContext} context
   * @param {string} file
   */
  async fetch(context, file) {
    const response = await fetch(this.folder + file);
    if (!response.ok) throw new Error(`${file} could not be loaded`);
    return context.decodeAudioData(await response.arrayBuffer());
  }

  /**
   * Resolves when every sample that these notes need is there.
   * @param {AudioContext} context
   * @param {Float32Array} notes
   */
  prepare(context, notes) {
    const files = new Set();
    for (let i = 0; i < notes.length; i += 4) files.add(nearestSample(this.manifest, notes[i], notes[i + 3]).file);
    return Promise.all([...files].map((file) => {
      if (!this.buffers.has(file)) {
        const loading = this.fetch(context, file);
        this.buffers.set(file, loading);
        loading.then((buffer) => this.buffers.set(file, buffer), () => this.buffers.delete(file));
      }
      return this.buffers.get(file);
    }));
  }
}

/**
 * A sound that plays. `leave` must be called once it is silent.
 * @typedef {object} Voice
 * @property {AudioNode} output
 * @property {(when: number, position: number) => void} start
 * @property {(when: number) => void} stop
 * @property {() => void} leave
 */

/** A part of a sound that is repeated in its place; with `pcm` its seamless loop, which is played instead.
 * @typedef {{ start: number, end: number, pcm?: { rate: number, samples: Float32Array } }} Region */

/** A waveform that plays. @implements {Voice} */
export class WaveformVoice {
  /**
   * @param {AudioContext} context
   * @param {Pick<Sound, "pcm">} sound
   * @param {boolean} loop
   * @param {Region | null} [region] that is repeated; by default the whole
   */
  constructor(context, sound, loop, region) {
    const { rate, samples } = /** @type {{ rate: number, samples: Float32Array<ArrayBuffer> }} */ (sound.pcm);
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: rate });
    buffer.copyToChannel(samples, 0);
    this.output = this.source = new AudioBufferSourceNode(context, {
      buffer, loop, loopStart: region?.start ?? 0, loopEnd: region?.end ?? 0, // 0 and 0 repeat the whole
    });
  }

  /**
   * @param {number} when
   * @param {number} position
   */
  start(when, position) { this.source.start(when, position); }
  /** @param {number} when */
  stop(when) { this.source.stop(when); }
  leave() {}
}

/** Notes that are played on the piano. @implements {Voice} */
export class PianoVoice {
  /**
   * @param {AudioContext} context
   * @param {Sound} sound
   * @param {boolean} loop
   * @param {Piano} piano
   */
  constructor(context, sound, loop, piano) {
    this.context = context;
    this.loop = loop;
    this.piano = piano;
    this.notes = /** @type {Float32Array} */ (sound.notes);
    this.seconds = sound.seconds;
    this.next = 0; // note to be struck
    this.lap = 0;
    this.origin = 0; // the time at which the first lap began
    /** @type {ReturnType<typeof setInterval> | undefined} */
    this.timer = undefined;
    // A new one takes longer than all the rest of a change of sound, so those that have fallen silent serve again.
    this.limiter = piano.limiters.pop() ?? limiter(context, piano.curve);
    /** @type {Set<AudioBufferSourceNode>} */
    this.sources = new Set();
  }

  /**
   * @param {number} when
   * @param {number} position
   */
  start(when, position) {
    this.origin = when - position;
    const tail = this.piano.manifest.release * this.piano.manifest.release_length;
    for (; 4 * this.next < this.notes.length; this.next++) {
      const [, onset, duration] = this.notes.subarray(4 * this.next);
      if (onset >= position) break;
      if (onset + duration + tail > position) this.strike(this.next, when, position - onset);
    }
    this.timer = setInterval(() => this.schedule(), TICK * 1000);
    this.schedule();
  }

  /** Strikes the notes that begin within AHEAD of now. */
  schedule() {
    const until = this.context.currentTime + AHEAD;
    for (;;) {
      if (4 * this.next >= this.notes.length) {
        if (!this.loop || this.origin + (this.lap + 1) * this.seconds > until) return;
        this.next = 0;
        this.lap++;
        if (!this.notes.length) continue;
      }
      const when = this.origin + this.lap * this.seconds + this.notes[4 * this.next + 1];
      if (when > until) return;
      const late = Math.max(0, this.context.currentTime - when);
      this.strike(this.next++, when + late, late);
    }
  }

  /**
   * Plays note i at a time, from `skip` seconds after its onset. The formulas are synth.py's.
   * @param {number} i
   * @param {number} when
   * @param {number} skip
   */
  strike(i, when, skip) {
    const [pitch, , duration, velocity] = this.notes.subarray(4 * i);
    const { manifest, buffers } = this.piano, { gain, velocity_exponent, release, release_length } = manifest;
    const sample = nearestSample(manifest, pitch, velocity), buffer = buffers.get(sample.file);
    if (!(buffer instanceof AudioBuffer)) return; // not loaded yet: silence is better than a wrong sound
    const rate = playbackRate(sample, pitch);
    if (skip * rate >= buffer.duration) return;
    const source = new AudioBufferSourceNode(this.context, { buffer, playbackRate: rate });
    const level = gain * sample.gain * (velocity / 127) ** velocity_exponent;
    const up = when - skip + duration; // the key
    const node = new GainNode(this.context, { gain: level * Math.exp(-Math.max(0, when - up) / release) });
    node.gain.setTargetAtTime(0, Math.max(up, when), release);
    source.connect(node).connect(this.limiter.input);
    source.start(when, skip * rate);
    source.stop(Math.max(up, when) + release_length * release);
    this.sources.add(source);
    source.onended = () => { this.sources.delete(source); node.disconnect(); };
  }

  get output() { return this.limiter.output; }

  /** @param {number} when */
  stop(when) {
    clearInterval(this.timer);
    for (const source of this.sources) source.stop(when);
  }

  leave() {
    this.output.disconnect();
    this.piano.limiters.push(this.limiter);
  }
}

/** Plays one sound at a time, with a crossfade to the next. */
export class Speaker {
  /** Once something was played. @type {AudioContext | undefined} */
  context;
  /** The volume. @type {GainNode | undefined} */
  master;
  /** What the loudspeaker gets. @type {AnalyserNode | undefined} */
  output;
  #instant = new Float32Array(INSTANT);
  /** What plays now. @type {Voice | null} */
  voice = null;
  /** Fades the voice out. @type {GainNode | null} */
  fall = null;
  /** The sound that plays, or that Play would start. @type {Sound | null} */
  sound = null;
  /** What is played of the sound; null for all of it. @type {Region | null} */
  region = null;
  /** The context's time at which the sound would have begun to be at its present position now. */
  origin = 0;
  /** The position at which Play will start. */
  resting = 0;
  looping = true;
  /** Whether what begins next ends at its end although sounds are repeated. */
  once = false;
  /** Whether what plays is repeated. */
  repeats = true;
  level = 0.8;

  /**
   * @param {Piano} piano
   * @param {() => void} changed called when what the controls show has changed
   */
  constructor(piano, changed) {
    this.piano = piano;
    this.changed = changed;
  }

  get playing() { return this.voice !== null; }

  get now() { return this.context?.currentTime ?? 0; }

  get seconds() { return this.sound?.seconds ?? 1; }

  /** The position in the sound that is heard now. */
  get position() {
    return this.playing ? this.at(this.now - (this.context?.outputLatency || 0)) : this.resting;
  }

  /** The position in the sound at a time of the context. @param {number} time */
  at(time) {
    const since = Math.max(0, time - this.origin), { start, end } = this.span;
    return this.repeats ? start + since % (end - start) : Math.min(start + since, end);
  }

  /** What is played of the sound. */
  get span() { return this.region ?? { start: 0, end: this.seconds }; }

  /** Plays a part of the sound, or all of it again. @param {Region | null} region */
  select(region) {
    const { position } = this;
    this.region = region;
    if (this.playing) this.begin(position);
    else this.resting = position;
    this.changed();
  }

  /** Length of the crossfade between two sounds. */
  get fade() { return FADE + SOON; }

  /**
   * Takes the next sound and crossfades to it if one plays, at the same position or at another.
   * @param {Sound} sound
   * @param {number} [position]
   */
  async load(sound, position) {
    if (this.region) {
      if (byPiano(sound) && this.playing) position ??= this.at(this.now); // it repeats no part until its loop is made
      this.region = byPiano(sound) ? null : { start: this.region.start, end: this.region.end };
    }
    this.sound = sound;
    this.resting = (position ?? this.resting) % sound.seconds;
    if (!this.playing) return;
    await this.prepare(sound);
    if (this.playing && this.sound === sound) this.begin(position);
  }

  /** The context, running; a browser starts it only after a click or a key. */
  async wake() {
    this.context ??= this.open();
    if (this.context.state !== "running") await this.context.resume();
    return this.context;
  }

  async play() {
    if (!this.sound || this.playing) return;
    await this.wake();
    for (let ready = null; ready !== this.sound;) { // another sound may arrive while samples are loading
      ready = /** @type {Sound} */ (this.sound);
      await this.prepare(ready);
    }
    if (!this.playing) this.begin(this.resting);
    this.changed();
  }

  stop() {
    const { position } = this;
    this.resting = position < this.span.end ? position : this.span.start;
    this.end(this.now + SOON);
    this.changed();
  }

  /** @param {number} position */
  seek(position) {
    if (this.playing) this.begin(position);
    else this.resting = position;
    this.changed();
  }

  set loop(/** @type {boolean} */ looping) {
    const { position } = this;
    this.looping = looping;
    this.once = false;
    if (this.playing) this.begin(position);
  }

  set volume(/** @type {number} */ level) {
    this.level = level;
    this.master?.gain.setTargetAtTime(level, this.now, 0.02);
  }

  /** The peak of what the loudspeaker has got in the last instant, 0 to 1. */
  get peak() {
    if (!this.output) return 0;
    this.output.getFloatTimeDomainData(this.#instant);
    return this.#instant.reduce((peak, x) => Math.max(peak, Math.abs(x)), 0);
  }

  /** Stops a sound that is not repeated at its end; to be called regularly. */
  look() {
    if (this.playing && !this.repeats && this.position >= this.span.end) this.stop();
  }

  /** Gets what is needed to play a sound. @param {Sound} sound */
  async prepare(sound) {
    const context = /** @type {AudioContext} */ (this.context);
    if (byPiano(sound) && sound.notes) await this.piano.prepare(context, sound.notes);
  }

  open() {
    const context = new AudioContext({ latencyHint: "interactive" });
    const { input, output } = limiter(context, limiterCurve(CEILING));
    this.master = new GainNode(context, { gain: this.level });
    this.master.connect(input);
    this.output = new AnalyserNode(context, { fftSize: INSTANT });
    output.connect(this.output).connect(context.destination);
    return context;
  }

  /** @param {number} [position] in the sound; by default the present one */
  begin(position) {
    const context = /** @type {AudioContext} */ (this.context), sound = /** @type {Sound} */ (this.sound);
    const when = context.currentTime + SOON, wanted = position ?? this.at(when) % sound.seconds;
    const { region, span: { start, end } } = this, from = wanted >= start && wanted < end ? wanted : start;
    this.end(when);
    this.repeats = this.looping && !this.once;
    const voice = region?.pcm ? new WaveformVoice(context, region, this.repeats)
      : byPiano(sound) ? new PianoVoice(context, sound, this.repeats, this.piano)
        : new WaveformVoice(context, sound, this.repeats, region);
    // A node for each fade, because a voice may have to fade out while it still fades in.
    const rise = new GainNode(context, { gain: 0 }), fall = new GainNode(context);
    rise.gain.setValueCurveAtTime(RISE.map((x) => x * sound.gain), when, FADE);
    voice.output.connect(rise).connect(fall).connect(/** @type {GainNode} */ (this.master));
    voice.start(when, region?.pcm ? from - start : from);
    this.origin = when - (from - start);
    this.voice = voice;
    this.fall = fall;
  }

  /** @param {number} when */
  end(when) {
    const { voice, fall } = this;
    if (!voice || !fall) return;
    fall.gain.setValueCurveAtTime(FALL, when, FADE);
    voice.stop(when + FADE);
    setTimeout(() => { voice.leave(); fall.disconnect(); }, 1000 * (SOON + FADE) + 200);
    this.voice = null;
  }
}
