// Has the server make a file of a whole morph, which may take a minute, and fetches it piece by piece.

import { ask, saveAs } from "./panel.js";
import { session } from "./session.js";
import { decodeBase64 } from "./unpack.js";

const FETCHING_LIMIT = 600_000; // ms that a piece may take

/** One file that is being made. */
export class MorphFile {
  cancelled = false;
  #job = "";

  /** @param {import("./session.js").Component["server"]} server */
  constructor(server) { this.server = server; }

  /**
   * Resolves when the file was handed over, or cancelled, or when what went wrong was told.
   * @param {unknown} request of `begin_file`
   * @param {(done: number, total: number) => void} progress
   */
  async save(request, progress) {
    const begun = await ask(this.server.begin_file, request);
    if (!begun) return;
    this.#job = begun.job;
    const file = await this.#made(progress), pieces = file && await this.#pieces(file.pieces);
    this.#drop();
    if (file && pieces && !this.cancelled) saveAs(file.name, pieces);
  }

  cancel() {
    this.cancelled = true;
    this.#drop();
    session.say("Saving was cancelled");
  }

  /** Asks again and again until the file is made. @param {(done: number, total: number) => void} progress */
  async #made(progress) {
    while (!this.cancelled) {
      const state = await ask(this.server.ask_file, this.#job);
      if (!state) return null;
      progress(state.done, state.total);
      if (state.name) return state;
    }
    return null;
  }

  /** @param {number} count */
  async #pieces(count) {
    const pieces = [];
    for (let i = 0; i < count && !this.cancelled; i++) {
      const piece = await ask(this.server.fetch_file, [this.#job, i], FETCHING_LIMIT);
      if (!piece) return null;
      pieces.push(decodeBase64(piece.data));
    }
    return pieces;
  }

  /** The server may forget it. */
  #drop() {
    if (this.#job) this.server.cancel_file(this.#job).catch(() => undefined);
  }
}
