import { Lane, type ShedLimits } from './lane.ts';

/**
 * Sheds load before the app has too much of it: for every method a lane of its own with an adaptive limit. Methods of one
 * app differ by orders of magnitude in how long they take, and each is held against its own past.
 */
export class LoadShedder {
  readonly #limits: ShedLimits;
  readonly #callsMax: number;
  /** By `:path`, of methods of the contract. */
  readonly #lanes = new Map<string, Lane>();

  /** @param callsMax calls in flight that are allowed in any case */
  constructor(limits: ShedLimits, callsMax: number) {
    this.#limits = limits;
    this.#callsMax = callsMax;
  }

  /** @param path of a method of the contract */
  laneOf(path: string, nowMs: number): Lane {
    let lane = this.#lanes.get(path);
    if (lane === undefined) this.#lanes.set(path, (lane = new Lane(this.#limits, this.#callsMax, nowMs)));
    return lane;
  }

  get lanes(): ReadonlyMap<string, Lane> {
    return this.#lanes;
  }
}
