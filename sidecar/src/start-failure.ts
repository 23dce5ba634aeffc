/** Why a sidecar can't start: one sentence a problem. */
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}
