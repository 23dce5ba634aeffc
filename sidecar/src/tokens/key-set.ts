import type { CryptoKey, JSONWebKeySet, JWTHeaderParameters } from 'jose';

/** How often and for how long keys are taken from where they are published. */
export interface KeySetLimits {
  /** In use, keys are looked up again after this. */
  readonly refreshMs: number;
  /** The least time between two look-ups; an unknown key id asks for one. */
  readonly cooldownMs: number;
  /** Keys that could not be looked up again for this long are no longer used. */
  readonly ageMsMax: number;
  readonly bytesMax: number;
  readonly keysMax: number;
}

interface KeySetParts {
  /** Gives the text of a JSON Web Key Set (RFC 7517 §5), or rejects. */
  readonly load: (signal: AbortSignal) => Promise<string>;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
  readonly limits: KeySetLimits;
  /** Told of every look-up that changed something or failed. */
  readonly onLookUp: (outcome: { readonly keys: number } | { readonly failed: string }) => void;
}

/** Keys that fit a token's header. */
export interface FoundKeys {
  readonly keys: readonly CryptoKey[];
  readonly generation: number;
}

type FindKeys = (header: JWTHeaderParameters) => Promise<CryptoKey[]>;

/** A token whose header fits more keys than this is tried against the first ones alone. */
const KEYS_TRIED_MAX = 4;

/**
 * The public keys of one issuer. They are looked up at the first need, again from time to time while in use, and at once
 * when a token names a key that is not there; one look-up runs at a time and all who need it wait for the same.
 */
export class KeySet {
  /** Grows when the keys change: what an older set vouched for has to be verified again. */
  generation = 0;
  readonly #parts: KeySetParts;
  readonly #stop = new AbortController();
  #find: FindKeys | null = null;
  #text = '';
  #loadedAtMs = Number.NEGATIVE_INFINITY;
  #triedAtMs = Number.NEGATIVE_INFINITY;
  #lookUp: Promise<boolean> | null = null;

  constructor(parts: KeySetParts) {
    this.#parts = parts;
  }

  /** Whether there are keys that are not too old. Looks them up again in the background when it is time. */
  isUsable(): boolean {
    const nowMs = this.#parts.clock();
    if (nowMs - this.#triedAtMs >= this.#parts.limits.refreshMs) void this.#refresh();
    return this.#find !== null && nowMs - this.#loadedAtMs < this.#parts.limits.ageMsMax;
  }

  /** Begins the first look-up, so that the first token need not wait and a wrong place shows at the start. */
  warmUp(): void {
    this.isUsable();
  }

  /**
   * The keys that may have signed a token with this header, and the generation they are of: none when the issuer does
   * not publish it, `unavailable` when that cannot be told.
   */
  async keysFor(header: JWTHeaderParameters): Promise<FoundKeys | 'unavailable'> {
    if (!this.isUsable() && ((await this.#lookUpAgain()) === 'failed' || !this.isUsable()))
      return 'unavailable';
    const found = await this.#findKeys(header);
    if (found.keys.length > 0) return found;
    switch (await this.#lookUpAgain()) {
      case 'failed':
        return 'unavailable';
      case 'too-soon':
        return found;
      case 'done':
        return this.#findKeys(header);
    }
  }

  close(): void {
    this.#stop.abort();
  }

  async #findKeys(header: JWTHeaderParameters): Promise<FoundKeys> {
    const { generation } = this;
    return { keys: (await this.#find?.(header)) ?? [], generation };
  }

  async #lookUpAgain(): Promise<'done' | 'failed' | 'too-soon'> {
    const isDue = this.#parts.clock() - this.#triedAtMs >= this.#parts.limits.cooldownMs;
    if (this.#lookUp === null && !isDue) return 'too-soon';
    return (await this.#refresh()) ? 'done' : 'failed';
  }

  /** @returns whether it succeeded; one that is under way is joined */
  #refresh(): Promise<boolean> {
    this.#lookUp ??= this.#load().finally(() => {
      this.#lookUp = null;
    });
    return this.#lookUp;
  }

  /** Never rejects: after a failure the keys of before stay until they are too old. */
  async #load(): Promise<boolean> {
    const { load, limits, clock, onLookUp } = this.#parts;
    this.#triedAtMs = clock();
    try {
      const text = await load(this.#stop.signal);
      if (text !== this.#text || this.#find === null) {
        const keySet = parseKeySet(text, limits);
        this.#find = await finderOf(keySet);
        this.#text = text;
        this.generation++;
        onLookUp({ keys: keySet.keys.length });
      }
      this.#loadedAtMs = clock();
      return true;
    } catch (error) {
      if (!this.#stop.signal.aborted)
        onLookUp({ failed: error instanceof Error ? error.message : String(error) });
      return false;
    }
  }
}

function parseKeySet(text: string, limits: KeySetLimits): JSONWebKeySet {
  if (text.length > limits.bytesMax) throw new Error(`the key set is larger than ${limits.bytesMax} bytes`);
  const parsed = JSON.parse(text) as Partial<JSONWebKeySet> | null;
  const keys: unknown = parsed?.keys;
  if (!Array.isArray(keys)) throw new Error('the key set is not an object with a list `keys` (RFC 7517 §5)');
  if (keys.length > limits.keysMax) throw new Error(`the key set has more than ${limits.keysMax} keys`);
  const isPrivate = (key: unknown): boolean =>
    typeof key === 'object' && key !== null && ('d' in key || 'k' in key);
  if (keys.some(isPrivate))
    throw new Error('the key set holds a private or shared key; whoever can read it can sign tokens');
  return { keys: keys as JSONWebKeySet['keys'] };
}

async function finderOf(keySet: JSONWebKeySet): Promise<FindKeys> {
  const { createLocalJWKSet, errors } = await import('jose');
  const find = createLocalJWKSet(keySet);
  return async (header) => {
    try {
      return [await find(header)];
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) return [];
      const keys: CryptoKey[] = [];
      for await (const key of error) if (keys.push(key) >= KEYS_TRIED_MAX) break;
      return keys;
    }
  };
}
