// A file of a whole morph: the server makes it, which may take a minute; then it is fetched in pieces.

import { ask, saveAs } from "./panel.js";
import { session } from "./session.js";
import { decodeBase64 } from "./unpack.js";

const FETCHING_LIMIT = 600_000; // ms, for one piece

/** One file that the server makes. */
export class MorphFile {
  cancelled = false;
  #job = "";

  /** @param {import("./session.js").Component["server"]} server */
  constructor(server) { this.server = server; }

  /**
   * Resolves when the file was downloaded or cancelled, or an error was shown.
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

  /** Asks for the progress until the file is finished. @param {(done: number, total: number) => void} progress */
  async #made(progress) {
    while (!this.cancelled) {
      const state = await ask(this.server.file_progress, this.#job);
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

  /** Tells the server to delete the file. */
  #drop() {
    if (this.#job) this.server.cancel_file(this.#job).catch(() => undefined);
  }
}
