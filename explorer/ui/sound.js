// Plays what a sound sounds like, with Web Audio. Times are in seconds.

const FADE = 0.04; // from one sound to the next, in equal power
const SOON = 0.01; // how far ahead of now a sound is begun
const AHEAD = 0.3, TICK = 0.1; // notes are handed over this long before they sound, this often
const CEILING = 0.98; // beyond it the output is bent instead of clipped

const RISE = Float32Array.from({ length: 65 }, (_, i) => Math.sin(i / 64 * Math.PI / 2));
const FALL = RISE.slice().reverse();

const ROOM = 8; // a limiter's curve has the domain [-1, 1], so what comes in is made smaller first

/** A curve that is the identity up to `knee` and never reaches 1: the piano's own, see explorer/sound/synth.py. */
function bend(knee) {
  const size = 8193;
  return Float32Array.from({ length: size }, (_, i) => {
    const x = ROOM * (2 * i / (size - 1) - 1), over = Math.abs(x) - knee;
    return over <= 0 ? x : Math.sign(x) * (knee + (1 - knee) * Math.tanh(over / (1 - knee)));
  });
}

/** A limiter without memory. */
function limiter(context, curve) {
  const input = new GainNode(context, { gain: 1 / ROOM }), output = new WaveShaperNode(context, { curve });
  input.connect(output);
  return { input, output };
}

/** The samples of the piano, each fetched when a note first needs it. */
class Piano {
  constructor(manifest, folder) {
    Object.assign(this, { manifest, folder, buffers: new Map(), curve: bend(manifest.knee), limiters: [] });
  }

  sample(pitch, velocity) {
    const { layers, samples } = this.manifest;
    const layer = Math.max(0, layers.findIndex((l) => velocity <= l.max_velocity));
    return samples.filter((s) => s.layer === layer)
      .reduce((a, b) => (Math.abs(b.pitch - pitch) < Math.abs(a.pitch - pitch) ? b : a));
  }

  async fetch(context, file) {
    const response = await fetch(this.folder + file);
    if (!response.ok) throw new Error(`${file} could not be loaded`);
    return context.decodeAudioData(await response.arrayBuffer());
  }

  /** Resolves when every sample that these notes need is there. */
  prepare(context, notes) {
    const files = new Set();
    for (let i = 0; i < notes.length; i += 4) files.add(this.sample(notes[i], notes[i + 3]).file);
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

/** A waveform on its way out. */
class Tape {
  constructor(context, sound, loop) {
    const { rate, samples } = sound.pcm;
    const buffer = new AudioBuffer({ length: samples.length, sampleRate: rate });
    buffer.copyToChannel(samples, 0);
    this.output = this.source = new AudioBufferSourceNode(context, { buffer, loop });
  }
  start(when, position) { this.source.start(when, position); }
  stop(when) { this.source.stop(when); }
  leave() {}
}

/** Notes on their way out. */
class Roll {
  constructor(context, sound, loop, piano) {
    Object.assign(this, { context, loop, piano, notes: sound.notes, seconds: sound.seconds, next: 0, lap: 0 });
    // A new one takes longer than all the rest of a change of sound, so those that have fallen silent serve again.
    this.limiter = piano.limiters.pop() ?? limiter(context, piano.curve);
    this.sources = new Set();
  }

  start(when, position) {
    this.origin = when - position; // the time at which the first lap began
    const tail = this.piano.manifest.release * this.piano.manifest.release_length;
    for (; 4 * this.next < this.notes.length; this.next++) {
      const [, onset, duration] = this.notes.subarray(4 * this.next);
      if (onset >= position) break;
      if (onset + duration + tail > position) this.strike(this.next, when, position - onset);
    }
    this.timer = setInterval(() => this.schedule(), TICK * 1000);
    this.schedule();
  }

  schedule() {
    const until = this.context.currentTime + AHEAD;
    for (;;) {
      if (4 * this.next >= this.notes.length) {
        if (!this.loop || this.origin + (this.lap + 1) * this.seconds > until) return;
        this.next = 0;
        this.lap++;
      }
      const when = this.origin + this.lap * this.seconds + this.notes[4 * this.next + 1];
      if (when > until) return;
      const late = Math.max(0, this.context.currentTime - when);
      this.strike(this.next++, when + late, late);
    }
  }

  /** Plays note i at a time, from `skip` seconds after its onset. The formulas are synth.py's. */
  strike(i, when, skip) {
    const [pitch, , duration, velocity] = this.notes.subarray(4 * i);
    const { gain, velocity_exponent, release, release_length } = this.piano.manifest;
    const sample = this.piano.sample(pitch, velocity), buffer = this.piano.buffers.get(sample.file);
    if (!(buffer instanceof AudioBuffer)) return; // still on its way: silence rather than a wrong sound
    const playbackRate = 2 ** ((pitch - sample.pitch + sample.cents / 100) / 12);
    if (skip * playbackRate >= buffer.duration) return;
    const source = new AudioBufferSourceNode(this.context, { buffer, playbackRate });
    const level = gain * sample.gain * (velocity / 127) ** velocity_exponent;
    const up = when - skip + duration; // the key
    const node = new GainNode(this.context, { gain: level * Math.exp(-Math.max(0, when - up) / release) });
    node.gain.setTargetAtTime(0, Math.max(up, when), release);
    source.connect(node).connect(this.limiter.input);
    source.start(when, skip * playbackRate);
    source.stop(Math.max(up, when) + release_length * release);
    this.sources.add(source);
    source.onended = () => { this.sources.delete(source); node.disconnect(); };
  }

  get output() { return this.limiter.output; }

  stop(when) {
    clearInterval(this.timer);
    for (const source of this.sources) source.stop(when);
  }

  /** To be called once it is silent. */
  leave() {
    this.output.disconnect();
    this.piano.limiters.push(this.limiter);
  }
}

/** One sound at a time, looping, with a crossfade to the next. */
class Speaker {
  constructor(piano, changed) {
    Object.assign(this, { piano, changed, sound: null, voice: null, resting: 0, looping: true, level: 0.8 });
  }

  get playing() { return this.voice !== null; }

  /** Where in the sound the ear is. */
  get position() {
    return this.playing ? this.at(this.context.currentTime - (this.context.outputLatency || 0)) : this.resting;
  }

  /** Where in the sound the output is at a time of the context. */
  at(time) {
    const since = Math.max(0, time - this.origin), { seconds } = this.sound;
    return this.looping ? since % seconds : Math.min(since, seconds);
  }

  /** How long one sound goes over into the next. */
  get fade() { return FADE + SOON; }

  /** Takes the next sound; what plays goes over into it, at the same place or at another. */
  async load(sound, position) {
    this.sound = sound;
    this.resting %= sound.seconds;
    if (!this.playing) return;
    if (sound.notes) await this.piano.prepare(this.context, sound.notes);
    if (this.playing && this.sound === sound) this.begin(position);
  }

  async play() {
    if (!this.sound || this.playing) return;
    this.context ??= this.open();
    await this.context.resume();
    for (let ready = null; ready !== this.sound;) { // another may come while its samples do
      ready = this.sound;
      if (ready.notes) await this.piano.prepare(this.context, ready.notes);
    }
    if (!this.playing) this.begin(this.resting);
    this.changed();
  }

  stop() {
    const { position } = this;
    this.resting = position < this.sound.seconds ? position : 0;
    this.end(this.context.currentTime + SOON);
    this.changed();
  }

  seek(position) {
    if (this.playing) this.begin(position);
    else this.resting = position;
    this.changed();
  }

  set loop(looping) {
    const { position } = this;
    this.looping = looping;
    if (this.playing) this.begin(position);
  }

  set volume(level) {
    this.level = level;
    this.master?.gain.setTargetAtTime(level, this.context.currentTime, 0.02);
  }

  /** To be called now and then: a sound that does not loop comes to its end. */
  look() {
    if (this.playing && !this.looping && this.position >= this.sound.seconds) this.stop();
  }

  open() {
    const context = new AudioContext({ latencyHint: "interactive" });
    const { input, output } = limiter(context, bend(CEILING));
    this.master = new GainNode(context, { gain: this.level });
    this.master.connect(input);
    output.connect(context.destination);
    return context;
  }

  begin(position) {
    const { context, sound, looping } = this, when = context.currentTime + SOON;
    position ??= this.at(when) % sound.seconds;
    this.end(when);
    const voice = sound.notes ? new Roll(context, sound, looping, this.piano) : new Tape(context, sound, looping);
    // A node for each fade: a voice may have to go while it is still coming.
    const rise = new GainNode(context, { gain: 0 }), fall = new GainNode(context);
    rise.gain.setValueCurveAtTime(RISE, when, FADE);
    voice.output.connect(rise).connect(fall).connect(this.master);
    voice.start(when, position);
    this.origin = when - position;
    this.voice = voice;
    this.fall = fall;
  }

  end(when) {
    if (!this.voice) return;
    const { voice, fall } = this;
    fall.gain.setValueCurveAtTime(FALL, when, FADE);
    voice.stop(when + FADE);
    setTimeout(() => { voice.leave(); fall.disconnect(); }, 1000 * (SOON + FADE) + 200);
    this.voice = null;
  }
}
