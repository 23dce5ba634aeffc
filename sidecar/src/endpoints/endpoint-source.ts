/** Where the addresses of an upstream come from, for as long as it is open. */
export type EndpointSource = {
  /** Resolves when the source has answered or failed for the first time. Never rejects. */
  readonly firstAnswer: Promise<void>;
  close(): void;
};

/** What a source tells. */
export type SourceEvents = {
  /** The whole set of addresses, `host:port`; also when it is the one of before. */
  readonly onEndpoints: (addresses: readonly string[]) => void;
  /** The source has no answer, why as a sentence; the last good set stays. */
  readonly onProblem: (problem: string) => void;
};
