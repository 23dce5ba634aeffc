/** Hands events from an execution to the one reader of its stream, holding the execution up when the reader is slow. */
export class EventQueue<Event> {
  readonly #eventsMax: number;
  readonly #events: Event[] = [];
  #ended: { readonly error?: unknown } | undefined;
  #wakeReader: (() => void) | undefined;
  #wakeWriters: (() => void)[] = [];

  constructor(eventsMax: number) {
    this.#eventsMax = eventsMax;
  }

  /** Resolves once there is room. After the end events are dropped. */
  async push(event: Event): Promise<void> {
    while (!this.#ended && this.#events.length >= this.#eventsMax) {
      await new Promise<void>((resolve) => this.#wakeWriters.push(resolve));
    }
    if (this.#ended) return;
    this.#events.push(event);
    this.#wakeReader?.();
  }

  /** No further events: the reader gets those that wait, then the end or the error. Lets waiting writers go. */
  end(outcome: { readonly error?: unknown } = {}): void {
    this.#ended ??= outcome;
    this.#wakeReader?.();
    this.#wake();
  }

  async *read(): AsyncGenerator<Event, void, undefined> {
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) {
        this.#wake();
        yield event;
      } else if (this.#ended) {
        if ('error' in this.#ended) throw this.#ended.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve;
        });
      }
    }
  }

  #wake(): void {
    const writers = this.#wakeWriters;
    this.#wakeWriters = [];
    for (const wake of writers) wake();
  }
}
