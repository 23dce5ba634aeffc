export type TrafficDirection = 'request' | 'response';

/** Why a call goes no further. Names fields and detectors, never content. */
export type ProtectionRefusal =
  | {
      readonly kind: 'protected';
      readonly direction: TrafficDirection;
      /**
       * found: a protection refuses what was found; unwritable: it was found where nothing can be put in its place;
       * failed: the detector threw; too-many-texts: a stream has more texts at once than are followed.
       */
      readonly because: 'found' | 'unwritable' | 'failed' | 'too-many-texts';
      /** Empty for too-many-texts. */
      readonly detector: string;
      /** The path of a field, or the name of a metadata entry. */
      readonly field: string;
    }
  | { readonly kind: 'malformed'; readonly field: string; readonly expected: string }
  | { readonly kind: 'upstream-malformed'; readonly cause: string };

/** What came can't be read, so nobody can say what is in it. @param expected is told to callers; what apps send wrong, as a cause */
export function unreadable(direction: TrafficDirection, field: string, expected: string): ProtectionRefusal {
  return direction === 'request'
    ? { kind: 'malformed', field, expected }
    : { kind: 'upstream-malformed', cause: `${field}: expected ${expected}` };
}
