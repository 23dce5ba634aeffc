/** Why a process cannot start, as sentences for the person who starts it. Ends the process with exit code 1. */
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
}
