import type { ScanProblem } from './message-scanner.ts';
import type { Refusal } from './refusal.ts';

/** Why a call ends whose caller sends what is no stream of messages. @param path of the method */
export function requestScanRefusal(problem: ScanProblem, path: string): Refusal {
  switch (problem.kind) {
    case 'too-large':
      return tooLarge('request', problem);
    case 'bad-flag':
      return { kind: 'malformed', field: 'message framing', expected: 'a compression flag of 0 or 1' };
    case 'too-many':
      return { kind: 'malformed', field: 'message', expected: `one message in a request of ${path}` };
  }
}

/** The same of what an upstream answers. */
export function responseScanRefusal(problem: ScanProblem): Refusal {
  switch (problem.kind) {
    case 'too-large':
      return tooLarge('response', problem);
    case 'bad-flag':
      return { kind: 'upstream-malformed', cause: `compression flag ${problem.flag}` };
    case 'too-many':
      return { kind: 'upstream-malformed', cause: 'more than one message' };
  }
}

function tooLarge(
  side: 'request' | 'response',
  { messageBytes, limitBytes }: Extract<ScanProblem, { kind: 'too-large' }>,
): Refusal {
  return { kind: 'message-too-large', side, bytes: messageBytes, limitBytes };
}
