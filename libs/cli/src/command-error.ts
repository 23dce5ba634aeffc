/**
 * Exit codes of every command: 0 it went well; 1 the answer is no (a call failed, a check found something, a step of the
 * tour failed); 2 it could not be asked (wrong usage, no mesh is running).
 */
export const EXIT = { ok: 0, no: 1, usage: 2 } as const;

/** Ends a command with a sentence for the person who gave it, and an exit code. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly exitCode: number;

  constructor(sentence: string, exitCode: number = EXIT.usage) {
    super(sentence);
    this.exitCode = exitCode;
  }
}
