/** Why a mesh cannot start or go on, as a sentence for the person who started it. */
export class MeshStartError extends Error {
  override readonly name = 'MeshStartError';
  /** The end of the log of the process that failed, where one did. */
  readonly logLines: readonly string[];

  constructor(sentence: string, logLines: readonly string[] = []) {
    super(sentence);
    this.logLines = logLines;
  }
}
